"""What each way of clipping does to a gradient, and what it must never do."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from tests.gradients.helpers import Loop, cell_step, check_twice, truth, weights_of
from tests.gradients.test_flow_against_autograd import make, sequence
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients import Clip, NonFiniteError, gradient_flow
from unrolled.gradients import flow as flow_module
from unrolled.gradients.backward import backward
from unrolled.gradients.clipping import compare
from unrolled.rollout.scaled import Scaled


def gradients(scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return {
        name: scale * torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for name, shape in (("a", (3, 4)), ("b", (5,)), ("c", (2, 2)))
    }


def norm_of(tensors):
    return math.sqrt(sum(float(tensor.double().pow(2).sum()) for tensor in tensors))


def values(clipped):
    return {name: gradient.value() for name, gradient in clipped.items()}


def test_norm_clipping_gives_n_m_over_n_plus_epsilon_and_keeps_the_direction():
    before = gradients()
    n, m = norm_of(before.values()), 0.5
    clipped, report = Clip.parse("norm:0.5").clip(before)
    assert norm_of(values(clipped).values()) == pytest.approx(n * m / (n + 1e-6), rel=1e-12)
    assert report.log10_before == pytest.approx(math.log10(n))
    assert report.log10_after == pytest.approx(math.log10(n * m / (n + 1e-6)), abs=1e-12)
    assert report.cosine == pytest.approx(1, abs=1e-12)
    assert (report.entries, report.tensors) == (1, 1)


@pytest.mark.parametrize("spec", ["norm:0.5", "norm:50", "value:0.3", "value:50"])
def test_in_range_the_result_is_torchs(spec):
    parameters = {name: nn.Parameter(torch.zeros_like(value)) for name, value in gradients().items()}
    for name, value in gradients().items():
        parameters[name].grad = value.clone()
    clip = Clip.parse(spec)
    report = clip.clip_(parameters.items())
    ours = {name: parameter.grad.clone() for name, parameter in parameters.items()}
    for name, value in gradients().items():
        parameters[name].grad = value.clone()
    (clip_grad_norm_ if clip.mode == "norm" else clip_grad_value_)(parameters.values(), clip.bound)
    for name, parameter in parameters.items():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-12, atol=0)
    assert (report.entries == 0) == (clip.bound == 50)


def test_value_clipping_changes_the_direction():
    before = gradients()
    clipped, report = Clip.parse("value:0.5").clip(before)
    assert max(float(value.abs().max()) for value in values(clipped).values()) == 0.5  # clamped, not computed
    one, other = (torch.cat([g.flatten() for g in d.values()]) for d in (before, values(clipped)))
    assert report.cosine == pytest.approx(float(torch.cosine_similarity(one, other, dim=0)), abs=1e-12)
    assert report.cosine < 0.999
    assert report.entries == pytest.approx(float((one.abs() > 0.5).double().mean()))


def test_each_tensor_on_its_own_allows_a_global_norm_up_to_m_root_p():
    clipped, report = Clip.parse("tensor:0.1").clip(gradients())
    assert norm_of(values(clipped).values()) == pytest.approx(0.1 * math.sqrt(3), rel=1e-5)
    assert report.tensors == 1
    assert report.cosine < 1 - 1e-4


def test_only_the_tensors_that_exceed_the_bound_are_touched():
    before = {"large": torch.full((3,), 10.0), "small": torch.full((1,), 0.01)}
    clipped, report = Clip.parse("tensor:1").clip(before)
    assert clipped["small"].value().tolist() == before["small"].tolist()  # the same numbers, not scaled
    assert (report.entries, report.tensors) == (0.75, 0.5)


@pytest.mark.parametrize("spec", ["norm:1", "tensor:1"])
def test_gradients_near_1e20_survive_float32_where_torch_multiplies_them_by_zero(spec):
    before = gradients(1e20, torch.float32)
    clipped, report = Clip.parse(spec).clip(before)
    assert report.log10_before == pytest.approx(20 + math.log10(norm_of(gradients().values())), abs=1e-6)
    assert report.log10_after == pytest.approx(0 if spec == "norm:1" else 0.5 * math.log10(3), abs=1e-6)
    for name, value in values(clipped).items():
        assert (value != 0).all()
        assert (value.sign() == before[name].sign()).all()
    parameter = nn.Parameter(torch.zeros(3, 4))
    parameter.grad = before["a"].clone()
    clip_grad_norm_([parameter], 1.0)
    assert (parameter.grad == 0).all()  # the trap that this is about


def test_gradients_far_beyond_float64_are_clipped_too():
    before = {name: Scaled.of(value).scale(1.0, 10000) for name, value in gradients().items()}
    clipped, report = Clip.parse("norm:1").clip(before)
    assert norm_of(values(clipped).values()) == pytest.approx(1)
    assert report.cosine == pytest.approx(1)
    assert report.log10_before == pytest.approx(
        10000 * math.log10(2) + math.log10(norm_of(gradients().values()))
    )
    clipped, _ = Clip.parse("value:1").clip(before)
    assert all((value.abs() == 1).all() for value in values(clipped).values())  # clamped, not computed


def test_a_cosine_never_leaves_its_range():
    """Of a direction to itself, or to its opposite, it is beyond 1 about every other time without a bound."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        one = {name: torch.randn(5, generator=generator, dtype=torch.float64) for name in "ab"}
        same = {name: Scaled.of(value) for name, value in one.items()}
        opposite = {name: Scaled.of(-3 * value) for name, value in one.items()}
        assert 1 - 1e-14 < compare(same, same)["cosine"] <= 1
        assert -1 <= compare(same, opposite)["cosine"] < 1e-14 - 1


def test_a_gradient_of_zero_stays_zero():
    for spec in ("none", "norm:1", "value:1", "tensor:1", "auto:10"):
        clipped, report = Clip.parse(spec).clip({"a": torch.zeros(3)})
        assert (clipped["a"].value() == 0).all()
        assert (report.log10_after, report.entries, report.cosine) == (-math.inf, 0, 1)


def test_tensors_that_are_not_finite_are_named_and_nothing_is_changed():
    parameters = {name: nn.Parameter(torch.zeros(2)) for name in ("fine", "bad", "worse")}
    for name, value in (("fine", 5.0), ("bad", math.inf), ("worse", math.nan)):
        parameters[name].grad = torch.tensor([1.0, value])
    with pytest.raises(NonFiniteError, match="gradients: .*NaN or inf in bad, worse"):
        Clip.parse("norm:1").clip_(parameters.items())
    assert parameters["fine"].grad.tolist() == [1, 5]
    assert parameters["bad"].grad.tolist() == [1, math.inf]


def test_auto_clips_at_the_percentile_of_all_norms_so_far_the_current_one_included():
    clip, norms = Clip.parse("auto:40"), [3.0, 1.0, 4.0, 1.5, 9.0]
    for count, norm in enumerate(norms, start=1):
        clipped, report = clip.clip({"a": torch.tensor([norm], dtype=torch.float64)})
        threshold = np.percentile(norms[:count], 40)
        assert report.bound == pytest.approx(threshold)
        assert clipped["a"].value().item() == pytest.approx(min(norm, threshold), rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("nrom:1", InvalidValueError, "clip: .*'nrom'"),
        ("nrom", InvalidValueError, "clip: .*'nrom'"),
        ("", InvalidValueError, "clip: .*''"),
        ("norm", InvalidTypeError, "clip: .*norm.*None"),
        ("norm:", InvalidValueError, "clip: .*norm:.*''"),
        ("norm:one", InvalidValueError, "clip: .*norm:.*'one'"),
        ("norm:0", InvalidValueError, r"clip: .*norm.*\b0\.0"),
        ("value:-1", InvalidValueError, r"clip: .*value.*-1\.0"),
        ("tensor:nan", InvalidValueError, "clip: .*tensor.*nan"),
        ("step:inf", InvalidValueError, "clip: .*step.*inf"),
        ("auto:101", InvalidValueError, r"clip: .*auto.*101\.0"),
        ("none:1", InvalidValueError, r"clip: .*none.*1\.0"),
        (3, InvalidTypeError, r"clip: .*\bint\b"),
    ],
)
def test_what_is_no_way_of_clipping(spec, error, message):
    with pytest.raises(error, match=message):
        Clip.parse(spec)


def test_step_clipping_has_no_meaning_for_a_finished_gradient():
    with pytest.raises(InvalidValueError, match=r"clip: .*\bstep\b"):
        Clip.parse("step:1").clip(gradients())


def test_specs_read_back_as_they_were_written():
    for spec in ("none", "norm:1", "value:0.5", "tensor:2", "step:0.1", "auto:10"):
        assert str(Clip.parse(spec)) == spec


# In gradient_flow


def test_clipping_the_parameters_leaves_the_profile_as_it_is():
    module, x = make("tanh"), sequence()
    plain, clipped = gradient_flow(module, x), gradient_flow(module, x, clip="norm:0.01")
    check_twice(plain.profile().samples, clipped.profile().samples)
    assert clipped.log10_norm == pytest.approx(-2, abs=1e-4)
    assert clipped.clip.log10_before == pytest.approx(plain.log10_norm)
    assert plain.clip is None


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_step_clipping_is_a_pull_back_with_a_bound(kind):
    """Against a hand-written backward pass: one vjp a step, the state's cotangent bounded before each.

    For an LSTM the bound is on h and c together, and the loss reads both.
    """
    module, x, bound = make(kind), sequence(), 0.3
    weights = {name: weight.detach() for name, weight in weights_of(module, 0, "forward").items()}
    states = [tuple(torch.zeros(x.shape[1], 5).double() for _ in range(2 if kind == "lstm" else 1))]
    for x_t in x:
        states.append(tuple(part.detach() for part in cell_step(module, weights, x_t, states[-1])))
    cotangent = tuple(torch.full_like(part, 1.0 + path) for path, part in enumerate(states[-1]))
    expected = []
    for t in reversed(range(len(x))):
        norm = torch.cat(cotangent, dim=1).norm(dim=1, keepdim=True)
        cotangent = tuple(part * (bound / norm).clamp(max=1) for part in cotangent)
        expected.append(cotangent[0].norm(dim=1))
        _, pull = torch.func.vjp(lambda *s, t=t: cell_step(module, weights, x[t], s), *states[t])
        cotangent = pull(cotangent)

    def loss(result):
        return result[0][-1].sum() + (2 * result[1][1].sum() if kind == "lstm" else 0)

    flow = gradient_flow(module, x, loss, clip=f"step:{bound}")
    found = torch.from_numpy(flow.profile(path="h").samples).exp2()
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=0)
    assert 0 < flow.clip.entries <= 1
    assert flow.clip.log10_after < flow.clip.log10_before - 0.8
    assert -1 <= flow.clip.cosine <= 1
    if kind == "tanh":  # some samples meet the bound on the way, others do not
        assert flow.clip.cosine < 1 - 1e-4
    else:  # every sample meets it once, at the start, where all have the same norm: one factor for all
        assert flow.clip.entries == x.shape[1] / ((len(x) + 1) * x.shape[1])
        assert flow.clip.cosine == pytest.approx(1, abs=1e-12)


def test_step_clipping_holds_an_exploding_gradient_at_its_bound():
    torch.manual_seed(0)
    module = nn.RNN(2, 8, nonlinearity="relu")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()  # every unit stays on
        module.weight_hh_l0.copy_(2 * torch.eye(8))
    x = torch.rand(100, 3, 2)
    wild, held = gradient_flow(module, x), gradient_flow(module, x, clip="step:1")
    assert wild.profile().verdict.word == "exploding"
    np.testing.assert_allclose(held.profile().log2_norm, 0, atol=1e-5)


def test_a_step_bound_that_is_never_reached_changes_nothing():
    module, x = make("lstm", num_layers=2), sequence()
    plain, bounded = gradient_flow(module, x), gradient_flow(module, x, clip="step:1e9")
    for one, other in zip(plain, bounded, strict=True):
        check_twice(one.samples, other.samples)
    assert (bounded.clip.entries, bounded.clip.tensors) == (0, 0)
    assert bounded.clip.cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("factor", "share"), [(1 + 1e-15, 0), (1 + 1e-13, 0.25)])
def test_step_clipping_changes_a_tensor_by_more_than_rounding(monkeypatch, factor, share):
    """Two passes add up the same terms, in an order that is up to the matrix product."""
    module, x = make("tanh"), sequence()
    rounded = module.bias_hh_l0

    def noisy(trajectory, scalar, parameters, bound):
        bound.count[0] += 1  # as if one state's cotangent had met it, with no more effect than the noise
        profiles, found = backward(trajectory, scalar, parameters)
        return profiles, found | {rounded: found[rounded].scale(factor)}

    passes = iter([backward, noisy])
    monkeypatch.setattr(flow_module, "backward", lambda *arguments: next(passes)(*arguments))
    flow = gradient_flow(module, x, clip="step:1e9")
    assert flow.clip.tensors == share


def test_loop_oracle_and_clip_agree_on_the_gradient_before():
    module, x = make("gru"), sequence()
    reference = truth(module)
    Loop(reference)(x)[0][-1].sum().backward()
    flow = gradient_flow(module, x, lambda result: result[0][-1].sum(), clip="norm:1")
    expected = norm_of(parameter.grad for parameter in reference.parameters())
    assert flow.clip.log10_before == pytest.approx(math.log10(expected), abs=1e-9)
