"""Tables and plots of a gradient-flow study: what fits, what is marked, what is legible, what stays whole."""

import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tests.render.whole import assert_whole, entries, sentence
from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.gradients.study import measure
from unrolled.networks.textbook import Network, length_networks, networks
from unrolled.render.gradflow_plots import layers_figure, lengths_figure, reach_figure
from unrolled.render.gradflow_summary import answer, summary
from unrolled.render.gradflow_tables import decades, length_table, reach_table, sparkline

WORKLOAD = Workload(cell="lstm", input_size=3, hidden_size=16, batch_size=2, seq_len=201)


@pytest.fixture(scope="module")
def study():
    return measure(
        networks(WORKLOAD),
        length_networks(WORKLOAD),
        lengths=(10, 20, 50, 100, 200, 400),
        clips=("none", "norm:1"),
    )


@pytest.fixture(scope="module")
def deep():
    network = Network(name="deep", workload=WORKLOAD.replace(num_layers=3, bidirectional=True, seq_len=30))
    return measure([network], [network], lengths=(5, 9), clips=("none", "step:0.5"))


def printed(table, width):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_both_tables_fit_their_terminal_with_a_line_for_each_row(study, width):
    reach = printed(reach_table(study.reach_frame(), width), width)
    assert max(map(len, reach.splitlines())) <= width
    assert len(reach.splitlines()) == 5 + 8  # the title, a head of three lines and its rule
    assert "…" not in reach
    for verdict in ("vanishing", "steady", "exploding"):
        assert verdict in reach
    lengths = printed(length_table(study.lengths_frame()), width)
    assert max(map(len, lengths.splitlines())) <= width
    assert len(lengths.splitlines()) == 3 + 4 * 7
    assert "…" not in lengths


def test_what_float32_loses_is_named_in_the_table(study):
    lines = printed(length_table(study.lengths_frame()), 80).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("RNN orthogonal × 4"))
    first, parameters, clipped = (lines[start + k].split() for k in (2, 4, 6))
    assert first[0] == parameters[0] == clipped[0] == "float32"
    assert first[-1] in ("inf", "NaN")
    assert parameters[-1] in ("inf", "NaN")
    assert clipped[-1] in ("zero", "NaN")
    assert lines[start + 5].split()[-6:] == ["0.0"] * 6


def test_a_sparkline_keeps_the_middle_for_lag_0_and_a_gap_for_0():
    assert sparkline([0.0] * 9, 5) == "▄▄▄▄▄"
    assert sparkline([0, -100, 100, -math.inf], 4) == "▄▁▇ "
    assert sparkline([0.0, 3.0], 20) == "▄▅"
    assert sparkline([math.nan] * 3, 3) == "   "


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-12.34, "-12.3"), (0.46, "+0.5"), (-0.04, "0.0"), (math.nan, "–"), (-math.inf, "-∞"), (math.inf, "∞")],
)
def test_decades_have_a_sign_and_one_digit(value, shown):
    assert decades(value) == shown


def test_the_first_line_is_the_answer_and_each_network_has_one(study):
    reach = study.reach_frame()
    first, *lines = summary(reach, study.lengths_frame()).splitlines()
    far = reach.loc[reach["horizon"] == 200, "network"].tolist()
    assert "RNN orthogonal × 2" in far
    assert first.startswith(f"{len(far)} of 8 networks still hear 200 steps back: ")
    assert "RNN orthogonal × 2 (exploding)" in first
    for name in far:
        assert name in first
    assert len(lines) == 8
    half = reach.set_index("network").loc["RNN orthogonal × 0.5"]
    assert lines[1] == (
        f"RNN orthogonal × 0.5 vanishes: × {10 ** half['decades_per_step']:.3f} a step, "
        f"heard {half['horizon']:.0f} of 200 steps back."
    )
    assert lines[3].startswith("RNN orthogonal × 2 explodes: × ")
    assert lines[3].endswith(", heard all 200 steps back.")
    assert " holds: " in lines[4]


def test_where_nobody_hears_all_of_it_the_farthest_is_named():
    workload = WORKLOAD.replace(cell="rnn_tanh")
    some = [Network(name=f"gain {g}", workload=workload, init=Init("orthogonal"), gain=g) for g in (0.3, 0.8)]
    reach = measure(some, [], lengths=(), clips=("none",)).reach_frame()
    horizon = int(reach["horizon"].max())
    assert (
        answer(reach) == f"None of 2 networks hears 200 steps back; gain 0.8 hears farthest, {horizon} steps."
    )


def test_one_network_is_answered_by_its_farthest_profile_that_runs_forward(deep):
    reach = deep.reach_frame()
    reach = reach[(reach["clip"] == "none") & ~reach["profile"].str.contains("reverse")]
    assert len(reach) == 6
    best = reach.loc[reach["horizon"].idxmax()]
    heard = "all 29" if best["horizon_is_censored"] else f"{best['horizon']:.0f} of 29"
    assert answer(deep.reach_frame()).startswith(
        f"deep hears {heard} steps back, by {best['profile']}: its gradient "
    )


def test_explained_are_clips_lengths_and_float32(study):
    short, said = (
        summary(study.reach_frame(), study.lengths_frame(), explain=explain) for explain in (False, True)
    )
    assert said.startswith(short)
    for words in ("norm:1 acted in ", "kept the direction", "RNN orthogonal × 0.5: first step zero from T = "):
        assert words in said
        assert words not in short
    assert "From T = 10 to 400 the gradient of RNN orthogonal × 4 at the first step changes by +" in said
    assert max(map(len, short.splitlines())) <= 120


def test_words_tell_of_a_clip_that_never_acts_and_of_no_failure():
    network = Network(name="one", workload=WORKLOAD.replace(seq_len=20))
    found = measure([network], [network], lengths=(5, 9), clips=("norm:1000000",))
    said = summary(found.reach_frame(), found.lengths_frame(), explain=True)
    assert "norm:1e+06 never acted." in said
    assert "float32" not in said


def test_words_put_many_layers_in_one(deep):
    said = summary(deep.reach_frame(), deep.lengths_frame(), explain=True)
    assert re.search(r"others (vanish|hold|explode): × ", said)
    assert "step:0.5 bounds every step of the backward pass" in said
    assert len(summary(deep.reach_frame(), deep.lengths_frame()).splitlines()) < len(deep.reach_frame())


def test_reach_plot_has_a_line_a_dashed_bound_and_a_ring_at_the_horizon(study):
    flow = study.flow_frame()
    figure = reach_figure(flow, "foot")
    full, near = figure.axes
    solid = [line for line in full.get_lines() if line.get_linestyle() == "-" and len(line.get_xdata()) == 201]
    dashed = [
        line for line in full.get_lines() if line.get_linestyle() == "--" and len(line.get_xdata()) == 201
    ]
    rings = [line for line in full.get_lines() if line.get_linestyle() == "None"]
    assert [line.get_label() for line in solid] == [network.name for network in networks(WORKLOAD)]
    assert len(dashed) == 5  # the plain RNNs
    assert len({line.get_marker() for line in solid}) == len({line.get_color() for line in solid}) == 8
    reach = study.reach_frame()
    ended = reach[~reach["horizon_is_censored"].astype(bool)]
    assert sorted(ring.get_xdata()[0] for ring in rings) == sorted(ended["horizon"])
    half = solid[1]
    assert half.get_ydata()[50] == pytest.approx(reach["lag 50"][1], abs=1e-9)
    for panel in (full, near):
        assert panel.get_xlabel() == "lag k (steps before the last)"
    assert "log10" in full.get_ylabel()


def test_lengths_plot_marks_what_float32_could_not_say(study):
    figure = lengths_figure(study.lengths_frame(), "foot")
    assert len(figure.axes) == 8
    last = figure.axes[3]
    assert last.get_title(loc="left") == "RNN orthogonal × 4"
    words = [text.get_text() for text in last.texts]
    assert "NaN" in words
    assert "0" in words
    assert entries(figure) == [
        "not clipped", "clipped, norm:1", "norm by plain float32",
        "plain float32 fails, and gives what is written there",
    ]  # fmt: skip
    assert all(panel.get_xscale() == "log" for panel in figure.axes)


def test_the_title_of_the_reach_counts_who_hears_the_first_step_and_where_it_explodes(study):
    reach = study.reach_frame()
    far, near = (
        reach[reach["horizon_is_censored"].astype(bool)],
        reach[~reach["horizon_is_censored"].astype(bool)],
    )
    growth = max(max(line) for line in reach["line"])
    said = sentence(reach_figure(study.flow_frame(), "foot", untrained=True))
    assert said == (
        f"{len(far)} of 8 untrained networks still hear 200 steps back, the others {near['horizon'].min():.0f} to "
        f"{near['horizon'].max():.0f} steps; in RNN orthogonal × 2 the gradient grows by {growth:.0f} decades"
    )


def test_the_title_over_length_tells_falling_from_growing_and_names_what_float32_loses(study):
    frame = study.lengths_frame()
    ends = frame[frame["clip"] == "none"].groupby("network", sort=False)["log10_first"].agg(["first", "last"])
    change = ends["last"] - ends["first"]
    norms = frame.set_index("network")[["float32_parameters", "float32_first"]]
    lost = (
        norms[(norms == 0) | ~np.isfinite(norms)].dropna(how="all").index.unique()
    )  # the chaotic ones by chance
    assert {"RNN orthogonal × 0.5", "RNN orthogonal × 4"} <= set(lost)
    said = sentence(lengths_figure(frame, "foot"))
    assert said == (
        "From T = 10 to 400 the gradient at the first step of 4 networks falls by "
        f"{-change['RNN orthogonal × 0.5']:.0f} decades in 1, grows by {change['RNN orthogonal × 2']:.0f} to "
        f"{change['RNN orthogonal × 4']:.0f} decades in 2, stays within a decade in 1; plain float32 loses it in "
        f"{len(lost)}"
    )
    one = frame[frame["network"] == "RNN orthogonal × 0.5"]
    assert sentence(lengths_figure(one, "foot")) == (
        "From T = 10 to 400 the gradient at the first step of RNN orthogonal × 0.5 falls by "
        f"{-change['RNN orthogonal × 0.5']:.0f} decades; plain float32 loses it"
    )


def test_every_figure_is_whole_and_explains_its_lines(study, deep):
    figures = (
        reach_figure(study.flow_frame(), "foot", "note"), lengths_figure(study.lengths_frame(), "foot", "note"),
        reach_figure(deep.flow_frame(), "foot"), layers_figure(deep.flow_frame(), "foot"),
    )  # fmt: skip
    for figure in figures:
        assert_whole(figure)
    assert set(entries(figures[0])) - set(study.flow_frame()["network"]) == {
        r"its bound $(\gamma\,\sigma_{\max})^k$ in theory, same colour", "1/1000 of lag 0",
        "horizon: the last lag above that",
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (6, 20))])
def test_any_number_of_networks_with_long_names_fits(study, count):
    def many(frame):
        one = frame[frame["network"] == "RNN orthogonal × 0.5"]
        names = [
            f"package.module_of_mine.kernels:Recurrent{k}, orthogonal, forget bias 3" for k in range(count)
        ]
        return pd.concat([one.assign(network=name) for name in names], ignore_index=True)

    assert_whole(reach_figure(many(study.flow_frame()), "foot"))
    assert_whole(lengths_figure(many(study.lengths_frame()), "foot"))


def test_norms_over_300_decades_exact_zeros_and_nothing_at_all_are_drawn(study):
    flow = study.flow_frame()
    one = flow[flow["network"] == "RNN orthogonal × 0.5"]
    far = one.assign(log10_norm=-2.0 * one["lag"], log10_bound=np.nan)
    zero = one.assign(log10_norm=np.where(one["lag"] > 5, -np.inf, -1.0 * one["lag"]), log10_bound=np.nan)
    none = one.assign(log10_norm=-np.inf, log10_bound=np.nan)
    for part, said in (
        (far, "RNN orthogonal × 0.5: 1/1000 of the gradient is left 1 step back"),
        (zero, "RNN orthogonal × 0.5: 1/1000 of the gradient is left 3 steps back"),
        (none, "No gradient reaches a hidden state"),
    ):
        figure = reach_figure(part, "foot")
        assert_whole(figure)
        assert sentence(figure) == said


def test_heat_map_has_a_row_for_each_layer_and_direction_and_a_column_for_each_step(deep):
    figure = layers_figure(deep.flow_frame(), "foot")
    maps = [panel.get_images()[0].get_array() for panel in figure.axes if panel.get_images()]
    assert [panel.get_title(loc="left") for panel in figure.axes if panel.get_images()] == [
        "deep, hidden state", "deep, cell state",
    ]  # fmt: skip
    flow = deep.flow_frame()
    part = flow[(flow["clip"] == "none") & (flow["path"] == "h")]
    assert maps[0].shape == (6, 30)
    row = part[(part["layer"] == 1) & (part["direction"] == "forward")].sort_values("step")
    assert np.asarray(maps[0])[2] == pytest.approx(row["log10_norm"].to_numpy())


def test_a_network_without_a_profile_leaves_no_line_and_no_crash():
    network = Network(name="boom", workload=WORKLOAD.replace(cell="rnn_relu"), init=Init("identity"), gain=9.0)
    found = measure([network], [network], lengths=(100, 200), clips=("none",))
    assert len(found.flow_frame()) == 0
    assert "NaN or inf" in printed(reach_table(found.reach_frame(), 80), 80)
    assert "NaN/inf" in printed(length_table(found.lengths_frame()), 80)
    first, second, *_ = summary(found.reach_frame(), found.lengths_frame()).splitlines()
    assert first == "The gradient of boom cannot be followed: NaN or inf."
    assert re.match("boom cannot be followed: .*finite", second)
