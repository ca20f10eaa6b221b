"""The check before the clock: right implementations pass, and every planted mistake is found and named."""

import copy
import json

import pytest
import torch
from torch import nn

from unrolled.cells import CELLS
from unrolled.implementations import IMPLEMENTATIONS, Implementation, load
from unrolled.implementations.cells import Cells
from unrolled.implementations.hoisted import Hoisted
from unrolled.networks.workload import Workload
from unrolled.results.codec import decode, encode
from unrolled.speed.equivalence import check_equivalence


def workload(cell="lstm", **fields):
    return Workload(cell=cell, **{"input_size": 4, "hidden_size": 5, "batch_size": 3, "seq_len": 6, **fields})


@pytest.mark.parametrize(
    "shape", [{}, {"num_layers": 2, "bidirectional": True}, {"hidden_size": (5, 3)}], ids=str
)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in IMPLEMENTATIONS
        if name not in ("scan", "torch_scan") and not name.startswith("compiled")
    ],
)
def test_every_implementation_is_the_same_to_rounding(name, cell, shape):
    phase = "forward" if name == "inference" else "training"
    found = check_equivalence(workload(cell, **shape), load(name), phase)
    assert found.equal
    # Of norms: some tens of roundings of 2e-16 over 6 steps and 2 layers, forward and back.
    assert found.error < 1e-13


class SwappedGates(Hoisted):
    """Takes i for f and f for i."""

    def scan(self, k, x, state):
        h = self.reference.hidden_size
        layer = self.layers[k]
        order = torch.cat([torch.arange(h, 2 * h), torch.arange(h), torch.arange(2 * h, 4 * h)])
        swapped = [p[order] for p in (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh)]
        projected = nn.functional.linear(x, swapped[0], swapped[2] + swapped[3])
        return self.recurrence(projected, state, swapped[1], swapped[3])


class LostBias(Hoisted):
    def scan(self, k, x, state):
        layer = self.layers[k]
        projected = nn.functional.linear(x, layer.weight_ih, layer.bias_ih)
        return self.recurrence(projected, state, layer.weight_hh, layer.bias_hh)


class DetachedState(Cells):
    """Right values, but each step forgets where its state came from."""

    def scan(self, k, x, state):
        outputs = []
        for x_t in x:
            state = self.cells[k](x_t, tuple(part.detach() for part in state))
            outputs.append(state[0])
        return torch.stack(outputs), state


class IgnoredInitialState(Cells):
    def forward(self, input, hx=None):
        return super().forward(input, None)


class WrongFinalState(Cells):
    def forward(self, input, hx=None):
        output, (h, c) = super().forward(input, hx)
        return output, (c, h)


class FirstDirectionOnly(Cells):
    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return output[..., : self.reference.hidden_size], state


class NaN(Cells):
    def forward(self, input, hx=None):
        output, state = super().forward(input, hx)
        return output * float("nan"), state


class CopiedParameters(nn.Module):
    def __init__(self, reference):
        super().__init__()
        self.twin = nn.LSTM(
            reference.input_size, reference.hidden_size, reference.num_layers, dtype=torch.float64
        )
        self.twin.load_state_dict(reference.state_dict())

    def forward(self, input, hx=None):
        return self.twin(input, hx)


class ShorterState(Cells):
    def forward(self, input, hx=None):
        output, (h, c) = super().forward(input, hx)
        return output, (h[:, :1], c)


class OneTensor(Cells):
    def forward(self, input, hx=None):
        return super().forward(input, hx)[0]


UNSHARED = "does not share the reference's parameters (no gradient came to weight_ih_l0)"


@pytest.mark.parametrize(
    ("build", "fields", "where"),
    [
        (SwappedGates, {}, "in output, allowed 1e-09"),
        (LostBias, {}, "in output, allowed 1e-09"),
        (DetachedState, {}, "in gradient of input, allowed 1e-09"),
        (IgnoredInitialState, {}, "in output, allowed 1e-09"),
        (WrongFinalState, {}, "in final state 0, allowed 1e-09"),
        (ShorterState, {}, "final state 0 of shape (1, 1, 5), expected (1, 3, 5)"),
        (OneTensor, {}, "no output came"),
        (FirstDirectionOnly, {"bidirectional": True}, "output of shape (6, 3, 5), expected (6, 3, 10)"),
        (NaN, {}, "output is not finite"),
        (CopiedParameters, {}, UNSHARED),
        (copy.deepcopy, {}, UNSHARED),
    ],
    ids=lambda of: getattr(of, "__name__", None),
)
def test_a_planted_mistake_is_found_and_what_is_wrong_first_is_named(build, fields, where):
    found = check_equivalence(workload(**fields), Implementation(build.__name__, build))
    assert not found.equal
    assert str(found).endswith(where)
    assert "\n" not in str(found)
    kept = decode(float, json.loads(json.dumps(encode(found.error))))
    assert kept == pytest.approx(found.error, nan_ok=True)


@pytest.mark.parametrize("build", [copy.deepcopy, CopiedParameters, DetachedState])
def test_forward_asks_for_outputs_and_states_alone(build):
    assert check_equivalence(workload(), Implementation(build.__name__, build), "forward").equal


@pytest.mark.parametrize(
    "build", [SwappedGates, LostBias, IgnoredInitialState, WrongFinalState, ShorterState, NaN]
)
def test_and_finds_what_is_wrong_with_them(build):
    assert not check_equivalence(workload(), Implementation(build.__name__, build), "forward").equal


def test_forward_is_checked_in_inference_mode_and_training_is_not():
    seen = []

    class Watched(Cells):
        def forward(self, input, hx=None):
            seen.append((torch.is_inference_mode_enabled(), self.training))
            return super().forward(input, hx)

    for phase in ("forward", "training"):
        check_equivalence(workload(), Implementation("watched", Watched), phase)
    assert seen == [(True, False), (False, True)]


def test_a_detached_state_has_right_outputs_and_is_caught_by_its_gradients_alone():
    reference = workload().replace(dtype="float64").reference()
    x = workload().replace(dtype="float64").input()
    torch.testing.assert_close(DetachedState(reference)(x), reference(x))
    assert "gradient" in check_equivalence(workload(), Implementation("detached", DetachedState)).where


def test_what_compiles_is_checked_over_few_steps(monkeypatch):
    lengths = []

    def build(reference):
        built = Cells(reference)
        built.register_forward_pre_hook(lambda module, args: lengths.append(len(args[0])))
        return built

    check_equivalence(workload(seq_len=40), Implementation("slow", build, uncompiled=Cells))
    assert lengths == [6]
