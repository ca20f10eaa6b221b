"""Shapes and counts against the formulas of `torch.nn`'s documentation, and the built modules against themselves."""

import copy

import pytest
import torch
from torch import nn

from tests.shapes.helpers import EVERY, B, H, I, T, configuration, described, named
from unrolled.cells import CELLS, cell_named
from unrolled.shapes.configuration import both_forms, walkthrough


def each(fields):
    return pytest.mark.parametrize("fields", fields, ids=named)


def sequence(fields, width):
    return (B, T, width) if fields["batch_first"] else (T, B, width)


@each(EVERY)
def test_a_fused_module_has_the_shapes_of_the_documentation(fields):
    found = described(configuration(**fields))
    layers, directions = fields["num_layers"], 2 if fields["bidirectional"] else 1
    h_out = fields["proj_size"] or H
    assert found.input == sequence(fields, I)
    assert found.out == sequence(fields, directions * h_out)
    assert found.h == ((directions * layers, B, h_out),)
    assert found.c == (((directions * layers, B, H),) if fields["cell"] == "lstm" else ())


@each(EVERY)
def test_its_parameters_have_the_shapes_of_the_documentation(fields):
    found = {parameter.name: parameter.shape for parameter in described(configuration(**fields)).parameters}
    rows, directions = len(cell_named(fields["cell"]).gates) * H, 2 if fields["bidirectional"] else 1
    h_out = fields["proj_size"] or H
    expected = {}
    for layer in range(fields["num_layers"]):
        for suffix in ("", "_reverse")[:directions]:
            place = f"_l{layer}{suffix}"
            expected[f"weight_ih{place}"] = (rows, I if layer == 0 else directions * h_out)
            expected[f"weight_hh{place}"] = (rows, h_out)
            if fields["bias"]:
                expected |= {f"bias_ih{place}": (rows,), f"bias_hh{place}": (rows,)}
            if fields["proj_size"]:
                expected[f"weight_hr{place}"] = (h_out, H)
    assert found == expected


@each(EVERY)
def test_the_count_is_the_closed_formula(fields):
    gates, directions, p = (
        len(cell_named(fields["cell"]).gates),
        2 if fields["bidirectional"] else 1,
        fields["proj_size"],
    )
    state, biases = p or H, 2 if fields["bias"] else 0
    first = gates * H * (I + state + biases) + p * H
    later = gates * H * (directions * state + state + biases) + p * H
    expected = directions * (first + (fields["num_layers"] - 1) * later)
    for form in both_forms(configuration(**fields)):
        assert described(form).count == form.workload.parameter_count == expected
        assert sum(parameter.numel() for parameter in form.reference().parameters()) == expected


@each(EVERY)
def test_a_loop_of_cells_has_a_state_for_each_cell_and_the_same_output(fields):
    fused, loop = map(described, both_forms(configuration(**fields)))
    cells = fields["num_layers"] * (2 if fields["bidirectional"] else 1)
    assert loop.out == fused.out
    assert loop.h == ((B, fields["proj_size"] or H),) * cells
    assert loop.c == (((B, H),) * cells if fields["cell"] == "lstm" else ())


def parts(built):
    """The modules that the text says, made by Python."""
    constructors = built.removeprefix("the equations of ").split(", stepped")[0].split(", each in both")[0]
    for text in constructors.split(" → "):
        count, _, call = text.rpartition(" × ")
        for _ in range(int(count or 1)):
            yield eval(call, {"nn": nn, "torch": torch})


@each([fields for fields in EVERY if fields["num_layers"] < 4])
def test_what_it_says_is_built_has_the_parameters_it_says(fields):
    fused, loop = map(described, both_forms(configuration(**fields)))
    (module,) = parts(fused.built)
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    assert {parameter.name: parameter.shape for parameter in fused.parameters} == shapes
    assert next(module.parameters()).dtype == torch.float64
    if not fields["proj_size"]:  # the equations have the names of the module that they are of
        directions = 2 if fields["bidirectional"] else 1
        cells = nn.ModuleList([copy.deepcopy(cell) for cell in parts(loop.built) for _ in range(directions)])
        several = len(cells) > 1
        shapes = {f"cells.{n}" if several else n[2:]: tuple(p.shape) for n, p in cells.named_parameters()}
        assert {parameter.name: parameter.shape for parameter in loop.parameters} == shapes


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("cell", CELLS)
def test_layers_of_different_sizes_are_a_chain(cell, bidirectional):
    fused, loop = map(
        described, both_forms(configuration(cell, hidden_size=(7, 4), bidirectional=bidirectional))
    )
    d = 2 if bidirectional else 1
    assert fused.out == loop.out == (T, B, d * 4)
    assert fused.h == ((d, B, 7), (d, B, 4))
    assert loop.h == ((B, 7),) * d + ((B, 4),) * d
    assert (fused.c, loop.c) == ((fused.h, loop.h) if cell == "lstm" else ((), ()))
    modules = nn.ModuleList(parts(fused.built))
    shapes = {f"layers.{name}": tuple(parameter.shape) for name, parameter in modules.named_parameters()}
    assert {parameter.name: parameter.shape for parameter in fused.parameters} == shapes


@pytest.mark.parametrize("proj_size", [0, 2])
def test_without_a_batch_its_dimension_is_not_there(proj_size):
    fused, loop = map(
        described,
        both_forms(configuration(batched=False, num_layers=2, bidirectional=True, proj_size=proj_size)),
    )
    p = proj_size or H
    assert (fused.input, fused.out, fused.h, fused.c) == ((T, I), (T, 2 * p), ((4, p),), ((4, H),))
    assert (loop.out, loop.h, loop.c) == ((T, 2 * p), ((p,),) * 4, ((H,),) * 4)
    assert fused.agrees
    assert loop.agrees


def test_the_walkthrough_is_ten_words_of_three_sentences_with_vectors_of_100():
    found = [described(one) for one in walkthrough()]
    assert [(d.built, d.count, d.input, d.out, d.h, d.c) for d in found] == [
        ("nn.RNN(100, 20)", 2440, (10, 3, 100), (10, 3, 20), ((1, 3, 20),), ()),
        ("nn.RNN(100, 20, num_layers=4)", 4960, (10, 3, 100), (10, 3, 20), ((4, 3, 20),), ()),
        ("nn.RNNCell(100, 20), stepped 10 times", 2440, (10, 3, 100), (10, 3, 20), ((3, 20),), ()),
        ("nn.RNNCell(100, 30) → nn.RNNCell(30, 20), stepped 10 times", 5000, (10, 3, 100), (10, 3, 20),
         ((3, 30), (3, 20)), ()),
        ("nn.LSTM(100, 20, num_layers=4)", 19840, (10, 3, 100), (10, 3, 20), ((4, 3, 20),), ((4, 3, 20),)),
        ("nn.LSTMCell(100, 20), stepped 10 times", 9760, (10, 3, 100), (10, 3, 20), ((3, 20),), ((3, 20),)),
        ("nn.LSTMCell(100, 30) → nn.LSTMCell(30, 20), stepped 10 times", 20000, (10, 3, 100), (10, 3, 20),
         ((3, 30), (3, 20)), ((3, 30), (3, 20))),
        ("nn.GRU(100, 20, num_layers=4)", 14880, (10, 3, 100), (10, 3, 20), ((4, 3, 20),), ()),
        ("nn.GRUCell(100, 20), stepped 10 times", 7320, (10, 3, 100), (10, 3, 20), ((3, 20),), ()),
        ("nn.GRUCell(100, 30) → nn.GRUCell(30, 20), stepped 10 times", 15000, (10, 3, 100), (10, 3, 20),
         ((3, 30), (3, 20)), ()),
    ]  # fmt: skip
    assert all(d.agrees for d in found)
