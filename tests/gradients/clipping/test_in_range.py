"""The short way of clipping gives what the exact way gives, and is taken only where it can."""

import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from unrolled.gradients import Clip
from unrolled.gradients.clipping.in_range import InRange
from unrolled.gradients.clipping.tensor import EachTensor
from unrolled.gradients.clipping.value import EachEntry

SPECS = [
    "none",
    "norm:0.5",
    "norm:1e-6",
    "norm:50",
    "tensor:0.5",
    "tensor:50",
    "value:0.3",
    "value:50",
    "auto:40",
]


def parameters(scale, dtype):
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, shape in (("a", (3, 4)), ("b", (5,)), ("c", (2, 2)), ("zero", (3,))):
        found[name] = nn.Parameter(torch.zeros(shape, dtype=dtype))
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * (name != "zero")
        found[name].grad = (scale * drawn).to(dtype)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e3, 1e12])
@pytest.mark.parametrize("spec", SPECS)
def test_both_ways_give_the_same_gradients_and_the_same_report(spec, scale, dtype, monkeypatch):
    one, other = Clip.parse(spec), Clip.parse(spec)
    for factor in (1.0, 3.0, 0.2):  # auto remembers
        short, exact = parameters(factor * scale, dtype), parameters(factor * scale, dtype)
        assert InRange.of([parameter.grad for parameter in short.values()]) is not None
        mine = one.clip_(short.items())
        with monkeypatch.context() as patch:
            patch.setattr(InRange, "of", lambda *_: None)
            report = other.clip_(exact.items())
        figures = asdict(report)
        if spec.startswith("auto") and factor == 1 and scale == 1e12:
            # The first norm is its own percentile, and the 1e-6 added to it is below one rounding of it: it
            # is up to rounding whether anything is touched, and both ways are right.
            figures = {name: value for name, value in figures.items() if name not in ("entries", "tensors")}
        for name, value in figures.items():
            assert getattr(mine, name) == (value if value is None else pytest.approx(value, abs=1e-6)), name
        for name, parameter in short.items():
            rtol = max(4 * torch.finfo(dtype).eps, 1e-13)  # the exact way takes logarithms
            torch.testing.assert_close(parameter.grad, exact[name].grad, rtol=rtol, atol=0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_gradients_out_of_range_are_left_to_the_exact_way(scale):
    found = parameters(scale, torch.float32)
    assert InRange.of([parameter.grad for parameter in found.values()]) is None
    before = {name: parameter.grad.double() for name, parameter in found.items()}
    norm = math.hypot(*torch.cat([gradient.flatten() for gradient in before.values()]).tolist())
    report = Clip.parse("norm:1e-32").clip_(found.items())
    factor = 1e-32 / (norm + 1e-6)
    assert report.log10_before == pytest.approx(math.log10(norm), abs=1e-12)
    assert report.log10_after == pytest.approx(math.log10(norm) + math.log10(factor), abs=1e-6)
    for name, parameter in found.items():  # 1e-30 becomes 1e-56, a zero in float32
        expected = before[name] * factor
        torch.testing.assert_close(parameter.grad.double(), expected, rtol=1e-6, atol=1e-45)


def test_a_cosine_never_leaves_its_range():
    """Each tensor under the bound of its own, by the same factor: the direction stays, to rounding."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        drawn = torch.randn(5, generator=generator, dtype=torch.float64)
        for clipped in (
            EachTensor("tensor", 0.1).clip_(InRange.of([drawn.clone(), drawn.clone()]), 0.1),
            EachEntry("value", 9).clip_(InRange.of([drawn]), 9.0),
        ):
            assert 1 - 1e-14 < clipped.cosine <= 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_in_range(value):
    assert InRange.of([torch.tensor([1.0, value])]) is None


def test_a_gradient_of_zero_is_in_range_and_stays_zero():
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.zeros(3)
    for spec in SPECS:
        report = Clip.parse(spec).clip_([("a", parameter)])
        assert (report.log10_before, report.log10_after, report.entries, report.cosine) == (
            -math.inf,
            -math.inf,
            0,
            1,
        )
        assert not parameter.grad.any()


def test_a_bound_far_below_float32s_range_still_scales_with_one_rounding():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3e14, 4e14])
    Clip.parse("norm:1e-25").clip_([("a", parameter)])
    torch.testing.assert_close(
        parameter.grad.double(), torch.tensor([6e-26, 8e-26], dtype=torch.float64), rtol=1e-6, atol=0
    )
