"""Watching the training of models of every make: the flow that autograd has, and not one bit of the training changed."""

import copy

import pytest
import torch

from tests.models import zoo
from tests.models.cases import CASES, model_of
from tests.models.helpers import backward, call, left, same_bits
from unrolled.gradients import watch

RTOL = 1e-12


def train(model, case, inputs, each=lambda: None):
    """Three steps of Adam: losses, gradients, weights and buffers on the way, and the random state at the end."""
    torch.manual_seed(3)
    optimizer, kept = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(3):
        optimizer.zero_grad()
        if isinstance(model, zoo.WeightDropped):  # what a dropped weight is made of cannot be copied
            model.inner.weight_hh_l0 = model.raw.detach().clone()
        before = copy.deepcopy(model), torch.get_rng_state()
        loss = case.loss(call(model, inputs))
        loss.backward()
        each()
        kept.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None], before))
        optimizer.step()
    return kept, [*model.parameters(), *model.buffers()], torch.get_rng_state()


def bits(run):
    kept, state, random = run
    return [(loss, gradients) for loss, gradients, _ in kept], state, random


@pytest.mark.parametrize("name", CASES)
def test_every_pass_of_a_training_is_shown_and_none_is_changed(name):
    case, inputs = CASES[name], CASES[name].inputs()
    model = model_of(case)
    twin, before = copy.deepcopy(model), left(model)
    flows = []
    with watch(model, every=1, cells=case.cells) as watched:
        seen = train(model, case, inputs, lambda: flows.append(watched.latest()))
    assert same_bits(bits(seen), bits(train(twin, case, inputs)))
    for flow, (_, _, (at_the_time, random)) in zip(flows, seen[0], strict=True):
        torch.set_rng_state(random)
        oracle, _, _ = backward(at_the_time, inputs, case.loss, case.cells)
        oracle.check(flow, RTOL)
    after = left(model)
    for key in ("classes", "listeners"):
        assert before[key] == after[key]
    assert [hooks for _, _, hooks, _ in before["modules"]] == [hooks for _, _, hooks, _ in after["modules"]]
