"""A GRU whose gate does not see the state, so that a step is linear in it (Feng et al. 2024, arXiv 2410.01201)."""

import torch
from torch import Tensor, nn


class MinGRU(nn.Module):
    """`z = σ(W_z x + b_z)`, `h' = (1 - z) h + z (W_h x + b_h)`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gate = nn.Linear(input_size, hidden_size)
        self.new = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """From `x` `(B, I)` and `h` `(B, H)` to the next `h`."""
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        z = torch.sigmoid(self.gate(x))
        return (1 - z) * h + z * self.new(x)
