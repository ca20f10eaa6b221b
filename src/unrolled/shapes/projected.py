"""The loop that `torch.nn` has no cell for: an LSTM whose hidden state is projected, written out gate by gate.

`nn.LSTMCell` has no `proj_size`. The equations are those of the documentation of `nn.LSTM`, with
`h_t = W_hr (o_t * tanh(c_t))` (Sak, Senior, Beaufays 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.implementations.parameters import LayerParameters, layer_parameters


class ProjectedLoop(nn.Module):
    """Called as `reference`, an `nn.LSTM` with `proj_size`, and with its parameters; a step at a time."""

    def __init__(self, reference: nn.LSTM) -> None:
        super().__init__()
        self.reference = reference
        self.layers = layer_parameters(reference)
        suffixes = ("", "_reverse") if reference.bidirectional else ("",)
        self.projections: list[Tensor] = [
            getattr(reference, f"weight_hr_l{layer}{suffix}")
            for layer in range(reference.num_layers)
            for suffix in suffixes
        ]

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
                    h, c = _step(self.layers[k + d], self.projections[k + d], x_t, h, c)
                    found.append(h)
                outputs.append(found[::-1] if d else found)
                finals.append((h, c))
            steps = [torch.cat(both, dim=-1) for both in zip(*outputs, strict=True)]
        h_n, c_n = (torch.stack(parts) for parts in zip(*finals, strict=True))
        return torch.stack(steps, dim=time), (h_n, c_n)


def _step(layer: LayerParameters, projection: Tensor, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """From `x` `(B, I)`, `h` `(B, P)` and `c` `(B, H)` to the next `h` and `c`."""
    total = x @ layer.weight_ih.T + h @ layer.weight_hh.T
    if layer.bias_ih is not None and layer.bias_hh is not None:
        total = total + layer.bias_ih + layer.bias_hh
    i, f, g, o = total.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return (torch.sigmoid(o) * torch.tanh(c)) @ projection.T, c
