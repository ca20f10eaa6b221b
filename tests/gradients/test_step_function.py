import numpy as np
import pytest
import torch
from torch import nn

from tests.gradients.helpers import cell_step, weights_of
from tests.gradients.test_flow_against_autograd import B, H, make, sequence, states
from unrolled.errors import UnrolledError
from unrolled.gradients import NonFiniteError, gradient_flow, step_gradient_flow


@pytest.mark.parametrize("kind", ["tanh", "relu", "gru"])
def test_a_cell_as_a_step_function_has_the_flow_of_the_module(kind):
    module, h0 = make(kind), states(make(kind))
    weights = weights_of(module, 0, "forward")
    flow = step_gradient_flow(lambda x, h: cell_step(module, weights, x, (h,))[0], sequence(), h0[0])
    expected = gradient_flow(module, sequence(), state=h0)
    np.testing.assert_allclose(flow.profile().samples, expected.profile().samples, rtol=0, atol=1e-9)


def test_a_pair_of_states_has_two_paths():
    module, (h0, c0) = make("lstm"), states(make("lstm"))
    weights = weights_of(module, 0, "forward")
    flow = step_gradient_flow(
        lambda x, state: cell_step(module, weights, x, state),
        sequence(),
        (h0[0], c0[0]),
        lambda s: s[0].sin().sum(),
    )
    expected = gradient_flow(module, sequence(), lambda r: r[0].sin().sum(), state=(h0, c0))
    np.testing.assert_allclose(
        flow.profile(path="h").samples, expected.profile(path="h").samples, rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        flow.profile(path="c").samples, expected.profile(path="c").samples, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(("dtype", "halvings"), [(torch.float32, 300), (torch.float64, 1100)])
def test_more_halvings_than_the_dtype_has_room_for_by_somebody_else(dtype, halvings):
    """To the last bit: powers of two, their products and logarithms are exact."""
    flow = step_gradient_flow(
        lambda x, h: 0.5 * h,
        torch.zeros(halvings + 1, 1, 1, dtype=dtype),
        torch.ones(1, 1, dtype=dtype),
        lambda h: h[-1].sum(),
    )
    assert (flow.profile().log2_norm == -np.arange(halvings + 1)).all()


def test_a_step_that_mixes_samples_of_very_different_size():
    rates = torch.tensor([[0.25], [4.0]])

    def step(x, h):  # the first sample reads the second one, 4^k times larger by then
        return rates * h + torch.stack((torch.zeros(1), h[0] * 2.0**-20))

    flow = step_gradient_flow(step, torch.zeros(200, 2, 1), torch.zeros(2, 1), lambda h: h[-1].sum())
    # Sample 1: a <- 4 a. Sample 0: a <- a/4 + 2^-20 (sample 1 one step later).
    samples, one, other = flow.profile().samples, 1.0, 1.0
    for lag in range(1, 200):
        one, other = 4.0 * one, other / 4 + 2.0**-20 * one
        np.testing.assert_allclose(samples[lag], np.log2([other, one]), rtol=0, atol=1e-4)


def test_what_a_step_function_may_not_do():
    x, h = torch.zeros(5, B, 1), torch.ones(B, H)
    cases = [
        (lambda: step_gradient_flow(None, x, h), "step: .*None"),
        (lambda: step_gradient_flow(lambda x, h: h, x[:1], h), r"inputs: .*T = 1\b"),
        (lambda: step_gradient_flow(lambda x, h: h, x * float("nan"), h), "inputs: .*NaN"),
        (lambda: step_gradient_flow(lambda x, h: h, x, h[:1]), r"state: .*3.*\(1, 5\)"),
        (lambda: step_gradient_flow(lambda x, h: h[:, :2], x, h), r"step.*\(3, 2\)"),
        (lambda: step_gradient_flow(lambda x, h: h.tolist(), x, h), r"step.*got list\b"),
        (lambda: step_gradient_flow(lambda x, h: h, x, h, lambda s: s), r"loss: .*\(5, 3, 5\)"),
        (
            lambda: step_gradient_flow(lambda x, h: h, x, h, lambda s: torch.ones(())),
            "loss: .*depends.*got one",
        ),
    ]
    for call, message in cases:
        with pytest.raises(UnrolledError, match=message):
            call()
    with pytest.raises(NonFiniteError, match=r"\binf\b.*'step', layer 0 \(forward\).*step 1;"):
        step_gradient_flow(lambda x, h: 1e30 * h, x, h)


def test_torch_cells_are_step_functions():
    torch.manual_seed(0)
    cell = nn.GRUCell(1, 3)
    assert step_gradient_flow(cell, torch.zeros(5, 2, 1), torch.zeros(2, 3)).profile().steps == 5
