"""Advice: the clip on what explodes, memory on what vanishes, nothing on what is healthy, and nothing by chance."""

import json
import math
from dataclasses import replace

import pytest
import torch

from unrolled import Environment, Workload
from unrolled.advising.change import Change, Diagnosis, Outcome, changes_for
from unrolled.advising.on_forecast import OnForecast
from unrolled.advising.on_model import OnModel
from unrolled.advising.on_task import OnTask
from unrolled.advising.study import Advice, Tried, measure
from unrolled.errors import ImplementationError, ResultFileError
from unrolled.forecast.presets import explode, vanish
from unrolled.learning.settings import Settings
from unrolled.learning.statistics import share_of
from unrolled.networks.textbook import described


def on_task(cell="rnn_tanh", init=None, delay=20, hidden=16, **changes):
    settings = Settings(delays=(delay,), batch_size=8, iterations=200, lr=0.01, **changes)
    workload = Workload(cell=cell, input_size=6, hidden_size=hidden, batch_size=8, seq_len=2 * delay + 1)
    return OnTask(described(workload, cell, init), settings)


def diagnosis(word="vanishing", hears=10, needs=40, steps=81, **changes):
    return Diagnosis(word, -0.3, hears, needs, steps, **changes)


@pytest.mark.parametrize(
    ("found", "cell", "kinds"),
    [
        (diagnosis(), "rnn_tanh", ["init", "cell", "floss"]),
        (diagnosis(), "gru", ["gates", "init", "floss"]),
        (diagnosis(needs=None), "lstm", ["gates", "init", "floss"]),
        (diagnosis(hears=None), "rnn_relu", ["init", "cell", "floss"]),
        (diagnosis("exploding", 80), "rnn_tanh", ["clip", "init"]),
        (diagnosis(problem="inf at step 3"), "lstm", ["clip", "init"]),
        (diagnosis(hears=40), "rnn_tanh", []),
        (diagnosis("steady", 80, None), "lstm", []),
    ],
)
def test_a_diagnosis_asks_for_at_most_three_changes(found, cell, kinds):
    changes = changes_for(found, cell, lambda kind: True)
    assert [change.kind for change in changes] == kinds
    assert found.is_healthy == (not kinds)
    assert changes_for(found, cell, lambda kind: False) == ()


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Outcome(True, 50, 0.1), Outcome(False, 400, 1.0)),
        (Outcome(True, 50, 0.1), Outcome(True, 75, 0.05)),
        (Outcome(False, 400, 0.5), Outcome(False, 400, 0.6)),
        (Outcome(False, 400, 9.0), Outcome(False, 400, math.nan)),
        (Outcome(False, 400, 9.0), Outcome(False, 3, 0.1, "iteration 4: inf")),
        (Outcome(True, 400, 0.1), Outcome(True, 400, 0.2)),
    ],
)
def test_the_goal_counts_first_then_how_soon_then_the_loss(better, worse):
    assert better.rank > worse.rank


def test_trainings_that_both_met_nan_are_equal():
    assert Outcome(False, 3, 1.0, "inf").rank == Outcome(False, 9, 2.0, "inf").rank


@pytest.mark.parametrize(("helped", "count"), [(0, 10), (3, 10), (9, 10), (10, 10), (1, 1)])
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(helped, count):
    """At its ends the binomial tails are 1/2 %."""
    found = share_of(helped, count)
    binomial = torch.distributions.Binomial(count, torch.tensor([found.low, found.high], dtype=torch.float64))
    chances = binomial.log_prob(torch.arange(count + 1.0, dtype=torch.float64)[:, None]).exp()
    if helped:
        assert float(chances[helped:, 0].sum()) == pytest.approx(0.005, abs=1e-9)
    if helped < count:
        assert float(chances[: helped + 1, 1].sum()) == pytest.approx(0.005, abs=1e-9)
    assert (found.low == 0) == (helped == 0)
    assert (found.high == 1) == (helped == count)


def advice(helped, harmed=0, seeds=10):
    """A change that was better in some seeds, worse in others, and the same in the rest."""
    middle, good, bad = Outcome(False, 9, 1.0), Outcome(False, 9, 0.5), Outcome(False, 9, 2.0)
    outcomes = [good] * helped + [bad] * harmed + [middle] * (seeds - helped - harmed)
    tried = Tried(Change("clip", "norm:1"), tuple(outcomes))
    made = Advice("a", "b", {"--task": "recall"}, seeds, 0, diagnosis("exploding"), (middle,) * seeds, (tried,),
                  Environment.without_load())  # fmt: skip
    made.check()
    return made


@pytest.mark.parametrize(
    ("helped", "harmed", "is_advised"),
    [(10, 0, True), (9, 1, True), (8, 2, False), (6, 0, True), (5, 0, False), (7, 0, True), (0, 0, False), (0, 10, False)],
)  # fmt: skip
def test_only_what_helped_beyond_chance_is_advised(helped, harmed, is_advised):
    """2 of 100 cases at most: by the sign test over the seeds in which something changed."""
    found = advice(helped, harmed)
    changed = helped + harmed
    chance = sum(math.comb(changed, k) for k in range(helped, changed + 1)) / 2**changed if changed else 1
    assert found.is_advised(found.tried[0]) == is_advised == (chance <= 0.02)


def test_a_change_that_does_nothing_is_advised_in_at_most_2_of_100_studies():
    generator = torch.Generator().manual_seed(0)
    advised = 0
    for helped in (
        torch.binomial(torch.full((2000,), 10.0), torch.tensor(0.5), generator=generator).int().tolist()
    ):
        advised += bool(advice(helped, 10 - helped).advised)
    assert advised / 2000 <= 0.02


def test_on_the_exploding_preset_the_clip_is_advised_and_helps_in_10_of_10():
    setting = explode()[0].replace(iterations=60)
    found = measure(OnForecast(setting), {}, seeds=10)
    assert found.diagnosis.word == "exploding"
    clip = next(tried for tried in found.tried if tried.change == Change("clip", "norm:1"))
    assert clip in found.advised
    assert found.helped(clip) == 10
    assert all(outcome.problem for outcome in found.unchanged)


@pytest.mark.parametrize(
    "case",
    [
        on_task("rnn_tanh", "orthogonal", delay=10),
        on_task("lstm", "chrono:60", delay=10),
        OnForecast(vanish()[0].replace(length=6, init="orthogonal")),
    ],
    ids=["orthogonal", "chrono", "forecast"],
)
def test_on_a_healthy_control_nothing_is_tried(case):
    found = measure(case, {}, seeds=3)
    assert found.diagnosis.is_healthy
    assert (found.unchanged, found.tried, found.advised) == ((), (), [])


@pytest.mark.slow
def test_a_plain_rnn_that_forgets_is_helped_by_what_keeps_its_gradient():
    found = measure(on_task(delay=30), {}, seeds=6)
    assert found.diagnosis.forgets
    assert [tried.change.kind for tried in found.tried] == ["init", "cell", "floss"]
    assert sum(outcome.reached for outcome in found.unchanged) <= 2
    assert "init" in [tried.change.kind for tried in found.advised]


def test_unchanged_and_changed_start_from_one_seed():
    """A clip that never acts is the same training, to the bit."""
    case = on_task("gru", clip="none")
    same = case.train(3, Change("clip", "norm:100000"))
    assert case.train(3, None) == same
    assert case.train(4, None) != same


def make():
    return torch.nn.Sequential(torch.nn.GRU(1, 6, batch_first=True))


def batches(seed):
    generator = torch.Generator().manual_seed(seed)
    while True:
        x = torch.randn(8, 30, 1, generator=generator)
        yield x, lambda out, x=x: ((out[0][:, -1].mean(-1) - x[:, 0, 0]) ** 2).mean()


def no_pairs(seed):
    yield 3


def nothing(seed):
    return []


def fails(seed):
    raise RuntimeError("no such file")
    yield


HERE = "tests.advising.test_advice"


@pytest.mark.slow
def test_somebodys_model_is_trained_on_their_data():
    case = OnModel(f"{HERE}:make", f"{HERE}:batches", iterations=30, lr=0.01)
    assert case.cell == "gru"
    found = measure(case, {}, seeds=1)
    assert [tried.change.kind for tried in found.tried] == ["gates", "init", "floss"]
    assert all(math.isfinite(outcome.loss) for tried in found.tried for outcome in tried.outcomes)
    assert len({tried.outcomes[0].loss for tried in found.tried} | {found.unchanged[0].loss}) == 4
    assert case.train(0, None) == found.unchanged[0]


def test_from_a_checkpoint_its_weights_stay(tmp_path):
    torch.manual_seed(5)
    model = make()
    torch.save(model.state_dict(), tmp_path / "best.pt")
    case = OnModel(f"{HERE}:make", f"{HERE}:batches", tmp_path / "best.pt", iterations=3)
    assert [kind for kind in ("clip", "init", "gates", "cell", "floss") if case.can(kind)] == ["clip", "floss"]
    made = case._made(9)
    assert all(
        torch.equal(one, other) for one, other in zip(made.parameters(), model.parameters(), strict=True)
    )
    assert [tried.change.kind for tried in measure(case, {}, seeds=1).tried] == ["floss"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("no_pairs", "expected pairs of an input and a loss function, got int"),
        ("nothing", "expected batches, got none"),
        ("fails", "RuntimeError: no such file"),
        ("HERE", "expected a function batches"),
    ],
)
def test_data_that_is_none_is_told(data, words):
    with pytest.raises(ImplementationError, match=words):
        OnModel(f"{HERE}:make", f"{HERE}:{data}").look()


@pytest.mark.slow
def test_it_comes_back_from_its_file_and_damage_is_seen(tmp_path):
    found = measure(on_task(delay=30), {"--task": "recall"}, seeds=2)
    found.save(tmp_path / "advise.json")
    assert Advice.load(tmp_path / "advise.json").text() == found.text()
    for damage, words in (
        (lambda c: c["tried"][0]["outcomes"].pop(), "as many trainings"),
        (lambda c: c["tried"].append(c["tried"][0]), "so many seeds|each change once"),
        (lambda c: c["unchanged"].pop(), "the unchanged trainings first"),
        (lambda c: c["diagnosis"].update(hears=59), "nothing tried on what is healthy"),
        (lambda c: c["tried"][0]["change"].update(kind="more"), "a change, got 'more'"),
    ):
        content = json.loads(found.text())
        damage(content)
        (tmp_path / "bad.json").write_text(json.dumps(content))
        with pytest.raises(ResultFileError, match=words):
            Advice.load(tmp_path / "bad.json")


@pytest.mark.slow
def test_parts_are_kept_after_every_training():
    parts = []
    found = measure(on_task(delay=30), {}, seeds=2, keep=parts.append)
    for part in parts:
        part.check()
    assert len(parts) == 8
    assert replace(parts[-1]).text() == found.text()
