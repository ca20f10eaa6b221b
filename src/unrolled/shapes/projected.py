"""The loop that `torch.nn` has no cell for: an LSTM whose hidden state is projected."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.weights import Weights


class ProjectedLoop(nn.Module):
    """Called as `reference`, an `nn.LSTM` with `proj_size`, and with its parameters; a step at a time."""

    def __init__(self, reference: nn.RNNBase) -> None:
        super().__init__()
        self.reference = reference
        self.step = cell_of(reference).step
        self.layers = Weights.each(reference)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`out` `(T, B, D * P)` or as `batch_first` says, `h_n` `(L * D, B, P)`, `c_n` `(L * D, B, H)`."""
        time = 1 if self.reference.batch_first and input.dim() == 3 else 0
        steps = list(input.unbind(time))
        directions = 2 if self.reference.bidirectional else 1
        finals = []
        for k in range(0, len(self.layers), directions):
            outputs = []
            for d in range(directions):
                h, c = hx[0][k + d], hx[1][k + d]
                found = []
                for x_t in reversed(steps) if d else steps:
                    h, c = self.step(self.layers[k + d], x_t, (h, c))
                    found.append(h)
                outputs.append(found[::-1] if d else found)
                finals.append((h, c))
            steps = [torch.cat(both, dim=-1) for both in zip(*outputs, strict=True)]
        h_n, c_n = (torch.stack(parts) for parts in zip(*finals, strict=True))
        return torch.stack(steps, dim=time), (h_n, c_n)
