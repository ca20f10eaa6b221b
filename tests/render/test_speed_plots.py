"""Plots of a benchmark run: over what, on which axes, whole at every size, and the same files for the same results."""

import matplotlib as mpl
import numpy as np
import pytest

from tests.render.runs import BUSY, race, run
from tests.render.test_output import PLUG_INS, grid
from tests.render.whole import assert_whole, entries, note, sentence, titles
from unrolled import Workload
from unrolled.render import bench, ratio_plot, speed_plots, time_plot
from unrolled.render.speed_reading import quantity, read
from unrolled.render.speed_style import look, ticks
from unrolled.render.style import row_by_row

RATIOS = {"fused": 1.0, "cells": 2.0, "hoisted": 0.8}
AXES = {
    "batch_size": ("batch", (1, 16, 64)),
    "seq_len": ("length", (10, 100, 1000)),
    "hidden_size": ("hidden", (8, 16, 128)),
    "input_size": ("input", (1, 10)),
    "num_layers": ("layers", (1, 2, 4)),
}


def over(axis, power=0.98, **fields):
    """A run whose times follow a power law over one axis."""
    return run(
        each
        for size in AXES[axis][1]
        for each in race(RATIOS, Workload(**{axis: size}), base=1e-3 * size**power, **fields)
    )


def names(paths):
    return [path.name for path in paths if path.suffix == ".png"]


@pytest.mark.slow
def test_plots_are_the_same_files_for_the_same_results(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (bench.draw(grid(), tmp_path / name) for name in "ab")
    assert [path.name for path in first] == [
        "ratio-cpu.png", "ratio-cpu.svg", "time-forward-cpu-over-batch.png", "time-forward-cpu-over-batch.svg",
        "time-training-cpu-over-batch.png", "time-training-cpu-over-batch.svg",
    ]  # fmt: skip
    for one, other in zip(first, second, strict=True):
        assert (
            one.read_bytes() == other.read_bytes()
        )  # the same numbers in one process, and no date in the file


@pytest.fixture
def figures(monkeypatch):
    """`figures(run)`: what is drawn of it, by the names of the files, none written."""

    def drawn(of, as_="ratio"):
        made = {}

        def keep(figure, folder, name):
            made[name] = figure
            return []

        monkeypatch.setattr(speed_plots, "save", keep)
        assert bench.draw(of, None, as_) == []
        return made

    return drawn


@pytest.mark.parametrize("axis", AXES)
def test_times_are_drawn_over_the_axis_with_several_values_with_the_exponent_of_each_line(figures, axis):
    made = figures(over(axis))
    assert list(made) == ["ratio-cpu", f"time-forward-cpu-over-{AXES[axis][0]}"]
    (panel,) = made[f"time-forward-cpu-over-{AXES[axis][0]}"].axes
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert panel.get_ylabel() == "time of a call (ms)"
    assert [entry.get_text() for entry in panel.get_legend().get_texts()] == [
        rf"$\propto {time_plot.SWEPT[axis].letter}^{{0.98}}$"
    ] * 3
    reference = panel.get_lines()[0]
    assert reference.get_xdata().tolist() == list(AXES[axis][1])
    assert reference.get_ydata() == pytest.approx(np.array(AXES[axis][1]) ** 0.98, rel=0.05)


def test_threads_and_batch_have_a_figure_each_and_machines_are_not_said_to_have_one_number_of_threads(figures):
    made = figures(
        run(
            each
            for threads in (1, 2, 4)
            for batch in (1, 8)
            for each in race(RATIOS, Workload(batch_size=batch), threads=threads, base=0.02 / threads)
        )
    )
    assert list(made) == ["ratio-cpu", "time-forward-cpu-over-batch", "time-forward-cpu-over-threads"]
    over_threads = made["time-forward-cpu-over-threads"]
    assert titles(over_threads) == ["lstm, L1 B1", "lstm, L1 B8"]
    assert "$\\propto p^{-1.00}$" in [
        entry.get_text() for entry in over_threads.axes[0].get_legend().get_texts()
    ]
    assert "threads, torch" not in over_threads.get_supxlabel()


def test_sizes_of_single_layers_are_on_no_line_over_hidden_sizes():
    made = [each for size in (8, 16, (30, 20)) for each in race(RATIOS, Workload(hidden_size=size))]
    frame = read(run(made).frame())
    assert set(time_plot.swept(frame, "hidden_size")["hidden_size"]) == {8, 16}
    assert time_plot.swept(frame, "batch_size").empty


def test_the_exponent_is_that_of_least_squares():
    sizes, times = np.array([1.0, 2.0, 5.0, 30.0]), np.array([1.0, 1.5, 7.0, 20.0])
    assert time_plot.exponent(sizes, times) == pytest.approx(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    assert time_plot.exponent(sizes[:1], times[:1]) is None


def test_in_the_plots_no_time_contradicts_its_ratio(figures):
    """Each contender met another reference, as in runs of version 1."""
    made = [
        each
        for batch in (1, 2)
        for name, ratio, base in (("cells", 1.2, 0.009), ("hoisted", 0.95, 0.012))
        for each in race({name: ratio}, Workload(batch_size=batch), base=base, passes=1)
    ]
    (panel,) = figures(run(made))["time-forward-cpu-over-batch"].axes
    heights = {line.get_label(): line.get_ydata()[0] for line in panel.get_lines() if len(line.get_xdata())}
    assert heights["hoisted"] < heights["fused"] < heights["cells"]


MANY = {
    "one panel": race(RATIOS),
    "long names": race(RATIOS | dict.fromkeys(PLUG_INS, 0.7)),
    "many contenders": race(RATIOS | {f"package.module:build_{k}": 1.0 + k for k in range(8)}),
    "nothing told": race(RATIOS, wide=("cells", "hoisted")),
    "wide intervals": [*race(RATIOS, wide=("hoisted",)), *race(RATIOS, phase="training", wide=("hoisted",))],
    "two cells": [each for cell in ("gru", "lstm") for n in (1, 2) for each in race(RATIOS, Workload(cell=cell, batch_size=n))],
    "twenty panels": [
        each for length in (5, 10, 20, 40) for hidden in (8, 16, 32, 64, 128) for size in (1, 2)
        for each in race(RATIOS, Workload(seq_len=length, hidden_size=hidden, batch_size=size))
    ],
    "a cell with one phase": [*race(RATIOS, phase="training"), *race(RATIOS, Workload(cell="gru"))],
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "twenty panels")) for name in MANY]
)
def test_every_figure_is_whole(figures, name):
    for figure in figures(run(MANY[name], BUSY)).values():
        assert_whole(figure)
        assert len(figure.legends) == 1
        assert sentence(figure)
        for panel in (panel for panel in figure.axes if panel.axison):
            assert panel.get_yscale() == "log"
            assert panel.get_title(loc="left")
            assert panel.get_window_extent().height > 100
        assert "busy machine: other processes take 1.9 of its 2 cores" in " ".join(
            figure.get_supxlabel().split()
        )


@pytest.mark.parametrize("name", ["nothing told", "wide intervals"])
def test_an_interval_that_tells_nothing_moves_no_axis_and_ends_in_arrows(figures, name):
    panel = figures(run(MANY[name]))["ratio-cpu"].axes[0]
    low, high = panel.get_ylim()
    assert 0.2 < low < high < 5
    arrows = {
        line.get_marker(): line.get_ydata()[0] for line in panel.get_lines() if line.get_marker() in ("^", "v")
    }
    assert arrows == {"^": pytest.approx(high), "v": pytest.approx(low)}
    assert {"nothing can be told", "goes on beyond the panel", "99 % interval"} <= set(entries(panel.figure))


@pytest.mark.parametrize(
    ("as_", "below", "above"), [("ratio", "faster", "slower"), ("speedup", "slower", "faster")]
)
def test_the_side_of_one_that_is_faster_is_labelled_and_on_it_is_what_is_faster(figures, as_, below, above):
    panel = figures(run(race({"fused": 1.0, "hoisted": 0.5})), as_)[f"{as_}-cpu"].axes[0]
    assert panel.get_ylabel().split("\n")[1].split() == ["←", below, above, "→"]
    hoisted = next(line for line in panel.get_lines() if line.get_marker() == "o" and len(line.get_xdata()))
    assert hoisted.get_ydata()[0] == pytest.approx(0.5 if as_ == "ratio" else 2.0, rel=1e-3)


@pytest.mark.parametrize(
    ("as_", "said"),
    [
        ("ratio", "cells took 4.00 times as long as fused (2.00 to 8.00), hoisted 0.500 times"),
        ("speedup", "cells was 0.250 times as fast as fused (0.125 to 0.500), hoisted 2.00 times"),
    ],
)
def test_the_title_of_ratios_is_their_geometric_mean_and_how_far_they_go(figures, as_, said):
    made = [
        each
        for batch, cells in ((1, 2.0), (2, 8.0))
        for each in race({"fused": 1.0, "cells": cells, "hoisted": 0.5}, Workload(batch_size=batch))
    ]
    assert sentence(figures(run(made), as_)[f"{as_}-cpu"]) == said


def test_a_title_leaves_out_what_cannot_be_told_and_says_so_where_that_is_all(figures):
    some = race({"cells": 2.0, "hoisted": 0.4}, wide=("hoisted",))
    assert sentence(figures(run(some))["ratio-cpu"]) == "cells took 2.00 times as long as fused"
    none = figures(run(MANY["nothing told"]))["ratio-cpu"]
    assert sentence(none) == "Nothing can be told: every interval is wider than a factor of 2"


def test_of_many_contenders_the_title_names_the_first_and_the_last(figures):
    many = figures(run(race({"fused": 1.0, "a": 3.0, "b": 0.5, "c": 2.0, "d": 1.5})))["ratio-cpu"]
    assert (
        sentence(many)
        == "Of 4 implementations b was fastest (0.500 times as long as fused), a slowest (3.00 times)"
    )


def test_of_many_speedups_the_fastest_is_the_largest(figures):
    many = figures(run(race({"fused": 1.0, "a": 4.0, "b": 0.5, "c": 2.0, "d": 1.5})), "speedup")["speedup-cpu"]
    assert sentence(many) == (
        "Of 4 implementations b was fastest (2.00 times as fast as fused), a slowest (0.250 times)"
    )


def test_the_title_of_times_is_their_growth_from_the_smallest_size_to_the_largest(figures):
    made = [
        each
        for layers in (1, 2)
        for batch in (1, 4, 16)
        for each in race(
            {"fused": 1.0, "cells": 2.0 * batch**0.5},
            Workload(batch_size=batch, num_layers=layers),
            base=1e-3 * batch ** (0.5 * layers),
        )
    ]
    figure = figures(run(made))["time-forward-cpu-over-batch"]
    assert sentence(figure) == (
        "From B = 1 to 16 a forward call takes fused 4.00 to 16.0 times as long, cells 16.0 to 64.0 times"
    )


def test_sizes_that_are_the_same_everywhere_are_named_and_letters_explained(figures):
    made = figures(over("seq_len"))
    assert "L layers, B batch size, T sequence length; input features I = " in note(made["ratio-cpu"])
    assert " T " not in note(made["time-forward-cpu-over-length"])


def test_a_grid_of_many_workloads_goes_on_in_more_panels(figures):
    made = [
        each
        for phase in ("forward", "training")
        for size in range(1, 41)
        for each in race(RATIOS, Workload(hidden_size=size), phase)
    ]
    figure = figures(run(made))["ratio-cpu"]
    assert figure.get_figwidth() < 16
    assert titles(figure) == [
        f"lstm, {phase}{more}" for phase in ("forward", "training") for more in ("", " (continued)")
    ]
    shown = [text.get_text().split("\n")[-1] for panel in figure.axes for text in panel.get_xticklabels()]
    assert shown == [f"H{size}" for size in range(1, 41)] * 2


@pytest.mark.parametrize("phases", [("forward",), ("forward", "training")])
def test_where_nothing_was_timed_there_is_no_picture(tmp_path, phases):
    made = [each for phase in phases for each in race({"mine": 1.0}, phase=phase, wrong=("mine",))]
    assert bench.draw(run(made), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("high", [1.3, 2.0, 7.0, 40.0, 900.0, 1e5, 1e12])
@pytest.mark.parametrize("low", [0.011, 0.8, 3.3])
def test_a_log_axis_has_some_ticks_and_not_too_many(low, high):
    found = ticks(low, low * high)
    assert found == sorted(found)
    assert (high < 2) or 2 <= len(found) <= 14
    assert all(low <= value <= low * high for value in found)


def test_contenders_are_told_apart_and_legends_are_read_row_by_row():
    assert len({(each["color"], each["marker"]) for each in map(look, range(36))}) == 36
    assert row_by_row("abcde", 2) == ["a", "c", "e", "b", "d"]


def test_dtypes_have_figures_of_their_own(figures):
    made = [each for dtype in ("float32", "bfloat16") for each in race(RATIOS, Workload(dtype=dtype))]
    assert list(figures(run(made))) == ["ratio-cpu-float32", "ratio-cpu-bfloat16"]


def test_plots_leave_the_global_settings_alone(tmp_path):
    before = dict(mpl.rcParams)
    frame = read(grid().frame())
    ratio_plot.ratio_figure(frame[frame["rounds"] > 0], "a machine", quantity("ratio"))
    assert dict(mpl.rcParams) == before
