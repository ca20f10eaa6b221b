"""An implementation of your own: is it the same work as the fused module, and is it faster?

python examples/own_implementation.py
"""

import torch
from torch import Tensor, nn

import unrolled
from unrolled.implementations.loop import Loop


class Mine(Loop):
    """A tanh RNN in the layout `(H, B)`; `Loop` does layers, directions, layouts and states."""

    def scan(self, k: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer, one direction: `x` `(T, B, I)`, the state `(h,)` with `h` `(B, H)`."""
        layer, (h,), out = self.layers[k], state, []
        bias = (layer.bias_ih + layer.bias_hh)[:, None]
        for x_t in x:
            h = torch.tanh(layer.weight_ih @ x_t.T + layer.weight_hh @ h.T + bias).T
            out.append(h)
        return torch.stack(out), (h,)


def forgets_a_bias(reference: nn.Module) -> nn.Module:
    """What is not the same work gets no time."""
    module = Mine(reference)
    for layer in module.layers:
        layer.bias_hh.data = torch.zeros_like(layer.bias_hh)
    return module


def main() -> None:
    """Two races against the fused module, in training."""
    workload = unrolled.Workload(cell="rnn_tanh", input_size=16, hidden_size=64, batch_size=8, seq_len=50)
    for build in (Mine, forgets_a_bias):
        result = unrolled.race(workload, "training", build, budget=0.5)
        if result.status == "ok":
            found = result.interval
            times = f"{found.ratio:.2f} times as long ({found.low:.2f} to {found.high:.2f})"
            print(f"{build.__name__}: {result.verdict}, {times}")
        else:
            print(f"{build.__name__}: {result.status}, {result.reason}")


if __name__ == "__main__":
    main()
