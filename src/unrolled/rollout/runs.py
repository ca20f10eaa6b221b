"""Calls of one cell, joined to runs: a call goes on with the state that the call before it gave."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout.arguments import tensors_in
from unrolled.rollout.targets import Target

ONE_KERNEL = {"cuda"}  # devices on which one kernel computes a step of nn.LSTMCell
FAR = 256  # nodes of the graph that are looked at between one call's state and the next call's

Parts = tuple[Tensor, ...]


@dataclass(eq=False)
class Run:
    """Consecutive calls of one cell, each from the state that the one before gave.

    `handed`: the state that the last call gave, as its caller has it. `detached`: the steps, from 1, before which
    the state was cut off from its past; `altered`: those before which it was changed in other ways.
    """

    target: Target
    number: int
    handed: Parts = ()
    steps: int = 0
    detached: list[int] = field(default_factory=list)
    altered: list[int] = field(default_factory=list)

    def is_handed(self, given: Parts) -> bool:
        """Whether these are the very tensors that the last call gave, and nobody wrote into them."""
        return len(given) == len(self.handed) and all(
            new is old and new._version == 0 for new, old in zip(given, self.handed, strict=True)
        )

    def goes_on(self, given: Parts) -> bool:
        """Whether a call that is given this state belongs to the run; notes what happened to it in between."""
        if not given or len(given) != len(self.handed):
            return False
        if self.is_handed(given):
            return True
        if any(new.shape != old.shape for new, old in zip(given, self.handed, strict=True)):
            return False
        same = all(_equal(new, old) for new, old in zip(given, self.handed, strict=True))
        connected = _connected(given, self.handed)
        if not same and not connected and (torch.is_grad_enabled() or not any(part.any() for part in given)):
            return False  # another sequence, from zeros or from a state of its own
        if not same:
            self.altered.append(self.steps + 1)
        if same and not connected and any(old.requires_grad for old in self.handed):
            self.detached.append(self.steps + 1)
        return True


def given_of(target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The state that a cell was called with: its second argument, by whatever name; None for none."""
    return args[1] if len(args) > 1 else kwargs.get(name_of_state(target))


def made(target: Target, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call of a cell gives. Raises `InvalidValueError` where it writes to its input or its state."""
    given = {
        "state": given_of(target, args, kwargs),
        "input": args[0] if args else next(iter(kwargs.values()), None),
    }
    tensors = [(what, tensor) for what, value in given.items() for tensor in tensors_in(value)]
    versions = [_version(tensor) for _, tensor in tensors]
    result = call(*args, **kwargs)
    for (what, tensor), version in zip(tensors, versions, strict=True):
        if _version(tensor) != version:
            raise InvalidValueError(
                f"{target.name!r}: expected a step that leaves its {what} alone, got one that writes to it; make a new "
                "tensor, as by h = h + ... in place of h += ..."
            )
    return result


def check_real(name: str, state: Sequence[Tensor]) -> None:
    """Raise `InvalidTypeError` where a part of a state has complex numbers, each of which would count as one."""
    for part in state:
        if part.is_complex():
            raise InvalidTypeError(
                f"{name!r}: expected a state of real numbers, got {part.dtype}; keep real and imaginary parts, as by "
                "torch.view_as_real"
            )


def hides_c(target: Target, input: Any) -> bool:
    """Whether a cell is an nn.LSTMCell on a device where one kernel computes h and c.

    The gradient of c that autograd has there lacks what flows through h of the same step.
    """
    module = target.module
    forward = next((kind for kind in type(module).__mro__ if "forward" in kind.__dict__), None)
    own = forward is nn.LSTMCell and "forward" not in module.__dict__
    return own and isinstance(input, Tensor) and input.device.type in ONE_KERNEL


def lstm_step(
    cell: nn.LSTMCell, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM as `nn.LSTMCell` defines it, input `(B, I)` or `(I,)`."""
    if hx is None:
        zeros = input.new_zeros(*input.shape[:-1], cell.hidden_size)
        hx = (zeros, zeros)
    h, c = hx
    gates = F.linear(input, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh)
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def name_of_state(target: Target) -> str:
    """What a cell calls its second argument."""
    names = list(inspect.signature(type(target.module).forward).parameters)[1:]  # without self
    return names[1] if len(names) > 1 else ""


def _equal(one: Tensor, other: Tensor) -> bool:
    return one is other or torch.equal(one.detach(), other.detach())


def _connected(given: Sequence[Tensor], handed: Sequence[Tensor]) -> bool:
    """Whether `given` was made, by autograd's graph, of what was `handed`; looks a few nodes far."""
    wanted = {part.grad_fn for part in handed if part.grad_fn is not None}
    nodes: list[Any] = [part.grad_fn for part in given if part.grad_fn is not None]
    seen = set(nodes)
    while nodes and len(seen) < FAR:
        node = nodes.pop(0)
        if node in wanted:
            return True
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                nodes.append(before)
    return False
