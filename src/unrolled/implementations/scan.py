"""`scan`: all steps at once, of a cell that is linear in its state, by an associative scan over time.

Where each number of the state goes by `s_t = a_t s_{t-1} + b_t`, all of them follow by about `2 log2 T` operations in a
row in place of T, see `newton.scan` (for recurrent networks: Martin, Cundy 2018, arXiv 1709.04057). The cell itself
gives a and b: it is called on all inputs at once, with states of zeros and of ones.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.build import Unrolled, first_state
from unrolled.cells.own import output_and_state, parts_of
from unrolled.errors import ImplementationError
from unrolled.newton.scan import elementwise

TRIED_BATCH = 3


def build(reference: nn.Module) -> nn.Module:
    """A scan with the very cells of `reference`.

    Raises `ImplementationError` where a cell is not linear in its state, number by number; torch's own are not.
    """
    if not isinstance(reference, Unrolled):
        raise ImplementationError(
            f"scan: expected a cell of your own that is linear in its state, got {type(reference).__name__}, whose "
            "steps depend on each other by an activation; take hoisted, bptt or compiled"
        )
    directions = 2 if reference.bidirectional else 1
    for layer, _, cell in reference.each():
        _check_linear(cell, reference.hidden_size * directions if layer else reference.input_size)
    scanned: Any = copy.copy(reference)  # shallow: with the very cells
    scanned.scan = scan
    return scanned  # type: ignore[no-any-return]


def scan(cell: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """`Unrolled.scan` without a loop: outputs `(T, B, H)` of `x` `(T, B, I)`, and the last state."""
    name = type(cell).__name__
    output, state = output_and_state(cell(x[0], state), state, name)  # which tells how a state looks
    if len(x) == 1:
        return output.unsqueeze(0), state
    first = parts_of(state)
    is_state = output is first[0]
    rows = x[1:].flatten(0, 1)
    every = [
        torch.cat((part.unsqueeze(0), states(a, b, part)))
        for part, a, b in zip(first, *_coefficients(cell, rows, state, len(x) - 1), strict=True)
    ]
    last = _like(state, [part[-1] for part in every])
    if is_state:
        return every[0], last
    before = _like(state, [part[:-1].flatten(0, 1) for part in every])
    outputs, _ = output_and_state(cell(rows, before), before, name)
    return torch.cat((output.unsqueeze(0), outputs.reshape(len(x) - 1, *output.shape))), last


def states(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    """`s_t = a_t s_{t-1} + b_t` for all t, `(T, ...)`, from the state `first` before them."""
    return elementwise(a, torch.cat((torch.addcmul(b[:1], a[:1], first), b[1:])))


def _coefficients(cell: nn.Module, rows: Tensor, state: Any, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """a and b of each part of the state, `(T, B, ...)`, for inputs `(T * B, I)`."""

    def after(number: float) -> tuple[Tensor, ...]:
        given = _like(state, [part.new_full((len(rows), *part.shape[1:]), number) for part in parts_of(state)])
        return parts_of(output_and_state(cell(rows, given), given, type(cell).__name__)[1])

    b, one = ([part.reshape(steps, -1, *part.shape[1:]) for part in after(number)] for number in (0.0, 1.0))
    return [part - base for part, base in zip(one, b, strict=True)], b


def _like(state: Any, parts: list[Tensor]) -> Any:
    """Parts as a state that is a tensor, or a tuple, like the given one."""
    return parts[0] if isinstance(state, Tensor) else tuple(parts)


@torch.no_grad()
def _check_linear(cell: nn.Module, input_size: int) -> None:
    """Try a copy of a cell on random inputs and states; raise `ImplementationError` where it is not linear."""
    tried, name = copy.deepcopy(cell), type(cell).__name__
    like = next((p for p in cell.parameters() if p.is_floating_point()), torch.empty(0))
    with torch.random.fork_rng(devices=[]):
        x = torch.randn(TRIED_BATCH, input_size, generator=torch.Generator().manual_seed(0)).to(like)
        start = first_state(tried, TRIED_BATCH, x)
        _, state = output_and_state(tried(x, start), start, name)
        a, b = _coefficients(tried, x, state, 1)
        old = [
            part if _is_counted(part) else part + torch.linspace(-1, 2, part.numel()).to(part).view_as(part)
            for part in parts_of(state)
        ]
        _, found = output_and_state(tried(x, _like(state, old)), state, name)
    for slope, base, before, after in zip(a, b, old, parts_of(found), strict=True):
        close = 0.0 if _is_counted(after) else torch.finfo(after.dtype).eps ** 0.5
        if not torch.allclose(after, torch.addcmul(base[0], slope[0], before), rtol=close, atol=close):
            raise ImplementationError(
                "scan: expected a cell whose next state is linear in its state, number by number, got "
                f"{name}, whose is not; take compiled"
            )


def _is_counted(part: Tensor) -> bool:
    """Whether it is made of whole numbers."""
    return not (part.is_floating_point() or part.is_complex())
