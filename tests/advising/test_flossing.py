"""Flossing: its exponents are those of the spectrum, its gradient is right, and it pushes them to zero."""

import pytest
import torch
from torch import nn

from unrolled import lyapunov_spectrum
from unrolled.advising.flossing import floss, largest_exponents, layers, mean_square_exponent

KINDS = {
    "tanh": lambda **more: nn.RNN(3, 5, **more),
    "relu": lambda **more: nn.RNN(3, 5, nonlinearity="relu", **more),
    "gru": lambda **more: nn.GRU(3, 5, **more),
}
FORMS = [
    {},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False},
]


def made(kind, seed=0, **more):
    torch.manual_seed(seed)
    return KINDS[kind](dtype=torch.float64, **more)


def inputs(steps=40, batch=2, seed=1):
    return torch.randn(steps, batch, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_jacobians_are_those_of_autograd(kind, form):
    module, x = made(kind, **form), inputs(6)
    every, _ = module(x)
    found = list(layers(module, x))
    assert len(found) == form.get("num_layers", 1) * (1 + form.get("bidirectional", False))
    one = KINDS[kind](dtype=torch.float64, bias=form.get("bias", True))
    one.load_state_dict({name: dict(module.named_parameters())[name] for name, _ in one.named_parameters()})
    state = torch.zeros(2, 5, dtype=torch.float64)
    for step in range(6):
        for sample in range(2):
            row, now = x[step : step + 1, sample : sample + 1], state[sample]
            expected = torch.autograd.functional.jacobian(lambda h: one(row, h.view(1, 1, 5))[0].flatten(), now)  # noqa: B023
            torch.testing.assert_close(found[0][step, sample], expected, atol=1e-12, rtol=1e-10)
        state = one(x[step : step + 1], state[None])[0][0].detach()
    if not form.get("bidirectional") and "num_layers" not in form:
        torch.testing.assert_close(every, one(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_exponents_are_those_of_the_spectrum_of_that_layer(kind):
    """After many steps: both begin with tangents of their own."""
    module, x = made(kind), inputs(1500)
    (jacobians,) = layers(module, x)
    with torch.no_grad():
        ours = largest_exponents(jacobians, 2)
    if kind == "relu":
        ours = ours[:, :1]
    theirs = lyapunov_spectrum(module, x, k=ours.shape[1]).part().values
    torch.testing.assert_close(ours, torch.from_numpy(theirs).clone(), atol=6e-3, rtol=0)


@pytest.mark.parametrize("kind", ["tanh", "gru"])
def test_its_gradient_is_that_of_finite_differences(kind):
    module, x = made(kind), inputs(9)
    loss = mean_square_exponent(module, x)
    loss.backward()
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        direction = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * 1e-6 * direction)
                sides.append(float(mean_square_exponent(module, x)))
                parameter.sub_(sign * 1e-6 * direction)
        expected = (sides[0] - sides[1]) / 2e-6
        assert float((parameter.grad * direction).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("kind", ["tanh", "gru"])
@pytest.mark.parametrize("form", FORMS[:3], ids=str)
def test_exponents_come_closer_to_zero(kind, form):
    module, x = made(kind, **form).float(), inputs(60).float()
    before, after = floss(module, x, iterations=30)
    assert after < 0.7 * before
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_jacobians_of_a_linear_recurrence_have_the_moduli_of_its_eigenvalues():
    weight = torch.diag(torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64))
    found = largest_exponents(weight.expand(200, 1, 3, 3), 3)
    torch.testing.assert_close(found[0], weight.diagonal().log(), atol=0.02, rtol=0)
