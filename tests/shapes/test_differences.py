"""Module and loop agree to rounding, and the difference finds every mistake planted in the loop."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from tests.shapes.helpers import EVERY, configuration, described, named
from unrolled.implementations.cells import Cells
from unrolled.shapes.configuration import both_forms, walkthrough
from unrolled.shapes.measure import describe, measure
from unrolled.shapes.projected import ProjectedLoop


@pytest.mark.parametrize("fields", EVERY, ids=named)
def test_module_and_loop_agree_to_rounding_from_a_random_state(fields):
    for form in both_forms(configuration(**fields)):
        found = described(form)
        assert found.agrees
        assert found.worst.largest < 1e-14  # 45 roundings of numbers near 1; two or three are usual
        compared = ["out", "h", "c"] if fields["cell"] == "lstm" else ["out", "h"]
        assert [difference.quantity for difference in found.differences] == compared
        assert all(difference.scale > 1e-3 for difference in found.differences)  # nothing compared with nothing


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
def test_they_agree_in_every_dtype_to_its_own_rounding(cell, dtype):
    for form in both_forms(configuration(cell, num_layers=2, dtype=dtype)):
        found = describe(form)
        assert found.agrees
        assert found.epsilon == torch.finfo(getattr(torch, dtype)).eps  # looked up, not computed


def swapped(reference, order):
    """The rows of two gates exchanged in the loop, so that one is taken for the other."""
    loop = Cells(reference) if not reference.proj_size else ProjectedLoop(reference)
    rows = torch.cat([torch.arange(k * reference.hidden_size, (k + 1) * reference.hidden_size) for k in order])
    if isinstance(loop, Cells):
        for cell in loop.cells:
            for name, parameter in list(cell.named_parameters()):
                setattr(cell, name, nn.Parameter(parameter[rows]))
    else:
        stacked = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        loop.layers = [
            dataclasses.replace(layer, **{name: getattr(layer, name)[rows] for name in stacked})
            for layer in loop.layers
        ]
    return loop


class LostCarry(Cells):
    def scan(self, k, x, state):
        outputs = [super(LostCarry, self).scan(k, x_t[None], state) for x_t in x]
        return torch.cat([out for out, _ in outputs]), outputs[-1][1]


class IgnoredState(Cells):
    def forward(self, input, hx=None):
        return super().forward(input, None)


class BothForward(Cells):
    """The second direction reads the sequence from its first step too."""

    def scan(self, k, x, state):
        out, final = super().scan(k, x.flip(0) if k % 2 else x, state)
        return out.flip(0) if k % 2 else out, final


class ExchangedFirstStates(Cells):
    def forward(self, input, hx=None):
        return super().forward(input, hx[::-1])


class ExchangedStates(Cells):
    def forward(self, input, hx=None):
        out, (h, c) = super().forward(input, hx)
        return out, (c, h)


class OneDirection(Cells):
    def forward(self, input, hx=None):
        out, state = super().forward(input, hx)
        return out[..., : self.reference.hidden_size], state


class NaN(Cells):
    def forward(self, input, hx=None):
        out, state = super().forward(input, hx)
        out[1, 0, 0] = math.nan
        return out, state


@pytest.mark.parametrize(
    ("fields", "loop", "quantity"),
    [
        ({"cell": "lstm"}, lambda reference: swapped(reference, (1, 0, 2, 3)), None),
        ({"cell": "lstm"}, lambda reference: swapped(reference, (0, 1, 3, 2)), None),
        ({"cell": "lstm", "proj_size": 2}, lambda reference: swapped(reference, (0, 3, 2, 1)), None),
        ({"cell": "gru"}, lambda reference: swapped(reference, (1, 0, 2)), None),
        ({"cell": "rnn_tanh"}, LostCarry, None),
        ({"cell": "gru"}, IgnoredState, None),
        ({"cell": "gru", "bidirectional": True}, BothForward, None),
        ({"cell": "lstm"}, ExchangedFirstStates, None),
        ({"cell": "lstm"}, ExchangedStates, ("h", "c")),
        ({"cell": "lstm", "bidirectional": True}, OneDirection, ("out",)),
        ({"cell": "gru"}, NaN, ("out",)),
    ],
    ids=[
        "swap i f",
        "swap g o",
        "swap f o projected",
        "swap r z",
        "carry",
        "state",
        "forward",
        "h_0 c_0",
        "h c",
        "width",
        "nan",
    ],
)
@pytest.mark.parametrize("form", ["fused", "cells"])
def test_a_planted_mistake_makes_a_difference_that_rounding_does_not_explain(fields, loop, quantity, form):
    found = describe(configuration(form=form, **fields), loop)
    assert not found.agrees
    assert not found.worst.largest < 1e-3
    if quantity:
        assert found.worst.quantity in quantity


def test_agreement_ends_at_64_roundings_of_the_largest_entry():
    one = described(configuration("gru"))
    for roundings, agrees in ((63, True), (65, False)):
        off = tuple(dataclasses.replace(d, largest=roundings * one.epsilon * d.scale) for d in one.differences)
        assert dataclasses.replace(one, differences=off).agrees == agrees


def test_the_summary_names_what_differs_and_by_how_much():
    good = measure(both_forms(configuration("gru")))
    bad = describe(configuration("gru"), NaN)
    assert "Every module agrees with its loop" in good.summary()
    mixed = dataclasses.replace(good, descriptions=(*good.descriptions, bad))
    assert not mixed.agree
    assert mixed.summary().startswith(f"{bad.built} and {bad.compared_with} differ by nan in out")
    assert "agrees" not in mixed.summary()


def test_the_summary_of_the_walkthrough_gives_the_largest_of_all_differences():
    found = measure(walkthrough())
    assert all(description.agrees for description in found.descriptions)
    assert min(difference.scale for one in found.descriptions for difference in one.differences) > 1e-3
    first, *between, last = (  # what is measured may be 0 on one machine and not on another
        dataclasses.replace(
            one, differences=tuple(dataclasses.replace(d, largest=0.0) for d in one.differences)
        )
        for one in found.descriptions
    )
    equal = dataclasses.replace(found, descriptions=(first, *between, last))
    assert "bit for bit" in equal.summary()
    out, h, *rest = between[3].differences
    off = dataclasses.replace(between[3], differences=(out, dataclasses.replace(h, largest=3.4e-7), *rest))
    between[3] = off
    less = dataclasses.replace(last, differences=(dataclasses.replace(last.differences[0], largest=1.2e-7),))
    told = dataclasses.replace(found, descriptions=(first, *between, less)).summary()
    assert f"the largest difference is 3.4e-07, in h of {off.built}" in told
    assert "bit for bit" not in told


@pytest.mark.cuda
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_they_agree_on_cuda(cell):
    for form in both_forms(configuration(cell, num_layers=2, dtype="float32", device="cuda")):
        assert describe(form).agrees
