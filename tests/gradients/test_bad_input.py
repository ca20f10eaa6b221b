"""Every mistake gets one line: what was expected, what came, what to do."""

import re

import pytest
import torch
from torch import nn

from tests.gradients.test_flow_against_autograd import B, H, make, sequence, states
from unrolled.errors import UnrolledError
from unrolled.gradients import NonFiniteError, gradient_bound, gradient_flow


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


class Own(nn.LSTM):
    def forward(self, x, hx=None):
        return super().forward(2 * x, hx)


def nan_at(step):
    x = sequence()
    x[step, 0, 0] = float("nan")
    return x


X = sequence()
CASES = {
    "no recurrent module": (
        lambda: gradient_flow(nn.Linear(4, 4), X),
        r"expected an nn\.RNN, nn\.GRU or nn\.LSTM",
    ),
    "no module": (lambda: gradient_flow("lstm", X), r"model: expected an nn\.Module, got str"),
    "own forward": (
        lambda: gradient_flow(Own(4, 5).double(), X),
        "expected torch's own forward, got the one of Own",
    ),
    "not called": (
        lambda: gradient_flow(Unused(), X),
        "expected a forward that calls its recurrent module",
    ),
    "features": (
        lambda: gradient_flow(make("gru"), X[..., :3]),
        r"expected \(T, B, 4\), .* got \(7, 3, 3\)",
    ),
    "batch first": (
        lambda: gradient_flow(make("gru", batch_first=True), X[..., :3]),
        r"expected \(B, T, 4\)",
    ),
    "dimensions": (lambda: gradient_flow(make("gru"), X.unsqueeze(0)), r"got \(1, 7, 3, 4\)"),
    "dtype": (
        lambda: gradient_flow(make("gru"), X.float()),
        r"expected torch\.float64 as the weights are, got torch\.float32",
    ),
    "device": (
        lambda: gradient_flow(make("gru"), X.to("meta")),
        "expected device cpu where the weights are, got meta",
    ),
    "empty": (
        lambda: gradient_flow(make("gru"), X[:0]),
        r"at least one step and one sample, got \(0, 3, 4\)",
    ),
    "nan": (lambda: gradient_flow(make("gru"), nan_at(3)), "expected finite numbers, got NaN or inf"),
    "no tensor": (
        lambda: gradient_flow(make("gru"), [1, 2]),
        "expected a tensor or a PackedSequence, got list",
    ),
    "one step": (lambda: gradient_flow(make("gru"), X[:1]), "expected at least 2 steps, got T = 1"),
    "not a scalar": (
        lambda: gradient_flow(make("gru"), X, lambda r: r[0]),
        r"expected a scalar, got shape \(7, 3, 5\)",
    ),
    "a float": (
        lambda: gradient_flow(make("gru"), X, lambda r: 1.0),
        "expected a scalar tensor, got float",
    ),
    "detached": (
        lambda: gradient_flow(make("gru"), X, lambda r: r[0].detach().sum()),
        "depends on the recurrent output, got one without a gradient",
    ),
    "does not depend": (
        lambda: gradient_flow(Detached(), X, lambda r: r.sum()),
        "depends on the recurrent output, got one that does not",
    ),
    "loss of nan": (
        lambda: gradient_flow(make("gru"), X, lambda r: r[0].sum() * float("nan")),
        "loss: expected a finite number, got nan",
    ),
    "output": (
        lambda: gradient_flow(nn.Sequential(make("gru"), Wrapped()), X),
        "expected a model that returns a tensor, got dict",
    ),
    "state shape": (
        lambda: gradient_flow(make("gru"), X, state=torch.zeros(2, B, H).double()),
        r"h0 of 'GRU': expected shape \(1, 3, 5\), got \(2, 3, 5\)",
    ),
    "state kind": (
        lambda: gradient_flow(make("lstm"), X, state=states(make("gru"))),
        r"initial state of 'LSTM': expected \(h0, c0\), got Tensor",
    ),
    "state dtype": (
        lambda: gradient_flow(make("gru"), X, state=states(make("gru")).float()),
        r"h0 of 'GRU': expected torch\.float64",
    ),
    "state of nan": (
        lambda: gradient_flow(make("gru"), X, state=states(make("gru")) * float("nan")),
        "h0 of 'GRU': expected finite numbers",
    ),
    "dropout": (
        lambda: gradient_flow(make("gru", num_layers=2, dropout=0.5), X),
        r"got dropout=0\.5 in training mode, which cannot be replayed; call model\.eval\(\)",
    ),
    "clip": (lambda: gradient_flow(make("gru"), X, clip="norm:0"), "expected a bound above 0"),
    "bound of a gated cell": (lambda: gradient_bound(make("gru")), r"expected an nn\.RNN, got GRU"),
    "bound of no layer": (lambda: gradient_bound(make("tanh"), 3), "expected one of 0 to 0"),
    "no such profile": (lambda: gradient_flow(make("gru"), X).profile(layer=4), r"expected one of GRU\.l0"),
    "no such parameter": (
        lambda: gradient_flow(make("gru"), X).gradient("bias"),
        "expected one of weight_ih_l0",
    ),
}


class Wrapped(nn.Module):
    def forward(self, result):
        return {"output": result[0]}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_gets_one_line_that_says_what_to_do(name):
    call, message = CASES[name]
    with pytest.raises(UnrolledError, match=message) as raised:
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
    with torch.no_grad():
        expected = int(module(torch.ones(200, 1, 1))[0].isinf().flatten().nonzero()[0])
    with pytest.raises(
        NonFiniteError, match=f"got inf in 'net', layer 1 .* first at step {expected};"
    ) as raised:
        gradient_flow(Named(module), torch.ones(200, 1, 1))
    assert (raised.value.module, raised.value.layer, raised.value.step) == ("net", 1, expected)


class Named(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


def test_a_gradient_that_the_loss_makes_nan_is_reported_at_its_step():
    with pytest.raises(NonFiniteError, match="gradient at the output of 'RNN', got nan, first at step 4"):
        gradient_flow(make("tanh"), X, lambda r: (r[0][4] * 0).sqrt().sum() + r[0].sum())
