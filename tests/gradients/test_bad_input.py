"""Every mistake gets one line: what was expected, what came, what to do."""

import re

import pytest
import torch
from torch import nn

from tests.gradients.test_flow_against_autograd import B, H, make, sequence, states
from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.gradients import NonFiniteError, gradient_flow
from unrolled.theory import gradient_bound


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = make("tanh")
        self.head = nn.Linear(H, 1).double()

    def forward(self, x):
        return self.head(self.rnn(x)[0].detach())


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = make("tanh")

    def forward(self, x):
        return x


def nan_at(step):
    x = sequence()
    x[step, 0, 0] = float("nan")
    return x


X = sequence()
CASES = {
    "no recurrent module": (
        lambda: gradient_flow(nn.Linear(4, 4), X),
        InvalidValueError,
        r"model: .*\bLinear\b",
    ),
    "no module": (lambda: gradient_flow("lstm", X), InvalidTypeError, r"model: .*got str\b"),
    "not called": (lambda: gradient_flow(Unused(), X), InvalidValueError, "model: .*got none"),
    "features": (
        lambda: gradient_flow(make("gru"), X[..., :3]),
        InvalidValueError,
        r"input of 'GRU': .*\(T, B, 4\).* got \(7, 3, 3\)",
    ),
    "batch first": (
        lambda: gradient_flow(make("gru", batch_first=True), X[..., :3]),
        InvalidValueError,
        r"input of 'GRU': .*\(B, T, 4\).* got \(7, 3, 3\)",
    ),
    "dimensions": (
        lambda: gradient_flow(make("gru"), X.unsqueeze(0)),
        InvalidValueError,
        r"input of 'GRU': .*got \(1, 7, 3, 4\)",
    ),
    "dtype": (
        lambda: gradient_flow(make("gru"), X.float()),
        InvalidTypeError,
        r"input of 'GRU': .*torch\.float64.*got torch\.float32",
    ),
    "device": (
        lambda: gradient_flow(make("gru"), X.to("meta")),
        InvalidValueError,
        "input of 'GRU': .*cpu.*got meta",
    ),
    "empty": (lambda: gradient_flow(make("gru"), X[:0]), InvalidValueError, r"inputs: .*got \(0, 3, 4\)"),
    "nan": (lambda: gradient_flow(make("gru"), nan_at(3)), InvalidValueError, r"inputs: .*NaN.* argument 0\b"),
    "no tensor": (lambda: gradient_flow(make("gru"), [1, 2]), InvalidTypeError, r"GRU.*got list\b"),
    "one step": (lambda: gradient_flow(make("gru"), X[:1]), InvalidValueError, r"inputs: .*T = 1\b"),
    "not a scalar": (
        lambda: gradient_flow(make("gru"), X, lambda r: r[0]),
        InvalidValueError,
        r"loss: .*\(7, 3, 5\)",
    ),
    "a float": (
        lambda: gradient_flow(make("gru"), X, lambda r: 1.0),
        InvalidTypeError,
        r"loss: .*got float\b",
    ),
    "detached": (
        lambda: gradient_flow(make("gru"), X, lambda r: r[0].detach().sum()),
        InvalidValueError,
        "loss: .*got .*without a gradient",
    ),
    "does not depend": (
        lambda: gradient_flow(Detached(), X, lambda r: r.sum()),
        InvalidValueError,
        "loss: .*depends.*got .*does not",
    ),
    "loss of nan": (
        lambda: gradient_flow(make("gru"), X, lambda r: r[0].sum() * float("nan")),
        NonFiniteError,
        r"loss: .*got nan\b",
    ),
    "output": (
        lambda: gradient_flow(nn.Sequential(make("gru"), Wrapped()), X),
        InvalidTypeError,
        r"loss: .*got dict\b",
    ),
    "state shape": (
        lambda: gradient_flow(make("gru"), X, state=torch.zeros(2, B, H).double()),
        InvalidValueError,
        r"h0 of 'GRU': .*\(1, 3, 5\).*got \(2, 3, 5\)",
    ),
    "state kind": (
        lambda: gradient_flow(make("lstm"), X, state=states(make("gru"))),
        InvalidTypeError,
        r"state of 'LSTM': .*got Tensor\b",
    ),
    "state dtype": (
        lambda: gradient_flow(make("gru"), X, state=states(make("gru")).float()),
        InvalidTypeError,
        r"h0 of 'GRU': .*torch\.float64.*got torch\.float32",
    ),
    "state of nan": (
        lambda: gradient_flow(make("gru"), X, state=states(make("gru")) * float("nan")),
        InvalidValueError,
        "h0 of 'GRU': .*got NaN",
    ),
    "clip": (
        lambda: gradient_flow(make("gru"), X, clip="norm:0"),
        InvalidValueError,
        r"clip: .*norm.*got 0\.0",
    ),
    "clip unknown": (lambda: gradient_flow(make("gru"), X, clip="nrom:1"), InvalidValueError, "clip: .*'nrom'"),
    "bound of a gated cell": (lambda: gradient_bound(make("gru")), InvalidValueError, r"module: .*got GRU\b"),
    "bound of no layer": (lambda: gradient_bound(make("tanh"), 3), InvalidValueError, r"layer: .*got 3\b"),
    "no such profile": (
        lambda: gradient_flow(make("gru"), X).profile(layer=4),
        InvalidValueError,
        r"profile: .*GRU\.l0.*got .*\b4\b",
    ),
    "no such parameter": (
        lambda: gradient_flow(make("gru"), X).gradient("bias"),
        InvalidValueError,
        "parameter: .*weight_ih_l0.*got 'bias'",
    ),
}


class Wrapped(nn.Module):
    def forward(self, result):
        return {"output": result[0]}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_gets_one_line_that_says_what_to_do(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
    assert re.search(r"expected .*, got .*[;,]", str(raised.value))


def test_dropout_between_layers_is_fine_in_evaluation_and_in_one_layer():
    assert gradient_flow(make("gru", num_layers=2, dropout=0.5).eval(), X).profiles


def test_modules_are_usable_after_a_mistake():
    module = make("gru")
    with pytest.raises(UnrolledError):
        gradient_flow(module, X[..., :3])
    assert "forward" not in module.__dict__
    assert module(X)[0].requires_grad


def test_states_that_overflow_are_reported_with_module_layer_and_first_step():
    module = nn.RNN(1, 1, num_layers=2, nonlinearity="relu")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(1.0 if name.endswith("l0") else 2.0)
        module.bias_hh_l1.zero_()
    with torch.no_grad():  # states that double, to 0.88 of a power of two: rounding moves no step
        expected = int(module(torch.ones(200, 1, 1))[0].isinf().flatten().nonzero()[0])
    with pytest.raises(NonFiniteError, match=rf"\binf\b.*'net', layer 1 .* step {expected};") as raised:
        gradient_flow(Named(module), torch.ones(200, 1, 1))
    assert (raised.value.module, raised.value.layer, raised.value.step) == ("net", 1, expected)


class Named(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


def test_a_gradient_that_the_loss_makes_nan_is_reported_at_its_step():
    with pytest.raises(NonFiniteError, match=r"'RNN'.*\bnan\b.*step 4\b"):
        gradient_flow(make("tanh"), X, lambda r: (r[0][4] * 0).sqrt().sum() + r[0].sum())
