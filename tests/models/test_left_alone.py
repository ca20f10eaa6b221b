"""A diagnosis leaves a model and the random state as they were, also when it ends in an error midway."""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from tests.models import zoo
from tests.models.cases import B, squares, x
from tests.models.helpers import check_left, left
from unrolled.errors import InvalidValueError
from unrolled.gradients import gradient_flow
from unrolled.spectrum import jacobian_singular_values, lyapunov_spectrum


@dataclass
class Statistics:
    count: int = 0
    norms: list = field(default_factory=list)


class Busy(nn.Module):
    """Writes wherever a model can write in its forward pass, then draws random numbers, and may raise."""

    def __init__(self, raises=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(zoo.I)
        self.rnn = nn.utils.parametrizations.spectral_norm(nn.GRU(zoo.I, zoo.H, 2, dropout=0.3), "weight_hh_l0")
        self.cell = nn.GRUCell(zoo.H, zoo.H)
        self.raises, self.hidden, self.calls = raises, None, 0
        self.seen, self.recent, self.by_name = [], deque(maxlen=2), {"inner": []}
        self.array, self.kept, self.statistics = np.zeros(2), torch.zeros(2), Statistics()
        self.generator, self.numpy = torch.Generator(), np.random.default_rng(0)
        self.register_buffer("sparse", torch.eye(2).to_sparse())
        self.register_buffer("empty", None)

    def forward(self, batch):
        self.calls += 1
        batch = self.norm(batch.flatten(0, 1)).view_as(batch) + random.random() + np.random.rand()  # noqa: NPY002
        batch = batch + torch.rand((), generator=self.generator) + self.numpy.random()
        output, self.hidden = self.rnn(batch)
        self.seen.append(float(output.detach().norm()))
        self.recent.extend([1, 2, 3])
        self.by_name["inner"].append(output.shape)
        self.by_name["more"] = 1
        self.array += 1
        self.kept.add_(1)
        self.statistics.count += 1
        self.statistics.norms.append(1)
        self.empty = torch.ones(1)
        self.extra = "new"
        self.cell.weight_hh.data.mul_(0.5)  # a constraint on the weights
        h = output[-1]
        for x_t in output:
            h = self.cell(x_t, h)
        if self.raises:
            raise InvalidValueError("mine: expected nothing, got something; go on")
        self.eval()
        self.cell.requires_grad_(False)
        return h


def state_of(model):
    return {
        "model": left(model),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "own": (model.generator.get_state(), model.numpy.bit_generator.state["state"]["state"]),
        "kept": (model.array.tolist(), model.kept.tolist(), list(model.recent), model.recent.maxlen),
        "inner": (dict(model.by_name), list(model.by_name["inner"]), model.hidden, hasattr(model, "extra")),
        "statistics": (model.statistics.count, list(model.statistics.norms), model.calls),
    }


LOOKS = {
    "gradient_flow": lambda model: gradient_flow(model, x(), squares),
    "clipped": lambda model: gradient_flow(model, x(), squares, clip="step:0.1"),
    "a loss that raises": lambda model: gradient_flow(model, x(), lambda output: output.nope),
    "a loss that is no scalar": lambda model: gradient_flow(model, x(), lambda output: output),
    "lyapunov_spectrum": lambda model: lyapunov_spectrum(model, x()),
    "singular values": lambda model: jacobian_singular_values(model, x(), [1, 3]),
}


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("name", LOOKS)
def test_whatever_a_forward_writes_to_is_put_back(name, raises):
    torch.manual_seed(0)
    model = Busy(raises).double()
    model.rnn.weight_ih_l0.grad = torch.ones_like(model.rnn.weight_ih_l0)
    gradients = [parameter.grad for parameter in model.parameters()]
    before = state_of(model)
    if raises or "raises" in name or "no scalar" in name:
        with pytest.raises((InvalidValueError, AttributeError)):
            LOOKS[name](model)
    else:
        LOOKS[name](model)
    after = state_of(model)
    check_left(before.pop("model"), model)
    after.pop("model")
    own_before, own_after = before.pop("own"), after.pop("own")
    assert torch.equal(own_before[0], own_after[0])
    assert own_before[1] == own_after[1]
    assert before == after
    assert all(one is other for one, other in zip(gradients, [p.grad for p in model.parameters()], strict=True))


def test_a_look_between_forward_and_backward_does_not_spoil_the_graph():
    torch.manual_seed(0)
    model = zoo.PackedBothWays().double()
    arguments = x(), torch.tensor([5, 9, 2, 7])
    loss = model(*arguments).pow(2).sum()
    gradient_flow(model, arguments)
    loss.backward()
    assert model.rnn.weight_hh_l0.grad.abs().sum() > 0
    assert len(x()[0]) == B
