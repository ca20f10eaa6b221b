"""A study: which trainings it makes, what it says of them, and that it comes back from its file."""

import json
from dataclasses import replace

import pytest

from unrolled import Environment, Workload
from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.learning.settings import Settings
from unrolled.learning.study import Learner, Learning, measure
from unrolled.learning.training import Horizon, Trial
from unrolled.networks.textbook import described, memory_networks

DELAYS = (5, 10, 20)
STEPS = 41  # of sequences of recall at twice the longest delay


def workload(**changes):
    return Workload(cell="rnn_tanh", input_size=6, hidden_size=8, batch_size=8, seq_len=STEPS).replace(
        **changes
    )


def learner(network, seed, learned, before, after=30, settings=None):
    """One that learned up to `learned`, and failed at the next."""
    settings = settings or Settings(delays=DELAYS)
    trials = []
    for delay in settings.delays:
        good = delay <= learned
        loss = 0.01 if good else 1.0
        trials.append(Trial(delay, 50 if good else settings.iterations, loss, good, Horizon(after, STEPS)))
        if not (good or settings.every_delay):
            break
    return Learner(network, seed, Horizon(before, STEPS), tuple(trials))


def study(each, settings=None):
    """`each` network's name, by its start, with pairs of what a seed learned and its horizon before."""
    settings = settings or Settings(delays=DELAYS, seeds=len(next(iter(each.values()))))
    starts = {
        "RNN tanh": ("rnn_tanh", None),
        "RNN tanh, orthogonal": ("rnn_tanh", "orthogonal"),
        "LSTM": ("lstm", None),
    }
    records = tuple(described(workload(), *starts[name]).record() for name in each)
    learners = tuple(
        learner(name, seed, learned, before, settings=settings)
        for name, pairs in each.items()
        for seed, (learned, before) in enumerate(pairs)
    )
    made = Learning(settings, records, learners, Environment.without_load())
    made.check()
    return made


def test_a_seed_goes_on_until_it_fails_and_with_every_delay_to_the_end():
    networks = memory_networks(workload(), 10)[:1]
    settings = Settings(delays=(2, 3, 400), seeds=2, iterations=60, batch_size=8, lr=0.01)
    parts = []
    found = measure(networks, settings, keep=parts.append)
    for each in found.learners:
        failed = [trial.learned for trial in each.trials].index(False)
        assert failed == len(each.trials) - 1
    assert [len(part.learners) for part in parts] == [1, 2]
    short = Settings(delays=(2, 3), seeds=1, iterations=1, every_delay=True)
    assert [len(each.trials) for each in measure(networks, short).learners] == [2]


def test_all_cells_and_starts_are_trained_and_come_back_from_a_file(tmp_path):
    settings = Settings(delays=(2,), seeds=1, iterations=25, batch_size=4)
    found = measure(memory_networks(workload(), 2), settings)
    assert len(found.learners) == 6
    found.save(tmp_path / "learn.json")
    again = Learning.load(tmp_path / "learn.json")
    assert again.text() == found.text()
    assert again.trials_frame().equals(found.trials_frame())


def test_anybodys_cell_is_trained(tmp_path):
    own = described(workload(), "examples.cells.peephole_lstm:PeepholeLSTM")
    found = measure([own], Settings(delays=(2,), seeds=1, iterations=25, batch_size=4))
    (one,) = found.learners
    assert one.trials[0].iterations == 25
    assert one.before.lag > 0


def test_success_counts_seeds_that_learned_a_delay_and_all_shorter_ones():
    found = study({"RNN tanh": [(5, 11), (10, 11), (20, 11), (0, 11)]})
    assert found.success_frame()["learned"].tolist() == [3, 2, 1]
    assert found.success_frame()["tried"].tolist() == [4, 3, 2]


def test_a_delay_learned_after_one_that_was_not_does_not_count():
    settings = Settings(delays=DELAYS, seeds=1, every_delay=True)
    odd = Learner(
        "LSTM", 0, Horizon(9, STEPS),
        tuple(Trial(d, settings.iterations, 1.0 if d == 10 else 0.01, d != 10, Horizon(30, STEPS)) for d in DELAYS),
    )  # fmt: skip
    found = replace(study({"LSTM": [(20, 9)]}, settings), learners=(odd,))
    found.check()
    assert found.learners[0].learned == 5
    frame = found.success_frame()
    assert frame["learned"].tolist() == [1, 0, 0]
    assert frame["learned_alone"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("learned", "before", "prediction"),
    [
        (10, 10, "holds"), (10, 39, "holds"), (10, 40, "too long"), (10, 5, "holds"), (10, 4, "too short"),
        (0, 1, "holds"), (0, 10, "holds"), (0, 11, "too long"), (20, 40, "holds"), (20, 9, "too short"),
    ],
)  # fmt: skip
def test_a_prediction_holds_within_a_factor_of_two_of_where_learning_ends(learned, before, prediction):
    """All 40 steps are a lower bound."""
    found = study({"LSTM": [(learned, before)] * 10})
    assert found.networks_frame()["prediction"].tolist() == [prediction]


def test_a_start_is_compared_with_torchs_own_of_the_same_cell_by_seed():
    found = study(
        {
            "RNN tanh": [(5, 11), (5, 11), (10, 11), (0, 11)],
            "RNN tanh, orthogonal": [(20, 40), (20, 40), (5, 40), (20, 40)],
            "LSTM": [(5, 10)] * 4,
        }
    )
    (one,) = found.comparisons()
    assert (one.network, one.against) == ("RNN tanh, orthogonal", "RNN tanh")
    assert (one.seeds, one.longer, one.shorter) == (4, 3, 1)
    assert one.factor.value == 4  # of 4, 4, 0.5 and 8: no delay counts as half of the shortest


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda c: c["learners"][0]["trials"][-1].update(loss=1.0), "learned at 0.1"),
        (lambda c: c["learners"][0]["trials"].reverse(), "delays in their order"),
        (lambda c: c["learners"].reverse(), "networks and seeds in their order"),
        (lambda c: c["learners"][0]["before"].update(lag=41), "a lag below 41"),
        (lambda c: c["learners"][0]["trials"][0].update(iterations=201), "at most 200 iterations"),
        (lambda c: c["learners"][1].update(trials=[]), "up to one that failed"),
        (lambda c: c["settings"].update(seeds=0), "seeds|>= 1"),
    ],
)
def test_damage_is_seen(damage, words, tmp_path):
    found = study({"RNN tanh": [(20, 11), (10, 11), (5, 11)]})
    content = json.loads(found.text())
    damage(content)
    path = tmp_path / "learn.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ResultFileError, match=words):
        Learning.load(path)


def test_no_networks_and_two_of_one_name_are_refused():
    with pytest.raises(InvalidValueError, match="networks: expected at least one"):
        measure([], Settings())
    with pytest.raises(InvalidValueError, match="a name for each"):
        measure([described(workload()), described(workload(seed=1))], Settings())
