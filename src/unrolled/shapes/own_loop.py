"""The loop over time around cells that somebody else wrote, written out: what `Unrolled` is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells.build import Unrolled
from unrolled.cells.own import output_and_state


class OwnLoop(nn.Module):
    """Called as `reference`, with its very cells; a step at a time, each direction by its own indices."""

    def __init__(self, reference: Unrolled) -> None:
        super().__init__()
        self.cells, self.bidirectional = reference.cells, reference.bidirectional

    def forward(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        """`out` `(T, B, D * H)` and the state as `Unrolled` gives it, from a state `hx`."""
        steps, directions = list(input), 2 if self.bidirectional else 1
        firsts = list(hx) if isinstance(hx, Tensor) else list(zip(*hx, strict=True))
        finals: list[Any] = []
        for k in range(0, len(self.cells), directions):
            outputs: list[list[Tensor]] = [[] for _ in steps]
            for d in range(directions):
                state = firsts[k + d]
                for t in reversed(range(len(steps))) if d else range(len(steps)):
                    result = self.cells[k + d](steps[t], state)
                    output, state = output_and_state(result, state, type(self.cells[k + d]).__name__)
                    outputs[t].append(output)
                finals.append(state)
            steps = [torch.cat(both, dim=-1) for both in outputs]
        if isinstance(hx, Tensor):
            return torch.stack(steps), torch.stack(finals)
        return torch.stack(steps), tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
