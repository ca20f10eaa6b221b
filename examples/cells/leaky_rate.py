"""A leaky rate network with noise: Euler steps of `τ dh/dt = -h + tanh(W h + U x + b)`, `a = dt / τ`.

Sompolinsky, Crisanti, Sommers 1988. At rest, its Lyapunov exponents are `ln |1 - a + a eig(W)|`.
"""

import torch
from torch import Tensor, nn


class LeakyRate(nn.Module):
    """`h' = (1 - a) h + a tanh(W h + U x + b) + σ sqrt(2 a) ξ`, ξ standard normal."""

    def __init__(self, input_size: int, hidden_size: int, a: float = 0.2, noise: float = 0.05) -> None:
        super().__init__()
        self.hidden_size, self.a, self.noise = hidden_size, a, noise
        self.from_input = nn.Linear(input_size, hidden_size)
        self.from_state = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """From `x` `(B, I)` and `h` `(B, H)` to the next `h`."""
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        drive = torch.tanh(self.from_state(h) + self.from_input(x))
        noise = self.noise * (2 * self.a) ** 0.5 * torch.randn_like(drive)
        return (1 - self.a) * h + self.a * drive + noise
