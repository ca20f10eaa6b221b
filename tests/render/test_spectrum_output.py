"""Tables and plots of a spectrum study: what fits, what is marked, what is legible."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.networks.textbook import Network, networks
from unrolled.render.spectrum_plots import fan_figure, gain_figure, spectrum_figure
from unrolled.render.spectrum_tables import carrying_table, gain_table, nats, spectrum_table
from unrolled.spectrum.gain_curve import gaussian
from unrolled.spectrum.result import Settings
from unrolled.spectrum.study import measure_study

WORKLOAD = Workload(cell="rnn_tanh", input_size=3, hidden_size=8, batch_size=2, seq_len=81)
LAGS = (1, 2, 3, 5, 7, 10, 15, 20, 30)


@pytest.fixture(scope="module")
def study():
    boom = Network(
        name="boom", workload=WORKLOAD.replace(cell="rnn_relu", seq_len=300), init=Init("identity"), gain=9.0
    )
    return measure_study(
        [*networks(WORKLOAD), boom],
        settings=Settings(lags=LAGS),
        swept=gaussian(WORKLOAD),
        gains=(0.5, 1.0, 2.0),
    )


def printed(table, width):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_their_terminal_with_a_line_for_each_row(study, width):
    for table, rows in (
        (spectrum_table(study.table_frame(), width), 18),
        (carrying_table(study.carrying_frame(), width), 8),
        (gain_table(study.gain_mean_frame()), 3),
    ):
        shown = printed(table, width)
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
        assert "…" not in shown
        assert len(shown.splitlines()) == 3 + rows


def test_every_row_says_which_input_and_which_theory(study):
    wide, narrow = (printed(spectrum_table(study.table_frame(), width), width) for width in (120, 80))
    assert wide.count(" noise ") == wide.count(" zero ") == 9
    assert "mean field" in wide
    assert "fixed point" in wide
    assert " f " in narrow
    assert "NaN/inf" in narrow
    assert "-∞" in narrow


def test_a_name_stands_once_above_its_inputs(study):
    shown = printed(spectrum_table(study.table_frame(), 80), 80).splitlines()
    assert sum(line.startswith("GRU ") for line in shown) == 1
    following = shown[next(k for k, line in enumerate(shown) if line.startswith("GRU ")) + 1]
    assert following.split()[0] == "zero"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-0.5123, "-0.512"),
        (0.1, "+0.100"),
        (-1e-5, "0.000"),
        (math.nan, "–"),
        (-math.inf, "-∞"),
        (math.inf, "∞"),
    ],
)
def test_exponents_have_a_sign_and_three_digits(value, shown):
    assert nats(value) == shown


def test_spectrum_plot_has_a_panel_per_input_and_a_line_per_network(study):
    spectrum = study.mean_spectrum_frame()
    figure = spectrum_figure(spectrum, "foot")
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["input: noise", "input: zero"]
    for panel, drive in zip(figure.axes, ("noise", "zero"), strict=True):
        lines = [line for line in panel.get_lines() if line.get_marker() != "None"]
        assert [line.get_label() for line in lines] == [network.name for network in networks(WORKLOAD)]
        assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) >= 8
        part = spectrum[(spectrum["drive"] == drive) & (spectrum["network"] == "GRU")]
        gru = next(line for line in lines if line.get_label() == "GRU")
        assert gru.get_ydata() == pytest.approx(part["exponent"].to_numpy())
        assert gru.get_xdata() == pytest.approx((np.arange(8) + 0.5) / 8)
        assert panel.get_xlabel() == "index i / size n of the state"
    assert "nats per step" in figure.axes[0].get_ylabel()


def test_fan_has_a_panel_per_network_and_a_line_per_singular_value(study):
    fan = study.fan_frame()
    figure = fan_figure(fan, "foot")
    titles = [panel.get_title(loc="left") for panel in figure.axes if panel.get_lines()]
    assert titles == [network.name for network in networks(WORKLOAD)]
    for panel, size in zip(figure.axes, (8, 8, 8, 8, 8, 8, 16, 16), strict=False):
        lines = panel.get_lines()
        assert len(lines) == size + 3  # the largest and the median once more, and the 1/1000
        assert lines[0].get_xdata().tolist() == [0, *LAGS]
        assert lines[0].get_ydata()[0] == 0  # at lag 0 the product is the identity
    part = fan[(fan["network"] == "GRU") & (fan["drive"] == "noise") & (fan["index"] == 1)]
    largest = figure.axes[titles.index("GRU")].get_lines()[-2]
    assert largest.get_ydata()[1:] == pytest.approx(part["log10_singular_value"].to_numpy())


def test_gain_plot_has_points_lines_and_the_transitions(study):
    figure = gain_figure(study.gain_mean_frame(), study.line_frame(), study.transition_frame(), "foot")
    (panel,) = figure.axes
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert sorted(labels) == sorted(
        f"{kind}, input: {drive}" for kind in ("measured", "mean field") for drive in ("noise", "zero")
    )
    verticals = [line.get_xdata()[0] for line in panel.get_lines() if line.get_linestyle() == ":"]
    assert verticals == pytest.approx(study.transition_frame()["theory"].tolist())
    assert verticals[1] == pytest.approx(1)
    assert any("transition at 1\n(zero)" in text.get_text() for text in panel.texts)
