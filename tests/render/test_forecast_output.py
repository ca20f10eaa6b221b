"""Tables, plots and words of a forecast study: what fits, what is drawn, what is said."""

import io
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from unrolled.forecast.setting import Setting
from unrolled.forecast.study import measure
from unrolled.forecast.suggestion import FIRST, suggestions
from unrolled.render.forecast_plots import loss_figure, norm_figure, prediction_figure, reach_figure
from unrolled.render.forecast_summary import _reach, _worth, summary
from unrolled.render.forecast_tables import gradient_table, small, suggestion_table, training_table

SMALL = Setting(iterations=110, length=14, warm_up=4)
CLIPS = ("none", "norm:10", "norm:0.1", "value:0.01", "auto:20")
DIVERGES = SMALL.replace(
    cell="rnn_relu", init_std=None, init="identity", gain=30.0, optimizer="sgd", lr=1.0, length=60
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """As the command trains: two trainings that do the same are then the same bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def study():
    return measure([SMALL.replace(clip=clip) for clip in CLIPS])


@pytest.fixture(scope="module")
def seeds():
    return measure(
        [SMALL.replace(clip=clip, seed=seed, iterations=20) for seed in (0, 1) for clip in CLIPS[:2]]
    )


@pytest.fixture(scope="module")
def diverged():
    return measure([DIVERGES])


def printed(table, width):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_both_tables_fit_their_terminal_with_a_line_for_each_variant(study, seeds, width):
    for one, rows in ((study, len(CLIPS)), (seeds, 2)):
        for make in (training_table, gradient_table):
            lines = printed(make(one.table_frame(), width), width).splitlines()
            assert max(map(len, lines)) <= width
            assert len(lines) == 3 + rows
            assert "…" not in "".join(lines)


def test_a_clip_that_never_fires_is_said_to_in_the_table_and_in_words(study):
    table = study.table_frame()
    line = next(line for line in printed(gradient_table(table, 120), 120).splitlines() if "norm:10" in line)
    assert line.split()[-2:] == ["never", "1.000"]
    said = summary(table, study.runs_frame(), study.reach_frame())
    largest = 10 ** study.history_frame()["log10_norm"][:110].max()
    shown = re.search(r"norm:10 never fired: the largest gradient norm is ([\d.]+)", said)[1]
    assert float(shown.rstrip(".")) == pytest.approx(largest, rel=5.1e-3)  # three digits
    assert "the weights are those without it, bit for bit" in said
    assert "norm:0.1 changed the gradient in " in said
    assert "(kept its direction)" in said
    assert "value:0.01 changed the gradient in " in said
    assert "back at the start" in said


def test_what_is_said_of_bits_is_seen_in_the_weights(study):
    rows = study.table_frame().set_index("clip")
    assert rows["unchanged"].to_dict() == {clip: clip in ("none", "norm:10") for clip in CLIPS}


def test_over_several_seeds_the_table_counts_and_takes_medians(seeds):
    frame, table = seeds.runs_frame(), seeds.table_frame()
    assert table["seeds"].tolist() == [2, 2]
    for clip in CLIPS[:2]:
        part = frame[frame["clip"] == clip]
        assert table.set_index("clip").loc[clip, "final_loss"] == pytest.approx(part["final_loss"].mean())
    text = printed(training_table(table, 120), 120)
    assert "medians over 2 seeds" in text
    assert "2 not converged" in text
    assert "2 of 2 seeds did not converge" in summary(table, frame, seeds.reach_frame())


def test_a_diverged_run_has_its_row_its_words_and_its_plots(diverged):
    table = diverged.table_frame()
    assert "diverged" in printed(training_table(table, 80), 80)
    said = summary(table, diverged.runs_frame(), diverged.reach_frame())
    assert "diverged" in said
    assert "met NaN or inf in iteration" in said
    for figure in (loss_figure(diverged.history_frame(), ""), prediction_figure(diverged.loop_frame(), "")):
        assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("none", 1, 0.0), ("norm:9", 1, 0.0)], "Clipping does nothing for a; a case where it matters is"),
        ([("none", 0, 0.0), ("norm:1", 3, 0.5)], "Clipping helps a: 3 of 3 seeds converged with norm:1, 0 without."),
        ([("none", 2, 0.0), ("norm:1", 1, 0.5)], "Clipping harms a: 1 of 3 seeds converged with norm:1, 2 without."),
        (
            [("none", 0, 0.0), ("norm:1", 0, 0.5), ("auto:9", 0, 0.9)],
            "Clipping makes no difference to whether a converges: 0 of 3 seeds with norm:1, 0 without.",
        ),
        ([("none", 1, 0.0)], ""),
        ([("norm:1", 1, 0.5)], ""),
    ],
)  # fmt: skip
def test_what_clipping_was_worth_is_said_plainly(rows, said):
    table = pd.DataFrame(
        [
            {"network": "a", "clip": clip, "seeds": 3, "converged": converged, "fired": fired}
            for clip, converged, fired in rows
        ]
    )
    found = " ".join(_worth(table))
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("norms", "steps"),
    [
        ([0.0, -1.0, -2.5, -3.5, -4.0], "2 steps"),  # 1/1000 is -3; at 1/100 it would be 1
        ([5.0, 4.0, 3.0, 2.25, 1.0], "3 steps"),  # it is relative to lag 0
        ([0.0, -2.75, -9.0], "1 step"),
        ([0.0, -4.0, -2.0, -4.0], "2 steps"),  # the last lag that is above
        ([0.0, 1.0, 2.0], "at least 2 steps"),
        ([-math.inf, -math.inf], "0 steps"),
    ],
)
def test_the_reach_ends_where_a_thousandth_is_left(norms, steps):
    lags = {"network": "a", "clip": "none", "seed": 0, "layer": 0, "path": "h", "lag": range(len(norms))}
    start = pd.DataFrame({**lags, "iteration": 0, "log10_norm": norms})
    end = pd.DataFrame({**lags, "iteration": 9, "log10_norm": 0.0})
    (said,) = _reach(pd.concat([start, end]))
    assert f" reaches {steps} back at the start, " in said
    assert f"at least {len(norms) - 1} step" in said


def test_the_norm_plot_draws_the_bound(study):
    figure = norm_figure(study.history_frame(), "foot")
    for clip, panel in zip(CLIPS, figure.axes, strict=False):
        assert panel.get_title(loc="left").endswith("no clip" if clip == "none" else clip)
        assert panel.get_yscale() == "log"
        bounds = [line for line in panel.get_lines() if line.get_label() == "bound"]
        assert len(bounds) == (clip.partition(":")[0] in ("norm", "auto"))
        if clip == "norm:0.1":
            assert set(bounds[0].get_ydata()) == {0.1}  # the number that was given


def test_the_band_holds_every_loss(study):
    history = study.history_frame()
    panel = loss_figure(history, "foot").axes[0]
    ends = np.concatenate([path.vertices[:, 1] for path in panel.collections[0].get_paths()])
    own = history.loc[history["clip"] == "none", "loss"]
    assert ends.min() == pytest.approx(own.min())
    assert ends.max() == pytest.approx(own.max())


def test_the_prediction_plot_has_truth_and_both_loops_as_points_and_lines(study):
    loops = study.loop_frame()
    panel = prediction_figure(loops, "foot").axes[0]
    lines = {line.get_label(): line for line in panel.get_lines()}
    part = loops[loops["clip"] == "none"]
    for label, column in (
        ("truth", "truth"),
        ("closed loop after one true point", "prediction"),
        ("closed loop after 4 true points", "warmed_up"),
    ):
        assert lines[label].get_marker() not in ("", "None")
        assert lines[label].get_linestyle() != "None"
        assert np.asarray(lines[label].get_ydata()) == pytest.approx(part[column].to_numpy())


def test_the_reach_plot_has_a_line_for_each_mark_from_lag_0(study):
    panel = reach_figure(study.reach_frame(), "foot").axes[0]
    lines = [line for line in panel.get_lines() if len(line.get_xdata()) == 13]
    assert [line.get_label() for line in lines] == ["at the start", "after 100", "after 110"]
    assert all(line.get_ydata()[0] == 0 for line in lines)  # a norm less itself


def test_suggestions_fit_and_mark_one(study):
    text = printed(suggestion_table(suggestions(study.history_frame()), FIRST), 80)
    assert "percentile 90" in text
    assert "ten times the mean" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2.134e-4, "2.13e-4"),
        (1.316, "1.32"),
        (4.1e12, "4.10e12"),
        (0.0, "0.00"),
        (math.inf, "inf"),
        (math.nan, "–"),
    ],
)
def test_small_numbers_have_three_digits(value, shown):
    assert small(value) == shown
