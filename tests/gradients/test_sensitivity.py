"""How far states move with the weights, against autograd, closed forms, and its own exact value."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from unrolled import Workload, gradient_flow
from unrolled.gradients import sensitivity as module_of_it
from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.sensitivity import chi_squared
from unrolled.speed.explicit import explicit

T, B, I, H = 7, 3, 2, 3
MODULES = {
    "rnn_tanh": lambda **o: nn.RNN(I, H, **o),
    "rnn_relu": lambda **o: nn.RNN(I, H, nonlinearity="relu", **o),
    "gru": lambda **o: nn.GRU(I, H, **o),
    "lstm": lambda **o: nn.LSTM(I, H, **o),
    "projected": lambda **o: nn.LSTM(I, H, proj_size=2, **o),
}


def made(kind, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = MODULES[kind](dtype=torch.float64, **options)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.6)
        return module, torch.randn(T, B, I, dtype=torch.float64)


def own_options(module):
    if isinstance(module, nn.RNN):
        return {"nonlinearity": module.nonlinearity}
    return {"proj_size": module.proj_size} if isinstance(module, nn.LSTM) else {}


def by_autograd(module, x, layer, direction):
    """`log10 |d h_t / d theta|` of each step, one number of the state after the other."""
    suffix = f"_l{layer}" + "_reverse" * (direction == "reverse")
    weights = [p for name, p in module.named_parameters() if name.endswith(suffix)]
    single = nn.Module()
    below = x
    if layer:  # the states of the layer, from its own input
        below = first_layers(module, x, layer)
    single = type(module)(
        below.shape[-1], module.hidden_size, bias=module.bias, dtype=torch.float64,
        **own_options(module),
    )  # fmt: skip
    names = [
        name.removesuffix(suffix) + "_l0" for name, _ in module.named_parameters() if name.endswith(suffix)
    ]
    for name, weight in zip(names, weights, strict=True):
        setattr(single, name, weight)
    if direction == "reverse":
        below = below.flip(0)
    output, _ = explicit(single, below.detach())
    squares = torch.zeros(T, B, dtype=torch.float64)
    for t in range(T):
        for b in range(B):
            for unit in output[t, b]:
                found = torch.autograd.grad(unit, weights, retain_graph=True, allow_unused=True)
                squares[t, b] += sum(float(g.square().sum()) for g in found if g is not None)
    return 0.5 * squares.mean(1).log10().numpy(), sum(weight.numel() for weight in weights)


def first_layers(module, x, count):
    shorter = type(module)(
        module.input_size, module.hidden_size, num_layers=count, bidirectional=module.bidirectional, bias=module.bias,
        dtype=torch.float64,
        **own_options(module),
    )  # fmt: skip
    shorter.load_state_dict({name: module.state_dict()[name] for name in shorter.state_dict()})
    return shorter(x)[0].detach()


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True}],
    ids=["plain", "no bias", "two layers both ways"],
)
@pytest.mark.parametrize("kind", MODULES)
def test_exact_norms_are_those_of_autograd(kind, options):
    module, x = made(kind, **options)
    flow = gradient_flow(module, x, sensitivity=True)
    assert len(flow.sensitivities) == module.num_layers * (1 + module.bidirectional)
    for each in flow.sensitivities:
        expected, count = by_autograd(module, x, each.layer, each.direction)
        assert each.is_exact
        assert each.parameters == count
        np.testing.assert_allclose(each.log10_norm, expected, rtol=0, atol=1e-9)
        assert (each.low == each.log10_norm).all()


def test_it_does_not_depend_on_how_steps_are_cut_into_blocks(monkeypatch):
    module, x = made("lstm")
    whole = gradient_flow(module, x, sensitivity=True).sensitivities[0]
    monkeypatch.setattr("unrolled.rollout.layer.BLOCK_STEPS", 2)
    parts = gradient_flow(module, x, sensitivity=True).sensitivities[0]
    np.testing.assert_allclose(whole.log10_norm, parts.log10_norm, atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9])
def test_a_linear_recurrence_has_the_closed_forms(rate):
    """`h_t = l h_{t-1} + w x_t`, by a tanh of numbers so small that it is linear; `d h_t / d w = h_t` where w is 1."""
    steps, batch, size = 150, 20_000, 1e-5
    module = nn.RNN(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
        module.weight_hh_l0.fill_(rate)
    x = size * torch.randn(steps, batch, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        mean_square = float(module(x)[0][-1].square().mean()) / size**2
    (found,) = gradient_flow(module, x, sensitivity=True).sensitivities
    by_w, by_rate = 1 / (1 - rate**2), (1 + rate**2) / (1 - rate**2) ** 3
    error = 5 * math.sqrt(2 / batch)  # relative, of a mean of squares of as many normal numbers, and more
    assert mean_square == pytest.approx(by_w, rel=error)
    assert 10 ** (2 * found.log10_norm[-1]) / size**2 == pytest.approx(by_w + by_rate, rel=2 * error)


@pytest.mark.parametrize("kind", list(MODULES)[:4])
def test_estimates_lie_within_their_error_bars(kind, monkeypatch):
    inside = 0
    for seed in range(40):
        workload = Workload(
            cell=kind, input_size=3, hidden_size=5, batch_size=4, seq_len=12, seed=seed, dtype="float64"
        )
        module, x = workload.reference(), workload.input()
        monkeypatch.setattr(module_of_it, "FEW", 10**9)
        (exact,) = gradient_flow(module, x, sensitivity=True).sensitivities
        monkeypatch.setattr(module_of_it, "FEW", 0)
        (found,) = gradient_flow(module, x, sensitivity=True).sensitivities
        assert (found.draws, exact.draws) == (16, 0)
        assert not found.is_exact
        inside += found.low[-1] <= exact.log10_norm[-1] <= found.high[-1]
        assert abs(found.log10_norm - exact.log10_norm).max() < 0.6
    assert inside >= 38  # of 99 %


def test_what_explodes_stays_in_range():
    """Of a relu network that doubles its state in each step, far beyond float32."""
    size, steps = 4, 700
    module = nn.RNN(1, size, nonlinearity="relu", bias=False)
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
        module.weight_hh_l0.copy_(2 * torch.eye(size))
    x = torch.zeros(steps, 1, 1)
    x[0] = 2.0**-120  # so that the states themselves stay below the largest number
    (found,) = gradient_flow(module, x[:240], sensitivity=True).sensitivities
    assert np.isfinite(found.log10_norm).all()
    # h_t = 2^(t-1) x: d h_t / d w is 2^(t-1) x, and there are t - 1 places for a change of U in each product.
    t = np.arange(1, 241)
    expected = 0.5 * np.log10(size + size**2 * (t - 1.0) ** 2 / 4)
    np.testing.assert_allclose(
        found.log10_norm, expected + (t - 1) * math.log10(2) - 120 * math.log10(2), atol=1e-4
    )


def test_a_memory_without_end_adds_up():
    module = nn.RNN(1, 2, nonlinearity="relu", bias=False)
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
        module.weight_hh_l0.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    x = torch.ones(5000, 1, 1)
    (found,) = gradient_flow(module, x, sensitivity=True).sensitivities
    t = np.arange(1, 5001.0)
    # The state is t: d h_t / d w = t, and d h_t / d u = sum of the states before.
    expected = 0.5 * np.log10(2 * t**2 + 4 * (t * (t - 1) / 2) ** 2)
    np.testing.assert_allclose(found.log10_norm, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("share", "degrees", "value"), [(0.005, 8, 1.3444), (0.995, 8, 21.955), (0.5, 2, 1.38629)]
)
def test_quantiles_are_those_of_the_tables(share, degrees, value):
    assert chi_squared(share, degrees) == pytest.approx(value, rel=1e-4)


def test_it_survives_a_file_and_is_left_out_where_nobody_asked(tmp_path):
    module, x = made("gru")
    flow = gradient_flow(module, x, sensitivity=True)
    flow.save(tmp_path / "flow.json")
    (again,) = GradientFlow.load(tmp_path / "flow.json").sensitivities
    np.testing.assert_array_equal(again.log10_norm, flow.sensitivities[0].log10_norm)
    assert gradient_flow(module, x).sensitivities == ()
    assert "sensitivities" not in gradient_flow(module, x).text()
