"""A recurrence with one gate (Zhou, Wu, Zhang, Zhou 2016: Minimal gated unit for recurrent neural networks)."""

import torch
from torch import Tensor, nn


class MinimalGatedUnit(nn.Module):
    """`f = σ(W_f x + U_f h + b_f)`, `g = tanh(W x + U (f h) + b)`, `h' = (1 - f) h + f g`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.from_input = nn.Linear(input_size, 2 * hidden_size)
        self.forget = nn.Linear(hidden_size, hidden_size, bias=False)
        self.new = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """From `x` `(B, I)` and `h` `(B, H)` to the next `h`."""
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        x_f, x_g = self.from_input(x).chunk(2, dim=-1)
        f = torch.sigmoid(x_f + self.forget(h))
        return (1 - f) * h + f * torch.tanh(x_g + self.new(f * h))
