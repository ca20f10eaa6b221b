"""What holds for any gradient: the bound is kept, and the direction where it should be."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unrolled.gradients import Clip

ROUNDING = 8 * torch.finfo(torch.float32).eps  # a factor, a product and a norm, each rounded, and room


@st.composite
def parameters(draw):
    """Two to five float32 parameters with normal gradients, from far below to far above any usual size."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    found = []
    for size in draw(st.lists(st.integers(1, 6), min_size=2, max_size=5)):
        found.append(nn.Parameter(torch.zeros(size)))
        scale = 10.0 ** draw(st.floats(-25, 25))
        found[-1].grad = (scale * torch.randn(size, generator=generator, dtype=torch.float64)).float()
    return found


bounds = st.floats(-6, 6).map(lambda log10: 10.0**log10)
examples = settings(max_examples=60, deadline=None)


def flat(some):
    return torch.cat([parameter.grad.double().flatten() for parameter in some])


@examples
@given(parameters(), bounds)
def test_a_clipped_norm_is_at_most_the_bound_and_the_direction_is_kept(some, bound):
    before = flat(some)
    report = Clip("norm", bound).clip_(some)
    after = flat(some)
    norm = float(before.norm())
    factor = min(bound / (norm + 1e-6), 1.0)
    assert float(after.norm()) <= bound * (1 + ROUNDING)
    assert report.log10_before == pytest.approx(math.log10(norm), abs=1e-6)
    assert report.log10_after == pytest.approx(math.log10(norm * factor), abs=1e-6)
    # Entry by entry one factor, so neither sign nor direction turns; what leaves float32's range becomes 0.
    torch.testing.assert_close(after, before * factor, rtol=ROUNDING, atol=1e-38)


@examples
@given(parameters(), bounds)
def test_each_tensor_is_at_most_the_bound(some, bound):
    Clip("tensor", bound).clip_(some)
    assert all(float(parameter.grad.double().norm()) <= bound * (1 + ROUNDING) for parameter in some)


@examples
@given(parameters(), bounds)
def test_each_entry_is_at_most_the_bound_and_keeps_its_sign(some, bound):
    before = flat(some)
    report = Clip("value", bound).clip_(some)
    torch.testing.assert_close(flat(some), before.clamp(-bound, bound), rtol=ROUNDING, atol=0)
    assert report.entries == pytest.approx(float((before.abs() > bound).double().mean()))


@examples
@given(st.lists(parameters(), min_size=2, max_size=5), st.floats(1, 100))
def test_auto_never_exceeds_the_largest_norm_so_far(several, percentile):
    clip, largest = Clip("auto", percentile), 0.0
    for some in several:
        largest = max(largest, float(flat(some).norm()))
        report = clip.clip_(some)
        assert report.bound <= largest * (1 + 1e-12)
        assert float(flat(some).norm()) <= report.bound * (1 + ROUNDING)
