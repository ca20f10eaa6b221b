"""A linear recurrent unit with a diagonal recurrence (Orvieto et al. 2023, arXiv 2303.06349), of real eigenvalues."""

import torch
from torch import Tensor, nn


class LRU(nn.Module):
    """`h' = λ ⊙ h + γ ⊙ B x` with `γ = sqrt(1 - λ²)`, so that `h` stays as large as `B x`; the output is `C h`.

    `λ = exp(-exp(ν))` starts between 0.5 and 0.99, uniform in its square, as there.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        square = torch.rand(hidden_size) * (0.99**2 - 0.5**2) + 0.5**2
        self.nu = nn.Parameter(torch.log(-0.5 * torch.log(square)))
        self.into = nn.Linear(input_size, hidden_size, bias=False)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros `(B, H)`: one tensor is the state, so of the two that a step gives the second is."""
        return self.nu.new_zeros(batch_size, self.hidden_size)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """From `x` `(B, I)` and `h` `(B, H)` to the output `(B, H)` and the next `h`."""
        decay = torch.exp(self.nu)
        h = torch.exp(-decay) * h + torch.sqrt(-torch.expm1(-2 * decay)) * self.into(x)
        return self.out(h), h
