"""The tasks against their definitions, their closed forms, and other people's code."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import one_hot
from torchrecurrent.benchmarks import adding_problem, copy_memory

from unrolled.errors import InvalidValueError
from unrolled.learning.tasks import TASKS, task_named

CERTAIN = 50.0  # a logit beside which the others have no share


def drawn(name, delay, count=64, seed=0):
    return TASKS[name].draw(delay, count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("delay", [2, 3, 17])
def test_sequences_are_as_long_and_wide_as_said(name, delay):
    task = TASKS[name]
    x, target = drawn(name, delay, 5)
    assert x.shape == (task.steps(delay), 5, task.inputs)
    prediction = torch.zeros(task.steps(delay), 5, task.outputs, requires_grad=True)
    task.loss(prediction, target).backward()
    assert prediction.grad.abs().sum() > 0
    assert 0 < task.lag(delay) < task.steps(delay)


@pytest.mark.parametrize("delay", [1, 7, 100])
def test_copy_memory_is_that_of_torchrecurrent(delay):
    theirs, targets = copy_memory(
        delay, 20, one_hot=True, return_dataloader=False, generator=torch.Generator().manual_seed(1)
    )
    shown = targets[:, -10:].T
    ours, wanted = TASKS["copy"].posed(shown, delay)
    torch.testing.assert_close(ours, theirs.transpose(0, 1))
    assert torch.equal(wanted, targets.T)


@pytest.mark.parametrize("delay", [2, 9, 100])
def test_the_adding_problem_is_that_of_torchrecurrent(delay):
    theirs, sums = adding_problem(
        delay, 20, return_dataloader=False, generator=torch.Generator().manual_seed(1)
    )
    numbers, marks = theirs.transpose(0, 1).unbind(-1)
    places = torch.stack([column.nonzero().flatten() for column in marks.T], dim=1)
    ours, wanted = TASKS["adding"].posed(numbers, places)
    torch.testing.assert_close(ours, theirs.transpose(0, 1))
    torch.testing.assert_close(wanted, sums)


@pytest.mark.parametrize("delay", [2, 30, 501])
def test_adding_marks_one_number_in_each_half(delay):
    x, _ = drawn("adding", delay, 2000)
    halves = x[: delay // 2, :, 1].sum(0), x[delay // 2 :, :, 1].sum(0)
    assert all(torch.equal(half, torch.ones(2000)) for half in halves)
    assert len(set(x[:, :, 1].argmax(0).tolist())) == min(delay // 2, 250)  # all places of the first half


@pytest.mark.parametrize("delay", [1, 10, 100, 1000])
def test_copy_memory_without_a_memory_has_10_ln_8_over_t_plus_20(delay):
    task = TASKS["copy"]
    _, target = drawn("copy", delay, 8)
    answer = torch.zeros(task.steps(delay), 8, task.outputs)
    answer[: task.lag(delay), :, task.BLANK] = CERTAIN  # says blanks, and then guesses one of eight
    answer[task.lag(delay) :, :, task.BLANK] = -CERTAIN
    assert float(task.loss(answer, target)) == pytest.approx(10 * math.log(8) / (delay + 20), rel=1e-6)
    assert task.baseline(delay) == pytest.approx(10 * math.log(8) / (delay + 20), rel=1e-12)


def test_no_answer_without_a_memory_is_better_than_that():
    """The cross entropy is convex in the logits, and at that answer its mean gradient is 0."""
    task = TASKS["copy"]
    shown = torch.arange(8).expand(10, 8)  # each symbol once at each place: the mean over all sequences
    _, target = task.posed(shown, 5)
    answer = torch.zeros(task.steps(5), 1, task.outputs)
    answer[: task.lag(5), :, task.BLANK] = CERTAIN
    answer[task.lag(5) :, :, task.BLANK] = -CERTAIN
    answer.requires_grad_()
    task.loss(answer.expand(-1, 8, -1), target).backward()
    assert answer.grad.abs().max() < 1e-8


@pytest.mark.parametrize("delay", [2, 25])
def test_adding_without_a_memory_has_the_variance_of_a_sum_of_two_uniform_numbers(delay):
    task, count = TASKS["adding"], 200_000
    _, target = drawn("adding", delay, count)
    mean = torch.ones(1, count, 1)
    errors = (target - 1).double().square()
    loss = float(task.loss(mean, target))
    assert loss == pytest.approx(task.baseline(delay), abs=4 * float(errors.std()) / math.sqrt(count))
    assert task.baseline(delay) == 1 / 6
    assert float(target.double().mean()) == pytest.approx(1, abs=4 * math.sqrt(1 / 6 / count))


@pytest.mark.parametrize(("name", "symbols"), [("recall", 4), ("xor", 2)])
def test_guessing_has_the_logarithm_of_the_symbols(name, symbols):
    task = TASKS[name]
    _, target = drawn(name, 5, 16)
    assert float(task.loss(torch.zeros(6, 16, task.outputs), target)) == pytest.approx(math.log(symbols))
    assert task.baseline(5) == pytest.approx(math.log(symbols))


def test_recall_shows_a_symbol_first_and_asks_last():
    x, target = drawn("recall", 6, 12)
    assert torch.equal(x[0], one_hot(target, 6).float())
    assert torch.equal(x[1:-1].argmax(-1), torch.full((5, 12), 4))
    assert torch.equal(x[-1].argmax(-1), torch.full((12,), 5))


def test_xor_is_of_the_first_and_the_last_bit_and_nothing_linear_of_both():
    task = TASKS["xor"]
    bits = torch.tensor(list(itertools.product([0, 1], repeat=2))).T
    x, target = task.posed(bits, 4)
    assert target.tolist() == [0, 1, 1, 0]
    assert torch.equal(x[0, :, 0] > 0, bits[0] == 1)
    assert torch.equal(x[-1, :, 0] > 0, bits[1] == 1)
    assert x[1:-1].abs().sum() == 0
    both = torch.stack([x[0, :, 0], x[-1, :, 0], torch.ones(4)], dim=1)
    solved = torch.linalg.lstsq(both, target.float()[:, None]).solution
    assert float((both @ solved - target.float()[:, None]).abs().min()) == pytest.approx(0.5)


def test_an_unknown_task_is_told_the_others():
    with pytest.raises(InvalidValueError, match="task: expected one of recall, copy, adding, xor, got 'sums'"):
        task_named("sums")
