"""The whole claim: every norm is the one that float64 autograd finds through a loop of cells."""

import pytest
import torch
from torch import nn

from tests.gradients.helpers import Loop, check_parameters, check_profiles, truth
from unrolled.gradients import gradient_flow

T, B, INPUT, H = 7, 3, 4, 5
KINDS = {
    "tanh": lambda **options: nn.RNN(INPUT, H, **options),
    "relu": lambda **options: nn.RNN(INPUT, H, nonlinearity="relu", **options),
    "gru": lambda **options: nn.GRU(INPUT, H, **options),
    "lstm": lambda **options: nn.LSTM(INPUT, H, **options),
    "lstm-projected": lambda **options: nn.LSTM(INPUT, H, proj_size=3, **options),
}
OPTIONS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "three layers both ways": {"num_layers": 3, "bidirectional": True},
    "no bias": {"bias": False, "num_layers": 2},
}


def make(kind, seed=0, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    module = KINDS[kind](**options).double()
    for parameter in module.parameters():  # away from the small default, so that every term counts
        nn.init.normal_(parameter, std=0.6)
    return module.to(dtype)


def states(module, batch=B, seed=1):
    generator = torch.Generator().manual_seed(seed)
    rows = module.num_layers * (2 if module.bidirectional else 1)
    h0 = torch.randn(rows, batch, module.proj_size or H, generator=generator, dtype=torch.float64)
    if module.mode != "LSTM":
        return h0
    return h0, torch.randn(rows, batch, H, generator=generator, dtype=torch.float64)


def sequence(batch=B, steps=T, seed=2):
    return torch.randn(steps, batch, INPUT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def everything(result):
    """A loss that reads every output and every last state, each differently."""
    output, last = result
    last = last if isinstance(last, tuple) else (last,)
    return sum((part.cos() * torch.linspace(1, 2, part.shape[-1]).to(part)).sum() for part in (output, *last))


def at_the_end(result):
    return (result[0][-1] * torch.linspace(1, 2, result[0].shape[-1]).to(result[0])).sum()


@pytest.mark.parametrize("loss", [everything, at_the_end])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_norms_and_parameter_gradients_are_autograds(kind, options, loss):
    module, x = make(kind, **options), sequence()
    flow = gradient_flow(module, x, loss, state=states(module))
    reference = truth(module)
    loop = Loop(reference)
    loss(loop(x, states(module))).backward()
    check_profiles(flow, loop, rtol=1e-9)
    check_parameters(flow, reference, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [OPTIONS["plain"], OPTIONS["three layers both ways"]], ids=["plain", "deep"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_within_a_thousandth_of_the_float64_truth(kind, options):
    module, x = make(kind, dtype=torch.float32, **options), sequence().float()
    flow = gradient_flow(module, x, everything)
    reference = truth(module)
    loop = Loop(reference)
    everything(loop(x.double())).backward()
    check_profiles(flow, loop, rtol=1e-3)
    check_parameters(flow, reference, rtol=1e-3)
