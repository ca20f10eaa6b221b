"""Tables, plots and words of a forecast study: what fits, what is drawn, what is said."""

import io
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from tests.render.whole import assert_whole, note, sentence, titles
from unrolled.forecast.outcome import CONVERGED
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import measure
from unrolled.forecast.suggestion import FIRST, suggestions
from unrolled.forecast.truth import Truth
from unrolled.render.forecast_exponents import exponents_table, exponents_words
from unrolled.render.forecast_exponents_plot import exponents_figure
from unrolled.render.forecast_plots import loss_figure, norm_figure, prediction_figure, reach_figure
from unrolled.render.forecast_summary import _reach, _worth, answer, summary
from unrolled.render.forecast_tables import gradient_table, small, suggestion_table, training_table
from unrolled.render.forecast_variants import Variant, variants_of

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


def drawn(study):
    """Every figure of a study, by name."""
    runs, history, loops, reach = (
        study.runs_frame(),
        study.history_frame(),
        study.loop_frame(),
        study.reach_frame(),
    )
    variants = variants_of(runs, history)
    made = {"loss": loss_figure(runs, history, "foot")}
    if np.isfinite(history["log10_norm"]).any():
        made["norm"] = norm_figure(runs, history, "foot")
    if len(loops):
        made["prediction"] = prediction_figure(loops, variants, "foot")
    if len(reach):
        made["reach"] = reach_figure(reach, variants, "foot")
    return made


def printed(table, width):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_both_tables_fit_their_terminal_with_a_line_for_each_variant(study, seeds, width):
    for one, rows in ((study, len(CLIPS)), (seeds, 2)):
        table = one.table_frame()
        for made, head in ((training_table(table, width), 2), (gradient_table(table), 1)):
            lines = printed(made, width).splitlines()
            assert max(map(len, lines)) <= width
            assert len(lines) == 1 + head + 1 + rows
            assert "…" not in "".join(lines)


def test_a_clip_that_never_fires_is_said_to_in_the_table_and_in_words(study):
    table = study.table_frame()
    line = next(line for line in printed(gradient_table(table), 120).splitlines() if "norm:10" in line)
    assert (line.split()[3], line.split()[-1]) == ("never", "1.000")
    short = summary(table, study.runs_frame(), study.reach_frame())
    assert short.splitlines()[2] == "RNN tanh, norm:10: did not converge; the clip never fired."
    assert len(short.splitlines()) == 1 + len(CLIPS)
    said = summary(table, study.runs_frame(), study.reach_frame(), explain=True)
    assert said.startswith(short)
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
    figures = drawn(diverged)
    for figure in figures.values():
        assert len(figure.axes) == 1
        assert_whole(figure)
    assert "diverged" in sentence(figures["loss"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("none", 1, 0.0), ("norm:9", 1, 0.0)], "Clipping does nothing for a: it never fires; a case where it matters"),
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
    assert answer(table) == (
        found or f"{rows[0][1]} of 3 trainings converged: a, {'no clip' if rows[0][0] == 'none' else 'norm:1'}."
    )


def test_of_several_networks_the_answer_says_whom_clipping_helps():
    rows = [("a", "none", 0, 0.0), ("a", "norm:1", 3, 0.5), ("b", "none", 1, 0.0), ("b", "norm:9", 1, 0.0)]
    columns = ["network", "clip", "converged", "fired"]
    table = pd.DataFrame(rows, columns=columns).assign(seeds=3)
    assert answer(table) == "Clipping helps a, does nothing for b."


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


@pytest.fixture(scope="module")
def exponents():
    """Of two networks by two seeds with three loops each, of which one blows up; the last exponent is -inf."""
    rows = []
    for network, shift in (("GRU", 0.0), ("RNN tanh, orthogonal", 0.2)):
        for seed in (0, 1):
            for loop in (1, 2, 3):
                gone = network != "GRU" and loop == 3
                for index, value in enumerate((0.4, -0.05, -12.25, -math.inf), start=1):
                    found = math.nan if gone else value + shift + 0.02 * seed + 0.01 * (loop - 2)
                    rows.append(
                        {
                            "network": network, "clip": "none", "seed": seed, "loop": loop,
                            "motion": "blows up" if gone else "chaotic", "index": index, "exponent": found,
                            "per_time": found,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


TRUTH = Truth("Lorenz equations", (0.9056, 0.0, -14.5723), "somebody", "unit of time")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_exponents_begins_with_the_truth_and_fits_its_terminal(exponents, width):
    lines = printed(exponents_table(exponents, TRUTH, width), width).splitlines()
    assert lines[0] == "Running free: Lyapunov exponents, nats per unit of time, medians over 2 seeds"
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    truth, gru, ranges, rnn, more = (" ".join(line.split()) for line in lines[3:8])
    columns = 2 if width == 80 else 4
    assert truth == " ".join(["Lorenz equations the truth", "0.906", "0.000", "−14.6"][: columns + 1])
    assert gru == " ".join(["GRU – chaotic", "0.410", "−0.040", "−12.2", "−inf"][: columns + 1])
    assert ranges.startswith("0.400 to 0.420 −0.050 to −0.030")
    assert rnn.startswith("RNN tanh, orthogonal – 4 chaotic 0.605 ")  # over loops 1 and 2: 0.595 and 0.615
    assert more.startswith("2 blows up 0.595 to 0.615 ")


def test_of_a_single_seed_the_table_has_the_standard_error_over_loops(exponents):
    one = exponents[(exponents["seed"] == 0) & (exponents["network"] == "GRU")]
    lines = printed(exponents_table(one, None, 80), 80).splitlines()
    assert lines[0] == "Running free: Lyapunov exponents, nats per step"
    assert lines[3].split() == ["GRU", "–", "chaotic", "0.400", "−0.050", "−12.2", "−inf"]
    assert lines[4].split() == ["±", "0.006"] * 3  # 0.01 over the root of 3


def test_exponents_are_said_beside_the_truth(exponents):
    gru, rnn = exponents_words(exponents, TRUTH)
    assert gru == (
        "GRU, no clip, runs free: chaotic; the largest exponent is 0.410 nats per unit of time, that of the Lorenz "
        "equations 0.906."
    )
    assert rnn.startswith(
        "RNN tanh, orthogonal, no clip, runs free: 4 chaotic, 2 blows up; the largest exponent is 0.605 "
    )
    gone = exponents.assign(per_time=math.nan, motion="blows up")
    assert exponents_words(gone, None)[0] == "GRU, no clip, runs free: blows up."
    assert "–" in printed(exponents_table(gone, None, 80), 80).splitlines()[3]


@pytest.mark.parametrize("truth", [TRUTH, None])
def test_the_plot_of_exponents_has_a_panel_for_each_variant_with_the_truth_as_marks(exponents, truth):
    variants = [Variant(network, ("none",)) for network in exponents["network"].unique()]
    figure = exponents_figure(exponents, variants, truth, "foot")
    assert_whole(figure)
    assert titles(figure) == ["GRU, no clip", "RNN tanh, orthogonal, no clip"]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    marks = lines.get("the truth: Lorenz equations")
    assert (marks is None) == (truth is None)
    if truth:
        assert list(marks.get_ydata()) == list(truth.exponents)
    (found,) = figure.axes[0].containers
    assert found.lines[0].get_ydata().tolist() == pytest.approx(
        [0.41, -0.04, -12.24]
    )  # medians; -inf has no mark
    assert "The largest exponent of 2 networks in a closed loop is 0.410 to 0.605 nats per" in sentence(figure)
    assert "have no mark" in note(figure)


PANELS = ["no clip and norm:10", "norm:0.1", "value:0.01", "auto:20"]  # norm:10 never acts


def test_trainings_that_are_the_same_bit_for_bit_share_a_panel_that_says_so(study):
    for figure in drawn(study).values():
        assert titles(figure) == [f"RNN tanh, {how}" for how in PANELS]
        assert_whole(figure)
        assert "norm:10 never acted: the training is the one without a clip, bit for bit." in note(figure)


def test_trainings_that_differ_in_a_bit_or_in_a_weight_have_panels_of_their_own(study):
    runs, history = study.runs_frame(), study.history_frame()
    assert variants_of(runs, history)[0].clips == ("none", "norm:10")
    changed = history.copy()
    row = changed.index[(changed["clip"] == "norm:10") & (changed["iteration"] == 7)][0]
    changed.loc[row, "loss"] = np.nextafter(changed.loc[row, "loss"], 1)
    assert [variant.clips for variant in variants_of(runs, changed)] == [(clip,) for clip in CLIPS]
    other = runs.assign(weights=runs["weights"].where(runs["clip"] != "norm:10", "0"))
    assert [variant.clips for variant in variants_of(other, history)] == [(clip,) for clip in CLIPS]


def test_the_norm_plot_draws_the_bound(study):
    figure = drawn(study)["norm"]
    for how, panel in zip(PANELS, figure.axes, strict=True):
        assert panel.get_title(loc="left").endswith(how)
        assert panel.get_yscale() == "log"
        bounds = [line for line in panel.get_lines() if line.get_label() == "bound of the clip"]
        assert len(bounds) == (how.partition(":")[0] in ("no clip and norm", "norm", "auto"))
        if how == "norm:0.1":
            assert np.asarray(bounds[0].get_ydata()) == pytest.approx(0.1)
        if how == "no clip and norm:10":
            assert np.asarray(bounds[0].get_ydata()) == pytest.approx(10.0)


def test_the_title_of_norms_says_which_clip_acted_and_how_often(study):
    runs = study.runs_frame().set_index("clip")
    said = sentence(drawn(study)["norm"])
    largest = 10 ** study.history_frame()["log10_norm"].max()
    assert f"norm:0.1 acted in {100 * runs.loc['norm:0.1', 'fired']:.0f}% of iterations" in said
    assert "norm:10 never acted" in said
    shown = float(re.search(r"the largest gradient norm is ([\d.]+)$", said)[1])
    assert shown == pytest.approx(largest, rel=5.1e-3)  # three digits


def test_the_loss_has_the_baseline_and_what_counts_as_converged(study):
    figure = drawn(study)["loss"]
    constant = study.runs_frame()["constant_loss"].iloc[0]
    rules = {line.get_label(): line.get_ydata()[0] for line in figure.axes[0].get_lines()}
    assert rules["predicting the mean, the best constant answer"] == pytest.approx(constant)
    assert rules["converged: median of the last 100 at most 1 % of that"] == pytest.approx(CONVERGED * constant)
    assert figure.axes[0].get_ylabel() == "loss (mean squared error)"


def test_recall_has_a_loss_in_nats_and_guessing_as_its_baseline():
    made = measure([Setting(signal="recall:3", length=6, init_std=None, iterations=30, batch_size=4)])
    figures = drawn(made)
    assert list(figures) == ["loss", "norm", "reach"]
    panel = figures["loss"].axes[0]
    assert panel.get_ylabel() == "loss (cross entropy, nats)"
    rules = {line.get_label(): line.get_ydata()[0] for line in panel.get_lines()}
    assert rules["guessing, without the input"] == pytest.approx(math.log(3))
    for figure in figures.values():
        assert_whole(figure)


def test_titles_of_a_single_training_say_what_became_of_it_relative_to_what(diverged, study):
    runs, history = study.runs_frame(), study.history_frame()
    one = runs[runs["clip"] == "none"].assign(outcome="converged", final_loss=0.002, constant_loss=0.5)
    figure = loss_figure(one, history[history["clip"] == "none"], "foot")
    assert sentence(figure) == "RNN tanh converged (0.400% of the loss of the best constant answer)"


def test_the_title_of_predictions_has_the_errors_of_the_table_and_that_of_predicting_0(study):
    loops = study.loop_frame()
    one = variants_of(study.runs_frame(), study.history_frame())[:1]
    said = sentence(prediction_figure(loops, one, "foot"))
    row = study.runs_frame().iloc[0]
    figures = [float(number) for number in re.findall(r"[\d.]+", said.replace("predicting 0", ""))]
    truth = loops[loops["clip"] == "none"]["truth"]
    assert figures == pytest.approx(
        [row["rmse"], row["rmse_warm"], 4, math.sqrt((truth**2).mean())], rel=5.1e-3
    )


def test_the_title_of_the_reach_compares_the_untrained_network_with_the_end(study):
    reach = study.reach_frame()
    one = variants_of(study.runs_frame(), study.history_frame())[:1]
    part = reach[(reach["clip"] == "none") & (reach["path"] == "h")]
    norms = part.pivot_table(index="lag", columns="iteration", values="log10_norm")
    back = {mark: max(norms.index[norms[mark] - norms[mark][0] >= -3]) for mark in (0, 110)}
    unit = {mark: "step" if steps == 1 else "steps" for mark, steps in back.items()}
    assert sentence(reach_figure(reach, one, "foot")) == (
        f"1/1000 of the gradient is left {back[0]} {unit[0]} back before training, {back[110]} {unit[110]} "
        "after 110 iterations"
    )


@pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (8, 20))])
def test_any_number_of_variants_with_long_names_fits(study, count):
    def many(frame):
        one = frame[frame["clip"] == "norm:0.1"]
        names = [f"package.module_of_mine.kernels:Recurrent{k}, orthogonal" for k in range(count)]
        return pd.concat([one.assign(network=name) for name in names], ignore_index=True)

    runs, history = many(study.runs_frame()), many(study.history_frame())
    variants = variants_of(runs, history)
    for figure in (
        loss_figure(runs, history, "foot"), norm_figure(runs, history, "foot"),
        prediction_figure(many(study.loop_frame()), variants, "foot"),
        reach_figure(many(study.reach_frame()), variants, "foot"),
    ):  # fmt: skip
        assert len(titles(figure)) == count
        assert_whole(figure)


def test_losses_and_norms_over_600_decades_are_drawn_and_the_sky_is_named(study):
    runs, history = study.runs_frame(), study.history_frame()
    runs, history = (frame[frame["clip"] == "none"] for frame in (runs, history))
    spread = np.linspace(-300, 300, len(history))
    history = history.assign(loss=10.0**spread, log10_norm=2 * spread)
    for figure in (loss_figure(runs, history, "foot"), norm_figure(runs, history, "foot")):
        assert_whole(figure)
        assert "leaves the panel" in note(figure)


def test_the_band_holds_every_loss(seeds):
    history = seeds.history_frame()
    panel = drawn(seeds)["loss"].axes[0]
    ends = np.concatenate([path.vertices[:, 1] for path in panel.collections[0].get_paths()])
    own = history.loc[history["clip"] == "none", "loss"]
    assert ends.min() == pytest.approx(own.min())
    assert ends.max() == pytest.approx(own.max())


def test_the_prediction_plot_has_truth_and_both_loops_as_points_and_lines(study):
    loops = study.loop_frame()
    panel = drawn(study)["prediction"].axes[0]
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
    assert set(lines["predicting 0"].get_ydata()) == {0}
    assert set(lines["the last of 4 true points"].get_xdata()) == {4}


def test_the_reach_plot_has_a_line_for_each_mark_from_lag_0(study):
    panel = drawn(study)["reach"].axes[0]
    lines = [line for line in panel.get_lines() if len(line.get_xdata()) == 13]
    assert [line.get_label() for line in lines] == ["untrained", "after 100 iterations", "after 110 iterations"]
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
