"""The gated recurrent unit, as `torch.nn.GRU` defines it (Cho et al. 2014, reset gate last).

r, z = σ(W x_t + b + U h_{t-1})          q = U_n h_{t-1} + b_hn
n = tanh(W_n x_t + b_in + r q)           h_t = (1 - z) n + z h_{t-1}
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.gradients.recurrence.linearised import Linearised, buffer, summed
from unrolled.gradients.recurrence.weights import Weights, add_outer, affine


class GRU(Linearised):
    """The pull-back, with `A = (1 - z)(1 - n²)`.

        n̂ = A h̄       r̂ = A q r(1 - r) h̄       ẑ = (h_{t-1} - n) z(1 - z) h̄       q̂ = A r h̄
        h̄_{t-1} = z h̄ + Uᵀ (r̂, ẑ, q̂)            x̄_t = Wᵀ (r̂, ẑ, n̂)

    `delta` holds the four as `(n̂, r̂, ẑ, q̂)`, so that what goes back through U is its last three quarters.
    """

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None = None) -> None:
        self.weights, self.x, self.h = weights, x, h
        steps, batch, size = h.shape[0] - 1, *h.shape[1:]
        before = h[:-1]
        from_x = affine(x, weights.weight_ih, weights.bias_ih)
        from_h = affine(before, weights.weight_hh, weights.bias_hh)
        q = from_h[..., 2 * size :]
        r, z = from_x[..., : 2 * size].add_(from_h[..., : 2 * size]).sigmoid_().chunk(2, dim=-1)
        n = torch.addcmul(from_x[..., 2 * size :], r, q).tanh_()

        factors = buffer(h, steps, batch, 4, size)
        to_n, to_r, to_z, to_q = factors.unbind(-2)
        torch.mul(1 - z, 1 - n * n, out=to_n)
        torch.mul(to_n, r, out=to_q)
        torch.mul(to_q * q, 1 - r, out=to_r)
        torch.mul((before - n) * z, 1 - z, out=to_z)
        keep = z.contiguous()

        self.cotangents = (buffer(h, *h.shape),)
        self.delta = buffer(h, steps, batch, 4 * size)
        h_bar = self.cotangents[0]
        blocks = self.delta.view(steps, batch, 4, size)
        recurrent = self.delta[..., size:]
        self._steps = [part.unbind() for part in (h_bar, h_bar.unsqueeze(2), factors, keep, blocks, recurrent)]

    def pull(self, first: int, last: int) -> None:
        """Three operations a step."""
        h_bar, h_bar_column, factors, keep, blocks, recurrent = self._steps
        weight_hh = self.weights.weight_hh
        for t in range(last - 1, first - 1, -1):
            torch.mul(h_bar_column[t + 1], factors[t], out=blocks[t])
            h_bar[t].addcmul_(h_bar[t + 1], keep[t]).addmm_(recurrent[t], weight_hh)

    def add_gradients(self, power: Tensor, sums: dict[str, Tensor]) -> None:
        """The new gate sees x through n̂ and h through q̂."""
        into_x, into_h = self._into_x(), self.delta[..., self.h.shape[-1] :]
        add_outer(sums["weight_ih"], into_x, self.x * power)
        add_outer(sums["weight_hh"], into_h, self.h[:-1] * power)
        if "bias_ih" in sums:
            sums["bias_ih"] += summed(into_x, power)
            sums["bias_hh"] += summed(into_h, power)

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ (r̂, ẑ, n̂)`."""
        return self._into_x() @ self.weights.weight_ih

    def _into_x(self) -> Tensor:
        """`(r̂, ẑ, n̂)`, in the order of the rows of `weight_ih`."""
        n_hat, r_hat, z_hat, _ = self.delta.chunk(4, dim=-1)
        return torch.cat((r_hat, z_hat, n_hat), dim=-1)
