"""What a study of learning prints and draws: predictions that fail are named, and nothing is cut off."""

import pytest
from matplotlib.figure import Figure

from tests.learning.test_study import study
from unrolled.learning.settings import Settings
from unrolled.render import learn as view
from unrolled.render.learn_plots import learned_figure, success_figure
from unrolled.render.learn_summary import summary

THREE = {
    "RNN tanh": [(5, 3), (5, 3), (10, 3), (5, 4)],
    "RNN tanh, orthogonal": [(20, 39), (20, 38), (20, 39), (10, 39)],
    "LSTM": [(0, 40), (0, 40), (0, 40), (0, 40)],
}


def test_predictions_that_fail_are_printed_as_failing():
    first, *others = summary(study(THREE))
    assert first.startswith(
        "The horizon before training says what is learned, within a factor of 2, for 2 of 3 networks"
    )
    assert "rank correlation −0." in first
    assert others[0] == (
        "LSTM: the prediction fails, it was too long: it heard 40 steps back at the start, and learned none of the delays."
    )
    assert others[1].startswith(
        "RNN tanh, orthogonal learns longer delays than RNN tanh in 4 of 4 seeds: 3 times as long"
    )


def test_of_one_network_the_answer_is_its_own():
    (said,) = summary(study({"LSTM": [(5, 9), (10, 9)]}))
    assert said == (
        "LSTM learns delays up to 5: the prediction holds, it heard 9 steps back at the start and learned up to 5."
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_has_all_seeds(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = str(study(THREE))
    assert max(map(len, shown.splitlines())) <= width
    assert "seeds of 4" in " ".join(shown.split())
    row = next(line for line in shown.splitlines() if line.startswith("RNN tanh, orthogonal"))
    assert row.split()[3:] == ["4", "4", "3", "10", "10–20", "39", "30", "holds"]


def test_many_delays_are_parted_and_none_is_left_out(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    delays = tuple(range(10, 700, 20))
    steps = Settings(delays=delays, seeds=1)
    shown = str(study_over(steps))
    assert max(map(len, shown.splitlines())) <= 80
    assert all(f" {delay}" in shown for delay in delays)


def study_over(settings):
    from tests.learning.test_study import workload
    from unrolled import Environment
    from unrolled.learning.study import Learner, Learning
    from unrolled.learning.training import Horizon, Trial
    from unrolled.networks.textbook import described

    steps = settings.of.steps(settings.reach_delay)
    trial = Trial(settings.delays[0], settings.iterations, 1.0, False, Horizon(30, steps))
    learner = Learner("LSTM", 0, Horizon(9, steps), (trial,))
    record = described(workload(), "lstm").record()
    return Learning(settings, (record,), (learner,), Environment.without_load())


def test_trainings_that_met_nan_are_told_and_not_all_of_them():
    from dataclasses import replace

    found = study({"LSTM": [(0, 9)] * 8})
    learners = tuple(
        replace(each, trials=(replace(each.trials[0], problem="iteration 3: inf"),)) for each in found.learners
    )
    said = summary(replace(found, learners=learners))
    assert said[1] == "LSTM, seed 0, delay 5: iteration 3: inf."
    assert said[-1] == "And 4 other trainings that met NaN or inf."


@pytest.mark.parametrize("draw", [success_figure, learned_figure])
@pytest.mark.parametrize(
    "each", [THREE, {"LSTM": [(0, 9)]}, {"LSTM": [(20, 40)]}], ids=["three", "none", "all"]
)
def test_figures_have_labels_and_a_line_or_marks_for_each_network(each, draw, tmp_path):
    figure = draw(study(each))
    assert isinstance(figure, Figure)
    (panel,) = figure.axes
    assert panel.get_xlabel().endswith("steps")
    assert panel.get_ylabel()
    labels = panel.get_legend_handles_labels()[1]
    assert set(each) <= set(labels)
    figure.savefig(tmp_path / "drawn.png")


def test_files_are_all_there(tmp_path):
    found = study(THREE)
    assert set(view.frames(found)) == {"trials", "success", "networks", "learners"}
    assert {path.name for path in view.draw(found, tmp_path)} == {
        "success.png", "success.svg", "learned.png", "learned.svg",
    }  # fmt: skip
    assert view.line(found).startswith("The horizon before training says what is learned")
