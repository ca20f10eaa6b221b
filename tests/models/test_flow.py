"""The gradient flow of models of every make, against autograd through the model with its recurrences unrolled."""

import pytest
import torch

from tests.gradients.helpers import check_parameters
from tests.models.cases import CASES, model_of
from tests.models.helpers import backward, call, check_left, leaves, left
from unrolled.gradients import gradient_flow

# 80 steps in float64 at most, in another order of additions: some thousand roundings.
RTOL = 1e-12


@pytest.mark.parametrize("name", CASES)
def test_every_norm_and_every_gradient_is_autograds(name):
    case = CASES[name]
    model, inputs = model_of(case), case.inputs()
    before = left(model)
    torch.manual_seed(3)
    flow = gradient_flow(model, inputs, case.loss, cells=case.cells)
    torch.manual_seed(3)
    oracle, twin, output = backward(model, inputs, case.loss, case.cells)
    untouched = model_of(case)
    torch.manual_seed(3)
    for own, unrolled in zip(leaves(call(untouched, inputs)), leaves(output), strict=True):
        torch.testing.assert_close(
            own, unrolled, rtol=1e-10, atol=1e-12
        )  # the oracle computes the model's answer
    oracle.check(flow, RTOL)
    check_parameters(flow, twin, 1e-11)
    torch.set_rng_state(before["random"])
    check_left(before, model)
