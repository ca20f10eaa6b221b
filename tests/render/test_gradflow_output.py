"""Tables and plots of a gradient-flow study: what fits, what is marked, what is legible, what stays whole."""

import io
import math
import re

import numpy as np
import pytest
from rich.console import Console

from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.gradients.study import measure
from unrolled.networks.textbook import Network, length_networks, networks
from unrolled.render.gradflow_plots import layers_figure, lengths_figure, reach_figure
from unrolled.render.gradflow_summary import summary
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
    assert len(reach.splitlines()) == 3 + 8
    assert "…" not in reach
    for verdict in ("vanishing", "steady", "exploding"):
        assert verdict in reach
    lengths = printed(length_table(study.lengths_frame()), width)
    assert max(map(len, lengths.splitlines())) <= width
    assert len(lengths.splitlines()) == 3 + 4 * 7
    assert "…" not in lengths


def test_what_float32_loses_is_named_in_the_table(study):
    lines = printed(length_table(study.lengths_frame()), 80).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("RNN orthogonal ×4"))
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


def test_words_are_those_of_the_figures(study):
    said = summary(study.reach_frame(), study.lengths_frame())
    reach = study.reach_frame().set_index("network")
    half = reach.loc["RNN orthogonal ×0.5"]
    assert (
        f"RNN orthogonal ×0.5 (× {10 ** half['decades_per_step']:.3f} a step, {half['horizon']:.0f} steps back)"
        in said
    )
    exploding = said[said.index("Exploding:") : said.index("Steady:")]
    assert "RNN orthogonal ×2" in exploding
    assert "at least 200 steps back" in exploding
    assert "norm:1 acted in " in said
    assert "kept the direction" in said
    assert "RNN orthogonal ×0.5 (first step zero from T = " in said


def test_words_tell_of_a_clip_that_never_acts_and_of_no_failure():
    network = Network(name="one", workload=WORKLOAD.replace(seq_len=20))
    found = measure([network], [network], lengths=(5, 9), clips=("norm:1000000",))
    said = summary(found.reach_frame(), found.lengths_frame())
    assert "norm:1e+06 never acted." in said
    assert "float32" not in said


def test_words_put_many_layers_in_one(deep):
    said = summary(deep.reach_frame(), deep.lengths_frame())
    assert "others (×" in said
    assert "step:0.5 bounds every step of the backward pass" in said


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
    assert last.get_title(loc="left") == "RNN orthogonal ×4"
    words = [text.get_text() for text in last.texts]
    assert "NaN" in words
    assert "0" in words
    labels = {line.get_label() for panel in figure.axes for line in panel.get_lines()}
    assert labels >= {"not clipped", "clipped, norm:1", "plain float32", "plain float32 fails: as written"}
    assert all(panel.get_xscale() == "log" for panel in figure.axes)


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
    assert re.search("No profile of boom: .*finite", summary(found.reach_frame(), found.lengths_frame()))
