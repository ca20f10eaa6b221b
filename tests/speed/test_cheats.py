"""Contenders that seem fast since they compute something else: a race of any of them ends as `wrong`, with no time."""

import copy
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call

from tests.implementations.test_registry import frozen, scripted, torchscript
from unrolled import Workload, race
from unrolled.implementations.cells import Cells

SMALL = {"cell": "gru", "input_size": 4, "hidden_size": 5, "num_layers": 2, "batch_size": 3, "seq_len": 12}


def verdict_of(build, phase="training", **fields):
    """The result of a short race: checked, timed in a few rounds of two passes, checked once more."""
    return race(Workload(**{**SMALL, **fields}), phase, build, budget=1e-3, passes=2)


class Mine(nn.Module):
    """The reference, whose calls go through `act(mine, input, hx)`; those in float64 do not, where it is honest there."""

    def __init__(self, reference, act, honest_in_float64):
        super().__init__()
        self.reference, self.act, self.honest = reference, act, honest_in_float64
        self.calls, self.kept = 0, None

    def forward(self, input, hx=None):
        self.calls += 1
        if self.honest and input.dtype == torch.float64:
            return self.reference(input, hx)
        return self.act(self, input, hx)

    def with_weights(self, change, input, hx):
        """A call of the reference in which each weight is `change(name, weight)`."""
        weights = {name: change(name, weight) for name, weight in self.reference.named_parameters()}
        return functional_call(self.reference, weights, (input, hx))


CHEATS = []


def cheat(*phases, honest_in_float64=True, **fields):
    """Adds what it decorates to the cheats: it is `wrong` in these phases, of workloads with these fields."""

    def add(act):
        build = partial(Mine, act=act, honest_in_float64=honest_in_float64)
        CHEATS.extend(pytest.param(build, phase, fields, id=f"{act.__name__}-{phase}") for phase in phases)
        return act

    return add


@cheat("forward")
def stores_its_answer(mine, input, hx):
    if mine.kept is None or hx is not None:
        mine.kept = mine.reference(input, hx)
    return mine.kept


@cheat("forward")
def answers_for_the_tensor_and_not_for_what_is_in_it(mine, input, hx):
    mine.kept = mine.kept or {}
    if input.data_ptr() not in mine.kept or hx is not None:
        mine.kept[input.data_ptr()] = (mine.reference(input, hx), input)
    return mine.kept[input.data_ptr()][0]


@cheat("forward")
def answers_for_the_last_input(mine, input, hx):
    before, mine.kept = mine.kept, mine.reference(input, hx)
    return before if before is not None and before[0].shape == mine.kept[0].shape else mine.kept


@cheat("forward", "training")
def is_right_six_times(mine, input, hx):
    output, state = mine.reference(input, hx)
    return (output if mine.calls <= 6 else 0 * output), state


@cheat("forward", "training")
def is_wrong_in_rounds_alone(mine, input, hx):
    output, state = mine.reference(input, hx)
    mine.kept = input if mine.kept is None else mine.kept  # that of the first call, which all rounds share
    return (0 * output if input is mine.kept and mine.calls > 6 else output), state


@cheat("forward", "training")
def starts_from_the_last_state(mine, input, hx):
    output, state = mine.reference(input, mine.kept if hx is None else hx)
    mine.kept = state.detach() if hx is None else None
    return output, state


@cheat("forward", "training")
def computes_two_steps(mine, input, hx):
    output, state = mine.reference(input if mine.calls == 1 else input[:2], hx)
    return torch.cat([output, output[-1:].expand(len(input) - len(output), -1, -1)]), state


@cheat("forward", honest_in_float64=False)
def zeroes_its_input(mine, input, hx):
    result = mine.reference(input, hx)
    input.zero_()
    return result


@cheat("forward", "training", honest_in_float64=False)
def zeroes_its_input_and_leaves_no_trace(mine, input, hx):
    result = mine.reference(input, hx)
    input.data.zero_()
    return result


@cheat("forward", "training", honest_in_float64=False)
def scales_the_weights(mine, input, hx):
    with torch.no_grad():
        for weight in mine.reference.parameters():
            weight *= 1.01
    return mine.reference(input, hx)


@cheat("forward", "training", honest_in_float64=False)
def scales_the_weights_and_leaves_no_trace(mine, input, hx):
    result = mine.reference(input, hx)
    for weight in mine.reference.parameters():
        weight.data *= 1.01
    return result


@cheat("forward", "training")
def changes_the_weights_late(mine, input, hx):
    result = mine.reference(input, hx)
    if mine.calls == 12:
        mine.reference.weight_hh_l0.data[0, 0] += 1
    return result


@cheat("training")
def freezes_the_weights_late(mine, input, hx):
    if mine.calls > 6:
        mine.reference.requires_grad_(False)
    return mine.reference(input, hx)


@cheat("forward", "training")
def has_a_wrong_final_state(mine, input, hx):
    output, state = mine.reference(input, hx)
    return output, state.flip(0)


@cheat("forward", "training")
def ignores_the_initial_state(mine, input, hx):
    return mine.reference(input)


@cheat("forward", "training")
def computes_in_float16(mine, input, hx):
    hx = None if hx is None else hx.half()
    output, state = mine.with_weights(lambda name, weight: weight.half(), input.half(), hx)
    return output.float(), state.float()


@cheat("training")
def rounds_the_gradient_to_float16(mine, input, hx):
    output, state = mine.reference(input, hx)
    output.register_hook(lambda gradient: gradient.half().float())
    return output, state


def times(factor):
    def act(mine, input, hx):
        output, state = mine.reference(input, hx)
        return output * factor, state

    act.__name__ = f"times_{factor}"
    return act


cheat("forward", "training", dtype="float32")(times(1.001))
cheat("forward", "training", dtype="bfloat16")(times(1.2))
cheat("forward", dtype="bfloat16", hidden_size=16, batch_size=16)(times(1.1))
cheat("forward", "training", dtype="float16")(times(1.02))


@cheat("training")
def scales_the_gradient(mine, input, hx):
    output, state = mine.reference(input, hx)
    return output.detach() + 1.001 * (output - output.detach()), state


@cheat("training")
def cuts_the_gradient(mine, input, hx):
    outputs = []
    for part in input.split(4):
        output, hx = mine.reference(part, hx)
        outputs.append(output)
        hx = hx.detach() if len(outputs) < 3 else hx
    return torch.cat(outputs), hx


@cheat("training")
def drops_the_gradient_of_a_bias(mine, input, hx):
    return mine.with_weights(lambda name, w: w.detach() if name == "bias_hh_l1" else w, input, hx)


@cheat("training")
def drops_the_gradient_of_the_input(mine, input, hx):
    return mine.reference(input.detach(), hx)


@cheat("forward", batch_size=20)
def leaves_out_sequences_of_a_full_batch(mine, input, hx):
    output, state = mine.reference(input, hx)
    return torch.cat([output[:, :16], 0 * output[:, 16:]], dim=1), state


@cheat("forward")
def swaps_sequences(mine, input, hx):
    output, state = mine.reference(input, hx)
    return output.flip(1), state.flip(1)


@cheat("forward", "training")
def skips_a_layer(mine, input, hx):
    return mine.with_weights(lambda name, w: w if "_l0" in name else 0 * w, input, hx)


@cheat("forward", "training")
def skips_every_other_step(mine, input, hx):
    output, state = mine.reference(input[::2], hx)
    return output.repeat_interleave(2, 0), state


@cheat("forward", "training")
def copies_the_last_step(mine, input, hx):
    output, state = mine.reference(input[:-1], hx)
    return torch.cat([output, output[-1:]]), state


@cheat("forward", "training")
def has_weights_of_a_lower_rank(mine, input, hx):
    def lower(name, weight):
        if "weight_hh" not in name:
            return weight
        u, s, vh = torch.linalg.svd(weight, full_matrices=False)
        return (u[:, :-1] * s[:-1]) @ vh[:-1]

    return mine.with_weights(lower, input, hx)


@cheat("forward", "training")
def adds_noise(mine, input, hx):
    output, state = mine.reference(input, hx)
    return output + 1e-5 * torch.randn_like(output), state


@cheat("forward", "training")
def has_one_entry_that_is_no_number(mine, input, hx):
    output, state = mine.reference(input, hx)
    mask = torch.zeros_like(output)
    mask[-1, -1, -1] = float("nan") if mine.calls > 2 else 0
    return output + mask, state


@cheat("forward", honest_in_float64=False)
def is_wrong_where_nothing_is_trained(mine, input, hx):
    output, state = mine.reference(input, hx)
    return (output if mine.training else 0 * output), state


@cheat("training", honest_in_float64=False)
def is_wrong_where_something_is_trained(mine, input, hx):
    output, state = mine.reference(input, hx)
    return (0 * output if mine.training else output), state


@pytest.mark.parametrize(("build", "phase", "fields"), CHEATS)
def test_a_cheat_is_wrong(build, phase, fields):
    found = verdict_of(build, phase, **fields)
    assert found.status == "wrong"
    assert found.reason
    assert not found.timed


def honest(reference):
    return Mine(reference, lambda mine, input, hx: mine.reference(input, hx), honest_in_float64=False)


class Unregistered(nn.Module):
    """Has the weights, and does not say so."""

    def __init__(self, reference):
        super().__init__()
        self.cells = [Cells(reference)]

    def forward(self, input, hx=None):
        return self.cells[0](input, hx)


@torchscript
@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", [honest, Unregistered, scripted])
def test_what_is_honest_is_ok(build, dtype, phase):
    found = verdict_of(build, phase, dtype=dtype)
    assert found.status == "ok", found.reason
    assert found.recheck_error < 0.1


def detached(reference):
    return copy.deepcopy(reference).requires_grad_(False)


@torchscript
@pytest.mark.parametrize("build", [copy.deepcopy, detached, frozen])
def test_a_copy_is_ok_in_forward_and_does_not_share_the_parameters_in_training(build):
    found = verdict_of(build, "forward")
    assert found.status == "ok", found.reason
    found = verdict_of(build, "training")
    assert found.status == "wrong"
    assert found.reason == (
        "in float64: does not share the reference's parameters (no gradient came to weight_ih_l0)"
    )


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (times(1.001), r"in float32: error 1\.0e-03 in output, allowed 2e-06"),
        (has_a_wrong_final_state, "in float32: error .* in final state 0, allowed .*"),
        (drops_the_gradient_of_a_bias, "in float32: no gradient came to bias_hh_l1"),
        (drops_the_gradient_of_the_input, "in float32: no gradient came to input"),
        (has_one_entry_that_is_no_number, ".*output is not finite"),
        (
            scales_the_weights_and_leaves_no_trace,
            "changed weight_ih_l0, which the reference shares",
        ),
        (zeroes_its_input_and_leaves_no_trace, "changed its input"),
    ],
    ids=lambda of: getattr(of, "__name__", None),
)
def test_the_reason_names_what_is_wrong_first(act, reason):
    build = partial(Mine, act=act, honest_in_float64=True)
    assert re.fullmatch(reason, verdict_of(build, "training").reason)
