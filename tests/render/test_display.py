"""What the records of the library say of themselves: a line, the terminal's table, HTML, and one picture each."""

import re
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

import unrolled
from tests.advising.test_advice import advice
from tests.learning.test_study import study
from tests.processes import ROOT, python
from tests.render.runs import race, run
from tests.shapes.helpers import configuration
from tests.speed.why.test_ladder import RATIOS, made
from tests.speed.why.test_model import ABOUT, points
from unrolled import Workload
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import measure as train
from unrolled.gradients.study import measure as measure_gradflow
from unrolled.networks.textbook import networks
from unrolled.render import display
from unrolled.render.gradflow_tables import STYLES
from unrolled.render.record_plots import PICTURES
from unrolled.results.shown import Plotted, Shown
from unrolled.shapes.configuration import both_forms
from unrolled.shapes.measure import measure as measure_shapes
from unrolled.spectrum.gain_curve import gaussian
from unrolled.spectrum.study import measure_study
from unrolled.speed.compare import compare_runs
from unrolled.speed.why.model import fit
from unrolled.sweep.record import Sweep

WORKLOAD = Workload(cell="rnn_tanh", input_size=3, hidden_size=8, batch_size=2, seq_len=41)


def model():
    torch.manual_seed(0)
    return nn.LSTM(3, 8, num_layers=2)


def inputs(steps=41):
    return torch.randn(steps, 2, 3, generator=torch.Generator().manual_seed(0))


def watched():
    watched_model = model()
    with unrolled.watch(watched_model, every=1) as found:
        for _ in range(3):
            watched_model(inputs())[0][-1].sum().backward()
    return found


def raced(ratio=2.0):
    return run(each for b in (1, 64) for each in race({"fused": 1.0, "cells": ratio}, Workload(batch_size=b)))


RECORDS = {
    "GradientFlow": lambda: unrolled.gradient_flow(model(), inputs(), clip="norm:1e-3"),
    "Profile": lambda: unrolled.gradient_flow(model(), inputs()).profiles[0],
    "Verdict": lambda: unrolled.gradient_flow(model(), inputs()).profiles[0].verdict,
    "Watch": watched,
    "LyapunovSpectrum": lambda: unrolled.lyapunov_spectrum(model(), inputs(), warm_up=5),
    "Exponents": lambda: unrolled.lyapunov_spectrum(model(), inputs(), warm_up=5).part(),
    "JacobianSingularValues": lambda: unrolled.jacobian_singular_values(model(), inputs(), lags=[1, 5, 20]),
    "SingularValues": lambda: unrolled.jacobian_singular_values(model(), inputs(), lags=[1, 5, 20]).part(),
    "Shapes": lambda: measure_shapes(both_forms(configuration("gru"))),
    "Study of gradients": lambda: measure_gradflow(
        networks(WORKLOAD), networks(WORKLOAD)[:2], lengths=(5, 20), clips=("none", "norm:1")
    ),
    "SpectrumStudy": lambda: measure_study(networks(WORKLOAD), swept=gaussian(WORKLOAD), gains=(0.5, 2.0)),
    "Advice": lambda: advice(9, 1),
    "Learning": lambda: study(
        {
            "RNN tanh": [(5, 11), (10, 12)],
            "RNN tanh, orthogonal": [(20, 40), (10, 38)],
            "LSTM": [(0, 30), (5, 9)],
        }
    ),
    "Sweep": lambda: Sweep.load(ROOT / "docs/results/cpu/sweep/sweep.json"),
    "Parallel": lambda: unrolled.parallel(model(), inputs(), lengths=[20, 40]),
    "Study of trainings": lambda: train(
        [Setting(iterations=30, length=14, warm_up=4, clip=clip) for clip in ("none", "norm:10")]
    ),
    "Run": raced,
    "Why": lambda: made(race(RATIOS, phase="training"), model=fit(points(), ABOUT)),
    "Result": lambda: raced().settled[1],
    "Comparison": lambda: compare_runs(raced(), raced(3.0)),
}


@pytest.fixture(scope="module")
def record():
    """`record(name)`: each is measured once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = RECORDS[name]()
        return made[name]

    return of


@pytest.mark.parametrize("name", RECORDS)
def test_a_repr_is_a_line_with_the_class_and_a_verdict(record, name):
    said = repr(record(name))
    assert "\n" not in said
    assert len(said) < 300
    assert re.match(rf"<{type(record(name)).__name__}: .+>$", said)


def test_the_verdict_stands_first_and_then_what_was_measured_and_its_length(record):
    flow, spectrum = record("GradientFlow"), record("LyapunovSpectrum")
    best = max(flow.joined(), key=lambda profile: profile.verdict.horizon)
    assert repr(flow).startswith(
        f"<GradientFlow: {best.verdict.word}, {best.verdict.horizon} of 40 steps back; "
    )
    assert f"{best.label} and 3 more, T = 41>" in repr(flow)
    assert repr(spectrum).startswith("<LyapunovSpectrum: forgetting, λ₁ = -0.")
    assert repr(spectrum).endswith(", T = 36 after 5 of warm-up>")
    assert repr(record("Result")).startswith("<Result: cells slower, 2.00 (")


@pytest.mark.parametrize("columns", ["40", "80", "100", "300"])
@pytest.mark.parametrize("name", RECORDS)
def test_printed_it_is_a_table_of_80_to_120_columns_without_colours(record, name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = str(record(name))
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) <= min(max(int(columns), 80), 120)
    assert "…" not in said
    assert said == said.strip("\n")
    assert all(line == line.rstrip() for line in said.splitlines())
    if name != "Verdict":
        assert "───" in said


def test_printed_is_what_the_command_shows(record, monkeypatch):
    import io

    from rich.console import Console

    from unrolled.render import gradflow

    monkeypatch.setenv("COLUMNS", "120")
    screen = Console(width=120, file=io.StringIO(), record=True)
    gradflow.show(record("Study of gradients"), screen)
    lines = [line.rstrip() for line in screen.export_text().splitlines()]
    assert str(record("Study of gradients")) == "\n".join(lines).strip("\n")


@pytest.mark.parametrize(
    "name", ["GradientFlow", "LyapunovSpectrum", "JacobianSingularValues", "Result", "Watch"]
)
def test_the_first_line_of_a_record_in_hand_is_the_answer(record, name):
    first, empty, *_ = str(record(name)).splitlines()
    assert first.endswith(".")
    assert empty == ""


class Words(HTMLParser):
    """The text of a page, and whether its elements are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.said, self.classes = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.classes |= set(dict(attrs).get("class", "").split())

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.said.append(data)


@pytest.mark.parametrize("name", RECORDS)
def test_html_is_the_same_words_needs_nothing_else_and_is_small(record, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(display.NOTEBOOK))
    html = record(name)._repr_html_()
    words = Words()
    words.feed(html)
    assert words.open == []
    lines = [line.rstrip() for line in "".join(words.said).splitlines()]
    cost = re.compile("it took .* of the loop's time")  # which grows while one looks
    assert cost.sub("", "\n".join(lines).strip("\n")) == cost.sub("", str(record(name)))
    assert not re.search(r"https?://|src=|@import|url\(", html)
    assert len(html) < 40_000


def test_html_has_a_colour_for_each_verdict_on_light_and_dark_pages(record):
    html = record("Study of gradients")._repr_html_()
    verdicts = set(record("Study of gradients").reach_frame()["verdict"])
    assert len(verdicts) > 1
    for verdict in verdicts:
        assert f'<span class="{STYLES[verdict]}">{verdict}' in html
        light, dark = display.COLOURS[STYLES[verdict]]
        name = STYLES[verdict]
        assert html.index(f"--{name}:{light}") < html.index(f"--{name}:{dark}")


def luminance(colour):
    """Relative, of WCAG 2.2."""
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", display.COLOURS)
def test_colours_can_be_read_on_white_and_on_the_grey_of_dark_notebooks(name):
    light, dark = map(luminance, display.COLOURS[name])
    assert (luminance("#ffffff") + 0.05) / (light + 0.05) >= 4.5
    assert (dark + 0.05) / (luminance("#1e1e1e") + 0.05) >= 4.5


def test_html_of_names_is_escaped():
    made = run(race({"fused": 1.0, "<b>&mine": 2.0}))
    assert "&lt;b&gt;&amp;mine" in made._repr_html_()
    assert "<b>" not in made._repr_html_()


@pytest.mark.parametrize("name", [name for name in RECORDS if name != "Verdict"])
def test_a_plot_is_one_axes_with_a_sentence_units_and_data_inside(record, name):
    axes = record(name).plot()
    try:
        figure = axes.figure
        assert figure.axes[0] is axes
        assert {other.get_label() for other in figure.axes[1:]} <= {"<colorbar>"}
        assert axes.get_title(loc="left").endswith(".")
        assert axes.get_xlabel()
        FigureCanvasAgg(figure).draw()
        shown = axes.get_lines() or axes.patches or axes.containers
        assert shown
        width, height = figure.canvas.get_width_height()
        box = axes.get_tightbbox()
        assert (box.x0, box.y0) >= (0, 0)
        assert box.x1 <= width
        assert box.y1 <= height
    finally:
        pyplot.close(axes.figure)


def test_a_plot_goes_into_the_axes_that_is_given_and_changes_no_settings(record):
    before = dict(mpl.rcParams)
    one, other = Figure().subplots(1, 2)
    assert record("GradientFlow").plot(ax=other) is other
    assert record("LyapunovSpectrum").plot(one) is one
    assert one.get_lines()
    assert other.get_lines()
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == []


def test_a_plot_draws_the_figures_of_the_record(record):
    flow = record("GradientFlow")
    axes = flow.plot(ax=Figure().subplots())
    lines = {line.get_label(): line for line in axes.get_lines()}
    for profile in flow:
        norm = profile.log10_norm
        assert np.asarray(lines[profile.label].get_ydata()) == pytest.approx(norm - norm[0], nan_ok=True)
    spectrum = record("LyapunovSpectrum")
    axes = spectrum.plot(ax=Figure().subplots())
    lines = {line.get_label(): line for line in axes.get_lines()}
    for part in spectrum:
        assert np.asarray(lines[part.system.label].get_ydata()) == pytest.approx(part.mean)


@pytest.mark.slow
def test_without_matplotlib_only_the_plot_is_missing_and_says_what_to_type():
    code = """
import sys
sys.modules["matplotlib"] = None
import torch, unrolled
flow = unrolled.gradient_flow(torch.nn.GRU(2, 3), torch.randn(5, 1, 2))
assert "Reach: " in str(flow) and "<pre>" in flow._repr_html_() and "GradientFlow" in repr(flow)
try:
    flow.plot()
except unrolled.UnrolledError as error:
    print(error)
"""
    done = python("-c", code)
    assert done.stdout.strip() == (
        "expected matplotlib for plots, which is not installed; pip install 'unrolled[plots]'"
    ), done.stderr


def test_in_a_notebook_a_record_printed_is_text_all_the_same(record, monkeypatch):
    """rich looks for a notebook, and would display where it should give text."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert "Reach: " in str(record("GradientFlow"))
    assert "Reach: " in record("GradientFlow")._repr_html_()


def test_every_record_that_can_be_shown_has_a_view_and_every_plotted_one_a_picture(record):
    def subclasses(kind):
        for each in kind.__subclasses__():
            yield from (each, *subclasses(each))

    shown = {each for each in subclasses(Shown) if "VIEW" in vars(each)}
    assert {type(record(name)) for name in RECORDS} == shown
    for each in shown:
        view = __import__(f"unrolled.render.{each.VIEW}", fromlist=["line"])
        assert callable(view.line)
        assert callable(view.show)
        assert issubclass(each, Plotted) == (each.VIEW in PICTURES)


def test_a_summary_begins_with_what_was_measured_its_length_and_the_verdict(record):
    frame = record("GradientFlow").summary()
    assert list(frame.columns[:4]) == ["profile", "steps", "verdict", "decades_per_step"]
    first = record("GradientFlow").joined()[0]
    assert frame.iloc[0, :3].tolist() == [first.label, 41, first.verdict.word]


def test_a_reverse_direction_does_not_answer_how_far_back_a_loss_at_the_last_step_is_heard():
    torch.manual_seed(0)
    flow = unrolled.gradient_flow(nn.GRU(3, 8, bidirectional=True), inputs())
    forward, reverse = flow.profile(direction="forward"), flow.profile(direction="reverse")
    assert reverse.verdict.horizon != forward.verdict.horizon
    assert str(flow).startswith(f"The network hears {forward.verdict.horizon} of 40 steps back, by GRU.l0: ")


def test_what_has_no_gradient_no_round_or_no_exponent_is_shown_too():
    still = unrolled.gradient_flow(model(), inputs(), lambda output: 0.0 * output[0].sum())
    assert repr(still).startswith("<GradientFlow: none; ")
    assert str(still).startswith("No gradient comes back to the network.")
    (wrong,) = race({"mine": 1.0}, wrong=("mine",))
    assert repr(wrong).startswith("<Result: mine wrong (output differs by 0.5); ")
    assert "mine got no time: wrong, output differs by 0.5." in str(wrong)
    watched_model = model()
    with unrolled.watch(watched_model) as found:
        assert str(found).startswith("No gradient has been seen yet.")
        assert repr(found) == "<Watch: 0 of 0 backward passes recorded>"
    for each in (still, wrong, found):
        assert each.plot(ax=Figure().subplots()).get_title(loc="left")
