"""Tables in terminals of fixed width, plots that are reproducible, files that are written whole, numbers read well."""

import io
import math

import pytest
from rich.console import Console

from tests.speed.test_result import result
from unrolled import Workload
from unrolled.render import text
from unrolled.render.speed_plots import draw_speed, ratio_figure, time_figure
from unrolled.render.speed_tables import speed_tables
from unrolled.speed.result import Result, frame


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1.5, "1.50 s"), (0.0123456, "12.3 ms"), (5.904e-4, "590 µs"), (9.996e-3, "10.0 ms"), (3e-8, "30.0 ns"),
     (0.99999, "1.00 s"), (math.nan, "–")],
)  # fmt: skip
def test_seconds_have_three_digits_and_a_unit(seconds, shown):
    assert text.seconds(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [((353_122.0,), "353 k"), ((1_536.0, "B", 1024), "1.50 KiB"), ((108_003_328.0, "B", 1024), "103 MiB"), ((12.0,), "12")],
)  # fmt: skip
def test_amounts_have_three_digits_and_a_prefix(amount, shown):
    assert text.amount(*amount) == shown


def results():
    made = []
    for phase in ("forward", "training"):
        for batch in (1, 64):
            for name, ratio in (("fused", 1.0), ("cells", 12.345), ("hoisted", 0.5)):
                made.append(result(ratio, name=name, phase=phase, workload=Workload(batch_size=batch)))
    wrong = Result(
        workload=Workload(batch_size=1),
        phase="forward",
        implementation="mine",
        threads=2,
        status="wrong",
        reason="r",
    )
    return [*made, wrong]


def printed(width):
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in speed_tables(frame(results()), width):
        console.print(table)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_their_terminal_and_cut_nothing(width):
    shown = printed(width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert "lstm · forward · cpu float32" in shown
    assert "lstm · training · cpu float32" in shown
    for word in ("12.3", "0.500", "slower", "faster", "WRONG", "±5.0%", "tokens/s", "GFLOP/s", "keeps 1000 B"):
        assert word in shown


def test_the_best_is_marked_and_fused_is_best_where_nothing_is_faster():
    for line in printed(120).splitlines():
        if "5.25 ms" in line:  # hoisted takes half the time
            assert "★ 5.25 ms" in line
    only = frame([result(1.0, name="fused"), result(2.0)])
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(*speed_tables(only, 100))
    assert "★ 10.5 ms" in console.export_text()


def test_plots_are_the_same_files_for_the_same_results(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = draw_speed(frame(results()), tmp_path / "a", "a machine")
    second = draw_speed(frame(results()), tmp_path / "b", "a machine")
    assert [p.name for p in first] == [
        "ratio-cpu.png", "ratio-cpu.svg", "time-forward-cpu.png", "time-forward-cpu.svg",
        "time-training-cpu.png", "time-training-cpu.svg",
    ]  # fmt: skip
    for one, other in zip(first, second, strict=True):
        assert (
            one.read_bytes() == other.read_bytes()
        )  # the same numbers in one process, and no date in the file


def test_every_panel_names_its_axes_with_units_and_uses_log_axes():
    table = frame(results())
    timed = table[table["rounds"] > 0]
    for figure in (ratio_figure(timed, "foot"), time_figure(timed[timed["phase"] == "forward"], "foot")):
        panels = figure.axes
        assert panels[0].get_ylabel() in ("time / time of fused", "median time (ms)")
        assert all(panel.get_yscale() == "log" for panel in panels)
        assert all(panel.get_title(loc="left") for panel in panels)
        assert len(figure.legends) == 1


def test_plots_leave_the_global_settings_alone(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    draw_speed(frame(results()), tmp_path, "a machine")
    assert dict(mpl.rcParams) == before
