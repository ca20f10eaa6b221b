"""Tables and plots of a spectrum study: what fits, what is marked, what is legible."""

import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tests.render.whole import assert_whole, entries, note, sentence
from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.networks.textbook import Network, networks
from unrolled.render import spectrum as view
from unrolled.render.spectrum_plots import fan_figure, gain_figure, spectrum_figure
from unrolled.render.spectrum_tables import at_gain, carrying_table, gain_table, nats, spectrum_table
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
        above, below = re.split("─{20,}", shown)
        assert len(below.splitlines()) == 1 + rows
        assert len(above.splitlines()) <= 4  # a title and a head


def test_every_row_says_which_input_and_which_theory(study):
    wide, narrow = (printed(spectrum_table(study.table_frame(), width), width) for width in (120, 80))
    assert wide.count(" noise ") == wide.count(" zero ") == 9
    assert "mean field" in wide
    assert "fixed point" in wide
    assert " fix " in narrow
    assert " mean " in narrow
    assert "NaN/inf" in narrow
    assert "-∞" in wide
    for verdict in ("neutral", "forgetting"):
        assert verdict in narrow
        assert verdict in wide


def test_two_tables_call_no_two_matrices_by_one_name(study):
    """Gain 1 of the Gaussian network is another than the orthogonal × 1 of the table above."""
    above = printed(spectrum_table(study.table_frame(), 120), 120)
    below = printed(gain_table(study.gain_mean_frame()), 120)
    names = [re.split(" {2,}", line)[0] for line in below.splitlines()[4:]]
    assert names == ["Gaussian, gain 0.5", "Gaussian, gain 1", "Gaussian, gain 2"]
    assert "Gaussian" not in above
    assert "orthogonal × 1 " in above
    assert "untrained" in below


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("RNN tanh, Gaussian, 200 hidden units", "Gaussian, gain 2"),
        ("RNN tanh, orthogonal, 8 hidden units", "orthogonal, gain 2"),
        ("RNN tanh, orthogonal, gain 1.5, 8 hidden units", "orthogonal, gain 1.5, × 2"),
        ("GRU, 8 hidden units", "torch’s own, gain 2"),
    ],
)
def test_weights_over_gain_are_called_by_how_they_start(network, name):
    assert at_gain(network, 2.0) == name


def test_one_screen_has_one_base(study):
    """Exponents and singular values are in nats alike."""
    carrying = study.carrying_frame()
    last = carrying[carrying["network"] == "GRU"].iloc[-1]
    line = next(x for x in printed(carrying_table(carrying, 120), 120).splitlines() if x.startswith("GRU "))
    assert float(line.split()[-1]) == pytest.approx(last["log10_largest"] * math.log(10), abs=0.051)
    screen = Console(width=120, file=io.StringIO(), record=True)
    view.show(study, screen, explain=True)
    text = screen.export_text()
    assert "nats" in text
    assert "log10" not in text
    assert "decade" not in text


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
    figure = spectrum_figure(spectrum, study.table_frame(), "foot")
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["with noise", "without input"]
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
    transitions = study.transition_frame()
    of_drive = {"noise": "with noise", "zero": "without input"}
    assert sorted(entries(figure)) == sorted(
        [
            *(f"{kind}, {how}" for kind in ("measured", "mean-field theory") for how in of_drive.values()),
            *(
                f"theory crosses 0 at {row['theory']:.3g}, {of_drive[row['drive']]}"
                for row in transitions.to_dict("records")
            ),
        ]
    )
    verticals = [line.get_xdata()[0] for line in panel.get_lines() if line.get_linestyle() == ":"]
    assert verticals == pytest.approx(transitions["theory"].tolist())
    assert verticals[1] == pytest.approx(1)
    said = [
        (f"at gain {row['measured']:.2f}" if math.isfinite(row["measured"]) else "at none of these gains")
        + f" {of_drive[row['drive']]} (mean field: {row['theory']:.2f})"
        for row in transitions.to_dict("records")
    ]
    assert sentence(figure) == f"Chaos begins {', '.join(said)}"


def test_titles_count_what_the_tables_say(study):
    table, fan = study.table_frame(), study.fan_frame()
    said = sentence(spectrum_figure(study.mean_spectrum_frame(), table, "foot", untrained=True))
    noise = table[(table["drive"] == "noise") & (table["problem"] == "")]["dynamics"].tolist()
    counts = [noise.count(word) for word in ("chaotic", "forgetting", "neutral")]
    verbs = (
        ("is chaotic", "are chaotic"),
        ("forgets", "forget"),
        ("neither grows nor shrinks", "neither grow nor shrink"),
    )
    (first, count), *others = [
        (verb[count > 1], count) for verb, count in zip(verbs, counts, strict=True) if count
    ]
    rest = "".join(f", {number} {verb}" for verb, number in others)
    assert said.startswith(f"With noise {count} of 8 untrained networks {first}{rest}; ")
    alike = table.assign(dynamics="forgetting", problem="")
    said = sentence(spectrum_figure(study.mean_spectrum_frame(), alike, "foot"))
    assert said == f"With noise all {len(table) // 2} networks forget; as many without input"
    one = table[(table["network"] == "GRU")]
    said = sentence(spectrum_figure(study.mean_spectrum_frame(), one, "foot"))
    assert re.fullmatch(
        r"GRU forgets with noise \(λ₁ = −0\.\d+\); forgets without input \(λ₁ = −0\.\d+\)", said
    )
    carrying = study.carrying_frame()
    alive = (carrying[(carrying["lag"] == 30)]["carrying"] > 0).sum()
    assert sentence(fan_figure(fan, "foot")).startswith(
        f"After 30 steps 1/1000 of some change to the state is left in {alive} of 8 networks"
    )


@pytest.mark.parametrize("count", [1, 3, pytest.param(20, marks=pytest.mark.slow)])
def test_any_number_of_networks_with_long_names_fits(study, count):
    def many(frame):
        one = frame[frame["network"] == "GRU"]
        names = [f"package.module_of_mine.kernels:Recurrent{k}, forget bias 3" for k in range(count)]
        return pd.concat([one.assign(network=name) for name in names], ignore_index=True)

    spectrum, table = many(study.mean_spectrum_frame()), many(study.table_frame())
    assert_whole(spectrum_figure(spectrum, table, "foot", "note"))
    assert_whole(
        spectrum_figure(spectrum[spectrum["drive"] == "zero"], table[table["drive"] == "zero"], "foot")
    )
    assert_whole(fan_figure(many(study.fan_frame()), "foot", "note"))


def test_the_gain_figure_is_whole_over_any_range_and_with_gaps(study):
    gains, lines, transitions = study.gain_mean_frame(), study.line_frame(), study.transition_frame()
    assert_whole(gain_figure(gains, lines, transitions, "foot"))
    wide = gains.assign(gain=np.tile([0.001, 1.0, 1000.0], 2), mean=np.tile([-6.9, math.nan, 400.0], 2))
    figure = gain_figure(wide, lines.iloc[:0], transitions.assign(measured=math.nan, theory=math.nan), "foot")
    assert figure.axes[0].get_xscale() == "log"
    assert_whole(figure)
    assert (
        sentence(figure)
        == "Chaos begins at none of these gains with noise, at none of these gains without input"
    )


def test_exponents_of_minus_infinity_and_beyond_the_panel_are_said_to_be_there(study):
    spectrum = study.mean_spectrum_frame()
    lost = spectrum.assign(exponent=spectrum["exponent"].where(spectrum["index"] < 4, -math.inf))
    deep = spectrum.assign(exponent=spectrum["exponent"] - 300.0 * (spectrum["index"] > 4))
    for frame, said in (
        (lost, "exponents are −∞"),
        (deep, "below −4, 1/55 a step, are beyond the panel"),
    ):
        figure = spectrum_figure(frame, study.table_frame(), "foot")
        assert_whole(figure)
        assert said in note(figure)
