"""The gradient and its clipping as autograd and `torch.nn.utils` give them in float32, for comparison."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from unrolled.gradients.clipping import Clip
from unrolled.gradients.loss import Loss, last_step_loss
from unrolled.rollout.layout import Layout


@dataclass(frozen=True, eq=False)
class Float32Gradient:
    """Gradients as autograd leaves them in float32.

    `first_step`: root mean square over samples of the norms at the first state of the last layer; None
    where the model cannot be stopped there.
    """

    gradients: dict[str, Tensor]
    first_step: float | None

    def unclipped_norm(self) -> float:
        """The global norm, which may be 0, inf or NaN."""
        return float(get_total_norm(self.gradients.values()))

    def norm(self, clip: Clip, norms: Sequence[float]) -> float | None:
        """The global norm after clipping, which may be 0, inf or NaN; None where torch has no such clipping.

        `norms`: the unclipped global norms so far, this one included.
        """
        parameters = [_with_gradient(gradient) for gradient in self.gradients.values()]
        if not clip.rule.clip_as_torch_(parameters, norms):
            return None
        return float(get_total_norm(parameter.grad for parameter in parameters if parameter.grad is not None))


def float32_gradient(model: nn.Module, inputs: Any, loss: Loss | None) -> Float32Gradient:
    """Forward and backward of a float32 copy of `model`."""
    model = copy.deepcopy(model).float()
    model.zero_grad()
    if isinstance(inputs, Tensor) and inputs.is_floating_point():
        inputs = inputs.float()
    first: Tensor | None = None
    if isinstance(model, nn.RNNBase) and not model.bidirectional and not model.batch_first:
        output, first = _stopping_at_the_first_state(model, inputs)
    else:
        output = model(*inputs) if type(inputs) is tuple else model(inputs)
    layout = Layout(_batch_first(model), True, None, None)
    scalar = last_step_loss(output, layout) if loss is None else loss(output)
    if scalar.requires_grad:  # a cell need not have parameters
        scalar.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return Float32Gradient(gradients, None if first is None else _root_mean_square(first.grad))


def _stopping_at_the_first_state(model: nn.RNNBase, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The output, and the states `(L, B, ·)` after the first step, which will receive a gradient."""
    begin, state = model(inputs[:1])
    first = state[0] if isinstance(state, tuple) else state
    first.retain_grad()
    rest, _ = model(inputs[1:], state)
    return torch.cat([begin, rest]), first


def _root_mean_square(gradient: Tensor | None) -> float:
    """Over samples, of the norms `(B,)` of the last layer; the norms in float32, as anybody takes them."""
    if gradient is None:
        return 0.0
    norms = torch.linalg.vector_norm(gradient[-1], dim=-1).double()
    return float(norms.pow(2).mean().sqrt())


def _with_gradient(gradient: Tensor) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty_like(gradient))
    parameter.grad = gradient.clone()
    return parameter


def _batch_first(model: nn.Module) -> bool:
    return any(module.batch_first for module in model.modules() if isinstance(module, nn.RNNBase))
