"""ZClip and adaptive gradient clipping, against their definitions written out number by number."""

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.forecast.setting import Setting
from unrolled.forecast.training import Training
from unrolled.gradients import Clip, gradient_flow
from unrolled.rollout.scaled import Scaled

SHAPES = {"weight": (4, 3), "bias": (5,), "kernel": (2, 3, 2), "scalar": ()}


def parameters(seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in SHAPES.items():
        found[name] = nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        found[name].grad = (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
    return found


def units(values):
    """The numbers of each unit: a row, or the whole of a vector."""
    if values.dim() < 2:
        return [values.flatten().tolist()]
    return [row.flatten().tolist() for row in values]


def size(numbers):
    return math.sqrt(math.fsum(x * x for x in numbers))


def brock(weight, gradient, bound):
    """Equation 3 of Brock et al. 2021, unit by unit."""
    found = []
    for w, g in zip(units(weight.detach()), units(gradient), strict=True):
        most = bound * max(size(w), 1e-3)
        found.append([x * most / size(g) if size(g) > most else x for x in g])
    return torch.tensor(found, dtype=torch.float64).view(gradient.shape)


@pytest.mark.parametrize("bound", [1e-4, 0.3, 1.0, 100.0])
@pytest.mark.parametrize("scale", [1.0, 1e20, 1e-20])
def test_agc_is_the_published_equation(scale, bound):
    given = parameters(scale=scale)
    with torch.no_grad():
        given["weight"][1] = 0  # a unit without weights has the smallest norm
    expected = {name: brock(p, p.grad, bound) for name, p in given.items()}
    exact, _ = Clip("agc", bound).clip({name: p.grad for name, p in given.items()}, given)
    report = Clip("agc", bound).clip_(given.items())
    before, after = (torch.cat([e.flatten() for e in each]) for each in (
        [p.grad for p in parameters(scale=scale).values()], expected.values()
    ))  # fmt: skip
    for name, p in given.items():
        torch.testing.assert_close(p.grad, expected[name], rtol=1e-12, atol=0)
        torch.testing.assert_close(exact[name].value(), expected[name], rtol=1e-12, atol=0)
    assert report.entries == pytest.approx(float((before != after).double().mean()))
    assert 10**report.log10_after == pytest.approx(float(after.norm()))
    assert report.cosine == pytest.approx(float(before @ after / before.norm() / after.norm()))


def test_agc_holds_a_gradient_far_beyond_any_range():
    given = parameters()
    huge = {name: Scaled.of(p.grad).scale(1.0, 20_000) for name, p in given.items()}
    after, report = Clip("agc", 0.01).clip(huge, given)
    assert report.entries == 1
    for name, p in given.items():
        for w, g, was in zip(*map(units, (p.detach(), after[name].value(), p.grad)), strict=True):
            assert size(g) == pytest.approx(0.01 * max(size(w), 1e-3))
            assert g[0] * was[0] > 0
    tiny = {name: Scaled.of(p.grad).scale(1.0, -20_000) for name, p in given.items()}
    assert Clip("agc", 0.01).clip(tiny, given)[1].entries == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(-6, 6), st.floats(-12, 12))
def test_no_unit_exceeds_its_bound_and_what_is_below_stays(seed, log_bound, log_scale):
    bound, some = 10.0**log_bound, parameters(seed, 10.0**log_scale, torch.float32)
    before = {name: p.grad.clone() for name, p in some.items()}
    Clip("agc", bound).clip_(some.values())
    for name, p in some.items():
        for w, g, was in zip(*map(units, (p.detach(), p.grad, before[name])), strict=True):
            most = bound * max(size(w), 1e-3)
            assert size(g) <= most * (1 + 1e-6) or g == was
            if size(was) < most * (1 - 1e-6):
                assert g == was


def test_agc_needs_weights_and_dense_gradients():
    with pytest.raises(InvalidValueError, match="clip: expected weights .*agc"):
        Clip("agc", 0.1).clip({"a": torch.ones(3)})
    table = nn.Embedding(10, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(InvalidTypeError, match=r"dense ones for agc.*\(2, 3\).*\(10, 3\)"):
        Clip("agc", 0.1).clip_(table.parameters())


def test_complex_weights_have_units_of_both_parts():
    weight = nn.Parameter(torch.tensor([[3 + 4j], [0j]], dtype=torch.complex128))
    weight.grad = torch.tensor([[6 + 8j], [1 + 0j]], dtype=torch.complex128)
    Clip("agc", 1.0).clip_([weight])
    torch.testing.assert_close(weight.grad, torch.tensor([[3 + 4j], [1e-3 + 0j]], dtype=torch.complex128))


def norms(count, seed=0):
    draws = random.Random(seed)
    return [math.exp(draws.gauss(0, 0.2)) * (20 if k % 17 == 16 else 1) for k in range(count)]


def kumar(values, threshold):
    """The norms after clipping: arXiv 2504.02507, with the averages of its authors' code."""
    after, mean, variance = [], None, None
    for k, g in enumerate(values):
        if k < 25:
            after.append(g)
            if k == 24:
                mean = sum(values[:25]) / 25
                variance = sum((x - mean) ** 2 for x in values[:25]) / 25
            continue
        std = variance**0.5
        z = (g - mean) / (std + 1e-6)
        if z > threshold:
            g = mean + (threshold * std) / (z / threshold)
        mean = 0.97 * mean + 0.03 * g
        variance = 0.97 * variance + 0.03 * (g - mean) ** 2
        after.append(g)
    return after


@pytest.mark.parametrize("threshold", [0.5, 2.5, 4.0])
def test_zclip_is_the_published_rule(threshold):
    values = norms(120)
    expected = kumar(values, threshold)
    assert sum(a < b for a, b in zip(expected, values, strict=True)) >= 3
    clip, one = Clip("zclip", threshold), nn.Parameter(torch.zeros(2, dtype=torch.float64))
    for value, right in zip(values, expected, strict=True):
        one.grad = torch.tensor([0.6, -0.8], dtype=torch.float64) * value
        report = clip.clip_([one])
        factor = right / (value + 1e-6) if right < value else 1.0
        assert float(one.grad.norm()) == pytest.approx(value * factor, rel=1e-9)
        assert (report.entries > 0) == (right < value)
        assert report.cosine == pytest.approx(1)


def test_zclip_meets_an_explosion_with_the_mean_and_goes_on():
    clip = Clip("zclip", 2.5)
    for value in norms(40, seed=1):
        clip.clip({"a": torch.tensor([value])})
    mean = clip.history[25]
    after, report = clip.clip({"a": Scaled.of(torch.tensor([1.0])).scale(1.0, 9_000)})
    assert 10**report.log10_after == pytest.approx(mean, rel=1e-5)
    assert report.bound == pytest.approx(mean)
    assert float(after["a"].value()) == pytest.approx(mean, rel=1e-5)
    assert all(map(math.isfinite, clip.history))


def test_nothing_is_clipped_while_the_averages_begin():
    clip = Clip("zclip", 1e-3)
    for value in norms(25):
        assert clip.clip({"a": torch.tensor([value])})[1].entries == 0
    assert len(clip.history) == 27
    assert clip.clip({"a": torch.tensor([50.0])})[1].entries == 1


def test_a_gradient_of_zero_is_below_every_mean():
    clip = Clip("zclip", 2.5)
    for _ in range(30):
        assert clip.clip({"a": torch.zeros(3)})[1].entries == 0
    assert clip.clip({"a": torch.ones(3)})[1].entries == 1


@pytest.mark.parametrize("spec", ["zclip:0", "zclip:-1", "zclip:nan", "agc:0", "agc:inf", "agc"])
def test_a_bound_that_cannot_be_is_refused(spec):
    with pytest.raises((InvalidValueError, InvalidTypeError), match="clip: "):
        Clip.parse(spec)


@pytest.mark.parametrize("spec", ["zclip:0.001", "agc:0.001"])
def test_trainings_and_flows_take_them(spec):
    training = Training(Setting(iterations=80, length=12, warm_up=3, clip=spec))
    training.run()
    assert not training.problem
    assert training.history[:, 3].max() > 0
    module = nn.GRU(2, 3)
    flow = gradient_flow(module, torch.randn(4, 1, 2), clip=spec)
    assert flow.clip.mode == spec.partition(":")[0]
