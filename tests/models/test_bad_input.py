"""Cells that are none, and inputs of every shape: one clear line each from the flow, the watch and the spectrum."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.models import zoo
from tests.models.cases import B, squares, x
from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.gradients import gradient_flow, watch
from unrolled.spectrum import lyapunov_spectrum

I, H = zoo.I, zoo.H


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(I + H, H).double()

    def forward(self, x_t, h):
        return torch.tanh(self.linear(torch.cat([x_t, h], -1)))


class OtherShape(Cell):
    def forward(self, x_t, h):
        return super().forward(x_t, h[:, :H]).repeat(1, 2)


class Nothing(Cell):
    def forward(self, x_t, h):
        super().forward(x_t, h)


class Stateless(Cell):
    def forward(self, x_t):
        return super().forward(x_t, x_t.new_zeros(len(x_t), H))


class Mutating(Cell):
    def forward(self, x_t, h):
        h.add_(super().forward(x_t, h))
        return h.clone()


class MutatingInput(Cell):
    def forward(self, x_t, h):
        x_t.mul_(0.5)
        return super().forward(x_t, h)


class Demanding(Cell):
    def forward(self, x_t, h, more):
        return super().forward(x_t, h) * more


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(context, value):
        context.save_for_backward(value)
        return value**3

    @staticmethod
    def backward(context, cotangent):
        return 3 * context.saved_tensors[0] ** 2 * cotangent


class NoFunc(Cell):
    def forward(self, x_t, h):
        return torch.tanh(Cube.apply(super().forward(x_t, h)))


class Other(nn.Module):
    pass


class Loop(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell = kind()

    def forward(self, batch):
        h = batch.new_zeros(batch.shape[1], H)
        for x_t in batch:
            h = self.cell(x_t, h)
        return h


class LoopWithoutState(Loop):
    def forward(self, batch):
        return torch.stack([self.cell(x_t) for x_t in batch])[-1]


LOOKS = {
    "flow": lambda model, kind: gradient_flow(model, x(), squares, cells=kind),
    "spectrum": lambda model, kind: lyapunov_spectrum(model, x(), cells=kind),
}


def refused(look, model, kind, message):
    with pytest.raises(UnrolledError, match=message) as raised:
        LOOKS[look](model, kind)
    assert "\n" not in str(raised.value)
    assert re.search(r"expected .*, got .*[;,]", str(raised.value))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OtherShape, r"'cell'.*\(4, 5\).*\(4, 10\)"),
        (Nothing, r"'cell'.*NoneType"),
        (Mutating, r"'cell'.*(writes|place)"),
    ],
)
def test_a_cell_that_breaks_the_call_is_named(look, kind, message):
    refused(look, Loop(kind), kind, message)


@pytest.mark.parametrize("look", LOOKS)
def test_a_cell_without_a_state_is_named(look):
    refused(look, LoopWithoutState(Stateless), Stateless, "'cell'.*state")


@pytest.mark.parametrize("look", LOOKS)
def test_a_cell_that_writes_to_its_input_is_named(look):
    refused(look, Loop(MutatingInput), MutatingInput, "'cell'.*input")


def test_a_step_that_torch_func_cannot_differentiate_has_a_flow_and_no_spectrum():
    model = Loop(NoFunc)
    (profile,) = gradient_flow(model, x(), squares, cells=NoFunc)
    assert (profile.log2_norm > -100).all()
    refused("spectrum", model, NoFunc, "'cell'.*torch.func")


@pytest.mark.parametrize("look", LOOKS)
def test_a_cell_that_needs_more_arguments_fails_as_the_model_itself_does(look):
    model = Loop(Demanding)
    with pytest.raises(TypeError) as own:
        model(x())
    with pytest.raises(TypeError) as raised:
        LOOKS[look](model, Demanding)
    assert str(raised.value).splitlines()[0].endswith(str(own.value).split(".")[-1])


@pytest.mark.parametrize("kind", [OtherShape, Mutating, MutatingInput, NoFunc])
def test_a_watch_of_a_cell_that_is_none_records_a_problem_or_a_flow_and_raises_nothing(kind):
    model = Loop(kind)
    with watch(model, every=1, cells=kind) as watched:
        model(x()).pow(2).sum().backward()
    (seen,) = watched.history
    assert seen.problem is not None or seen.flow is not None


CELLS = {
    "never called": (lambda: (Unused(), Cell), InvalidValueError, r"cells: .*Cell\b.*never"),
    "not part of the model": (lambda: (Loop(Cell), Other), InvalidValueError, r"cells: .*got Other\b"),
    "another instance": (lambda: (Loop(Cell), Cell()), InvalidValueError, r"cells: .*Cell\b"),
    "a name": (lambda: (Loop(Cell), "Cell"), InvalidTypeError, "cells: .*'Cell'"),
    "no module class": (lambda: (Loop(Cell), dict), InvalidTypeError, r"cells: .*dict"),
    "one of two": (lambda: (Loop(Cell), (Cell, 3)), InvalidTypeError, r"cells: .*got 3\b"),
}


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.cell = nn.GRU(I, H).double(), Cell()

    def forward(self, batch):
        return self.rnn(batch)[0][-1]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", CELLS)
def test_cells_that_are_none_of_the_models_are_refused(name, look):
    make, error, message = CELLS[name]
    model, cells = make()
    with pytest.raises(error, match=message) as raised:
        LOOKS[look](model, cells)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [name for name in CELLS if name != "never called"])
def test_a_watch_refuses_such_cells_when_it_is_made(name):
    make, error, message = CELLS[name]
    model, cells = make()
    with pytest.raises(error, match=message):
        watch(model, cells=cells)


def test_a_watch_says_that_a_cell_was_never_called():
    model = Unused()
    with watch(model, every=1, cells=Cell) as watched:
        model(x()).pow(2).sum().backward()
    assert "Cell" in watched.history[0].problem or "'cell'" in watched.history[0].problem
    assert watched.latest().profile("rnn").steps == 9


# R9: inputs as models take them.


class Takes(nn.Module):
    def __init__(self, read, name="batch"):
        super().__init__()
        self.rnn, self.read = nn.GRU(I, H).double(), read

    def forward(self, batch, scale=1.0):
        return self.rnn(self.read(batch) * scale)[0][-1]


class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H).double()

    def forward(self, *, sequence, scale):
        return self.rnn(sequence * scale)[0][-1]


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H).double()

    def forward(self, **fields):
        return self.rnn(fields["sequence"])[0][-1]


INPUTS = {
    "dict": (lambda: Takes(lambda b: b["x"]), lambda: {"x": x(), "id": "name"}),
    "list": (lambda: Takes(torch.stack), lambda: list(x())),
    "object": (lambda: Takes(lambda b: b.x), lambda: SimpleNamespace(x=x(), y=None)),
    "keywords": (Keywords, lambda: {"sequence": x(), "scale": 1.0}),
    "any keywords": (Several, lambda: {"sequence": x()}),
    "nested": (lambda: Takes(lambda b: b["a"][1]), lambda: {"a": [None, x()]}),
    "tuple": (lambda: Takes(lambda b: b), lambda: (x(), 1.0)),
    "tensor": (lambda: Takes(lambda b: b), x),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_are_passed_as_the_model_takes_them(name):
    make, inputs = INPUTS[name]
    torch.manual_seed(0)
    model = make()
    plain = nn.Module()
    plain = Takes(lambda b: b)
    plain.rnn = model.rnn
    expected = gradient_flow(plain, x(), squares)
    (profile,) = gradient_flow(model, inputs(), squares)
    torch.testing.assert_close(
        torch.from_numpy(profile.log2_norm), torch.from_numpy(expected.profile().log2_norm), rtol=0, atol=1e-11
    )
    one, other = lyapunov_spectrum(model, inputs()), lyapunov_spectrum(plain, x())
    for own, right in zip(one, other, strict=True):
        torch.testing.assert_close(
            torch.from_numpy(own.values), torch.from_numpy(right.values), rtol=0, atol=1e-9
        )


def test_nan_deep_inside_an_input_is_named():
    batch = x()
    batch[3, 0, 0] = float("nan")
    with pytest.raises(InvalidValueError, match=r"inputs: .*NaN"):
        gradient_flow(Takes(lambda b: b["x"]), {"x": batch}, squares)
    assert batch.shape == (9, B, I)
