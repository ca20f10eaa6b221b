"""A cell of your own: how far back it learns, whether it is chaotic, and how fast its compiled loop is.

python examples/own_cell.py
"""

import torch
from torch import Tensor, nn

import unrolled


class Leaky(nn.Module):
    """`h' = 0.9 h + 0.1 tanh(W x + U h + b)`: called as torch's cells are, `cell(x_t, state) -> state`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """From `x` `(B, I)` and `h` `(B, H)` to the next `h`."""
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        return 0.9 * h + 0.1 * torch.tanh(self.linear(torch.cat([x, h], dim=-1)))


class Model(nn.Module):
    """A loop over the cell, as anybody would write it; nothing in it knows of unrolled."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Leaky(8, 64)
        self.head = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From `(T, B, 8)` to `(B, 1)`."""
        h = None
        for x_t in x:
            h = self.cell(x_t, h)
        return self.head(h)


def main() -> None:
    """Both questions, on one model."""
    torch.manual_seed(0)
    model, x = Model(), torch.randn(200, 8, 8)
    flow = unrolled.gradient_flow(model, x, cells=Leaky)
    verdict = flow.profile().verdict
    print(f"{verdict.word}: {verdict.decades_per_step:+.4f} decades a step, horizon {verdict.horizon} steps")
    spectrum = unrolled.lyapunov_spectrum(model, x, cells=Leaky, k=1, warm_up=50)
    print(f"largest Lyapunov exponent: {spectrum.part().mean[0]:+.3f} nats a step")


if __name__ == "__main__":
    main()
