"""What a study of Newton's method prints and draws: wrong predictions are named, and nothing is cut off."""

import io
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from unrolled import Environment
from unrolled.over_time.measured import Exponent, Iterations, Measured
from unrolled.over_time.record import Parallel
from unrolled.render import parallel as view
from unrolled.render.parallel_plots import exponent_figure, lengths_figure
from unrolled.render.parallel_summary import summary

LENGTHS = (100, 200, 400)


def iterations(counts, damped=0):
    return Iterations(tuple(counts), (damped,) * len(counts), (True,) * len(counts))


def measured(name, exponent, counts, width=0.01, forgets=True):
    interval = Exponent(exponent, exponent - width, exponent + width)
    diagonal = iterations((90, 100, 110), 3)
    return Measured(name, "rnn.l0", 16, 1, interval, forgets, iterations(counts), diagonal, 1e-12)


FLAT = measured("RNN tanh, gain 0.5", -0.7, (4, 4, 4))
GROWS = measured("RNN tanh, gain 3", 0.2, (60, 121, 239))
WRONG = measured("GRU, orthogonal", -0.05, (40, 80, 160))
STUCK = measured("RNN tanh, gain 2", -0.4, (40, 80, 160), forgets=False)
UNSURE = measured("LSTM", -0.01, (20, 22, 23), width=0.05)


def study(*found, lengths=LENGTHS):
    return Parallel(lengths, 1e-8, None, (), found, Environment.without_load())


def shown(found, width, explain=False):
    screen = Console(file=io.StringIO(), width=width, force_jupyter=False)
    view.show(found, screen, explain=explain)
    return screen.file.getvalue()


def test_a_wrong_prediction_is_named_and_the_count_says_so():
    first, *others = summary(study(FLAT, GROWS, WRONG))
    assert first == ("1 of 3 networks can be run in parallel over time; for 2 of 3 the prediction is right.")
    assert others[0] == (
        "GRU, orthogonal: Parallel over time: no, it takes 160 iterations at T = 400 (K ~ T^1.00); the largest "
        "exponent, −0.05, says otherwise."
    )
    assert others[1].startswith("The Jacobians of 400 steps take up to 800 KiB (")


def test_one_network_has_one_verdict():
    assert study(UNSURE).verdict == (
        "Parallel over time: yes, in 23 iterations at T = 400 (K ~ T^0.10); the largest exponent, −0.01, says so too, "
        "though its interval has both signs."
    )
    assert study(GROWS).verdict == (
        "Parallel over time: no, it takes 239 iterations at T = 400 (K ~ T^1.00); the largest exponent, +0.2, says "
        "so too."
    )


def test_one_that_does_not_forget_how_it_began_is_said_to_be_that():
    assert study(STUCK).verdict == (
        "Parallel over time: no, it takes 160 iterations at T = 400 (K ~ T^1.00); the largest exponent is −0.4, but "
        "that it does not forget how it began says so too."
    )
    assert study(FLAT, STUCK).networks_frame()["predicted"].tolist() == [True, False]


def test_few_iterations_at_the_longest_length_are_enough():
    """However they grow: a tenth of the steps at most."""
    assert study(measured("GRU", -0.1, (10, 20, 40))).is_parallel(measured("GRU", -0.1, (10, 20, 40)))
    assert not study(FLAT).is_parallel(measured("GRU", -0.1, (10, 20, 41)))
    assert study(FLAT).is_parallel(measured("GRU", -0.1, (80, 80, 81)))  # nor do they grow at all


def test_what_did_not_converge_is_not_parallel():
    given_up = replace(FLAT.full, converged=(True, True, False))
    found = study(replace(FLAT, full=given_up))
    assert "no, it takes more than 4 iterations" in found.verdict
    assert ">4" in shown(found, 80)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_has_every_count(width):
    text = shown(study(FLAT, GROWS, WRONG, UNSURE, STUCK), width, explain=True)
    assert max(map(len, text.splitlines())) <= width
    rows = [line for line in text.splitlines() if line.startswith("RNN tanh, gain 3")]
    for word in ("0.200", "0.010", "no", "60", "121", "239", "~110"):
        assert any(word in row.split() for row in rows)
    assert "(yes)" in text


@pytest.mark.parametrize("draw", [lengths_figure, exponent_figure])
@pytest.mark.parametrize("found", [(FLAT,), (FLAT, GROWS, WRONG, UNSURE)], ids=["one", "four"])
def test_figures_have_labels_and_every_network(draw, found, tmp_path):
    figure = draw(study(*found))
    assert isinstance(figure, Figure)
    (panel,) = figure.axes
    assert panel.get_xlabel()
    assert panel.get_ylabel().endswith("iterations")
    assert {each.network for each in found} <= set(panel.get_legend_handles_labels()[1])
    figure.savefig(tmp_path / "drawn.png")


def test_an_exponent_without_an_interval_and_one_of_minus_infinity_are_drawn(tmp_path):
    infinite = replace(FLAT, network="none", exponent=Exponent(-float("inf"), -float("inf"), -float("inf")))
    open_ended = replace(FLAT, network="short", exponent=Exponent(-0.5, -float("inf"), float("inf")))
    found = study(infinite, open_ended)
    exponent_figure(found).savefig(tmp_path / "drawn.png")
    assert "?" in shown(found, 80)
    assert "−inf" in shown(found, 80)


def test_files_are_all_there(tmp_path):
    found = study(FLAT, GROWS)
    assert set(view.frames(found)) == {"iterations", "networks"}
    names = {path.name for path in view.draw(found, tmp_path)}
    assert names == {"iterations.png", "iterations.svg", "exponent.png", "exponent.svg"}
    assert (
        view.line(found)
        == "1 of 2 networks can be run in parallel over time; T = 100, 200, 400, tolerance 1e-08"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"lengths": (200, 100, 400)},
        {"lengths": (100, 200)},
        {"measured": ()},
        {"measured": (FLAT, FLAT)},
        {"measured": (replace(FLAT, full=iterations((4, 4, 401))),)},
        {"measured": (replace(FLAT, exponent=Exponent(0.0, 1.0, 2.0)),)},
    ],
)
def test_a_damaged_file_is_refused(wrong, tmp_path):
    from unrolled.errors import ResultFileError

    replace(study(FLAT), **wrong).save(tmp_path / "parallel.json")
    with pytest.raises(ResultFileError, match="damage"):
        Parallel.load(tmp_path / "parallel.json")
