"""An LSTM whose gates see the cell state (Gers, Schmidhuber 2000: i and f see c_{t-1}, o sees c_t)."""

import torch
from torch import Tensor, nn


class PeepholeLSTM(nn.Module):
    """`(i, f, g, o) = W x + U h + b`; `c' = σ(f + p_f c) c + σ(i + p_i c) tanh(g)`; `h' = σ(o + p_o c') tanh(c')`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.from_input = nn.Linear(input_size, 4 * hidden_size)
        self.from_state = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.peepholes = nn.Parameter(torch.empty(3, hidden_size).uniform_(-0.1, 0.1))

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros `(B, H)` for `h` and `c`."""
        zeros = torch.zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """From `x` `(B, I)` and `(h, c)`, each `(B, H)`, to the next `(h, c)`."""
        h, c = state
        i, f, g, o = (self.from_input(x) + self.from_state(h)).chunk(4, dim=-1)
        p_i, p_f, p_o = self.peepholes
        c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
        return torch.sigmoid(o + p_o * c) * torch.tanh(c), c
