"""The check in the timed dtype: its tolerance against closed forms, what is lent and put back, cells of one's own."""

import copy
import math

import pytest
import torch
from torch import nn

from unrolled.cells import CELLS
from unrolled.implementations import implement, load
from unrolled.networks.workload import Workload
from unrolled.speed.as_timed import FACTOR, LARGEST, AsTimed, Rounding
from unrolled.speed.step import Step, draws

UNIT = {"float64": 2**-53, "float32": 2**-24, "float16": 2**-11, "bfloat16": 2**-8}


def workload(cell="lstm", **fields):
    return Workload(cell=cell, **{"input_size": 4, "hidden_size": 5, "batch_size": 3, "seq_len": 6, **fields})


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize(
    "shape", [{}, {"num_layers": 2, "bidirectional": True}, {"hidden_size": (5, 3)}], ids=str
)
@pytest.mark.parametrize("cell", CELLS)
def test_every_implementation_is_the_same_with_a_margin(cell, shape, dtype):
    asked = workload(cell, dtype=dtype, batch_size=20, seq_len=12, **shape)
    reference = asked.reference()
    lent = AsTimed(asked, "training", reference)
    for name in ("fused", "cells", "hoisted"):
        found = lent.check(implement(load(name), reference))
        assert found.equal, str(found)
        assert not found.error > 0.6 * found.tolerance


MANY = torch.ones(10**6)  # so many entries that none counts by itself


@pytest.mark.parametrize("dtype", UNIT)
def test_tolerances_are_some_roundings_where_the_reference_has_fewer(dtype):
    exact = {"output": MANY, "gradient of input": MANY, "gradient of weight": MANY}
    u, asked = UNIT[dtype], workload(seq_len=25, batch_size=64, dtype=dtype)
    allowed = Rounding(asked, exact, exact)
    for name in ("output", "final state 1", "gradient of input", "gradient of initial state 0"):
        assert allowed(name, MANY) == pytest.approx(FACTOR * 4 * u, rel=1e-4)
    # 25 sums in the dtype, of 64 terms each in float32, or in float64.
    assert allowed("gradient of weight", MANY) == pytest.approx(
        FACTOR * (9 * u + 40 * min(u, 2**-24)), rel=1e-4
    )


def test_where_the_derivative_jumps_some_steps_may_take_the_other_side():
    exact = {"output": MANY, "gradient of input": MANY}
    allowed = Rounding(workload("rnn_relu", seq_len=100, batch_size=64), exact, exact)
    assert allowed("output", MANY) == pytest.approx(FACTOR * 4 * 2**-24, rel=1e-4)
    expected = FACTOR * (2**-12 + 1 / math.sqrt(100 * 16 * 5))
    assert allowed("gradient of input", MANY) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("entries", [1, 4, 100])
def test_few_entries_may_be_off_by_more(entries):
    true = torch.cat([torch.full((entries,), 3.0), torch.zeros(50)])
    allowed = Rounding(workload(), {}, {})
    assert allowed("output", true) == pytest.approx(FACTOR * 4 * 2**-24 * (1 + 32 / entries))
    assert Rounding(workload(dtype="bfloat16"), {}, {})("output", true) <= LARGEST


@pytest.mark.parametrize("error", [1e-5, 1e-3, 0.05])
def test_tolerances_follow_the_error_of_the_reference(error):
    true, found = {"output": MANY}, {"output": MANY.double() * (1 + error)}
    assert Rounding(workload(), true, found)("output", MANY) == pytest.approx(FACTOR * error, rel=1e-4)


@pytest.mark.parametrize("error", [LARGEST / FACTOR + 0.01, 1.0, math.inf, math.nan])
def test_what_rounding_alone_decides_is_not_compared(error):
    true, found = {"output": MANY}, {"output": MANY + error}
    assert Rounding(workload(), true, found)("output", MANY) == math.inf


def test_what_is_lent_is_put_back_bit_by_bit():
    reference = workload().reference()
    before = copy.deepcopy(reference.state_dict())
    lent = AsTimed(workload(), "training", reference)
    assert lent.changed() is None
    reference.bias_ih_l0.data[2] = -reference.bias_ih_l0.data[2]
    reference.weight_hh_l0.data = torch.zeros(1)
    reference.weight_ih_l0.requires_grad_(False)
    assert lent.changed() == "changed weight_ih_l0, which the reference shares"
    lent.restore()
    assert lent.changed() is None
    assert reference.weight_ih_l0.requires_grad
    assert all(torch.equal(before[name], now) for name, now in reference.state_dict().items())


def test_versions_count_what_torch_sees_being_written():
    asked = workload()
    reference, x = asked.reference(), asked.input()
    lent = AsTimed(asked, "forward", reference)
    before = lent.versions(x)
    with torch.inference_mode():
        x.mul_(1)
        reference.bias_hh_l0.mul_(1)
    after = lent.versions(x)
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 0, 0, 0, 1]


class Noisy(nn.RNNCell):
    """Draws random numbers."""

    def forward(self, x, h=None):
        return super().forward(x + torch.randn_like(x), h)


class Counting(nn.RNNCell):
    """Has a buffer of its own that each call changes."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x, h=None):
        self.calls += 1
        return super().forward(x, h)


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", ["Noisy", "Counting"])
def test_cells_of_ones_own_may_draw_random_numbers_and_count(cell, phase):
    asked = workload(f"{__name__}:{cell}", num_layers=2)
    reference = asked.reference()
    assert draws(reference, asked.input()) == (cell == "Noisy")
    lent = AsTimed(asked, phase, reference)
    contender = copy.copy(reference)  # with the very cells
    for _ in range(2):
        found = lent.check(contender)
        assert found.equal, str(found)
        assert lent.changed() is None
    contender.scan = lambda cell, x, state: reference.scan(cell, 1.01 * x, state)
    assert lent.check(contender).where == "output"


@pytest.mark.parametrize("phase", ["forward", "training"])
def test_the_outcome_of_a_step_is_what_it_computed(phase):
    asked = workload("gru", dtype="float64")
    reference, x, target = asked.reference(), asked.input(), asked.target()
    step = Step(reference, x, target, phase)
    step()
    assert step.outcome()["output"] is None  # it was not asked to keep anything
    step.keeps = True
    step.reset()
    step()
    found = step.outcome()
    output, final = reference(x)
    names = ["output", "final state 0"]
    expected = [output, final]
    if phase == "training":
        leaves = dict(reference.named_parameters())
        names += ["gradient of input", *(f"gradient of {name}" for name in leaves)]
        expected += torch.autograd.grad(((output - target) ** 2).mean(), [x, *leaves.values()])
    assert list(found) == names
    torch.testing.assert_close(list(found.values()), [each.detach() for each in expected])
    step.reset()
    assert step.outcome()["output"] is None
