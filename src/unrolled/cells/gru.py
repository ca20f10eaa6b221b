"""The gated recurrent unit, as `torch.nn.GRU` defines it (Cho et al. 2014, reset gate last).

r, z = σ(W x_t + b + U h_{t-1})          q = U_n h_{t-1} + b_hn
n = tanh(W_n x_t + b_in + r q)           h_t = (1 - z) n + z h_{t-1}
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.cells.linearised import Buffers, Linearised, summed
from unrolled.cells.push_forward import Gates, PushForward, by_sample, per_step
from unrolled.cells.weights import Weights, add_outer, affine


class GRU(Linearised):
    """The pull-back, with `A = (1 - z)(1 - n²)`.

        n̂ = A h̄       r̂ = A q r(1 - r) h̄       ẑ = (h_{t-1} - n) z(1 - z) h̄       q̂ = A r h̄
        h̄_{t-1} = z h̄ + Uᵀ (r̂, ẑ, q̂)            x̄_t = Wᵀ (r̂, ẑ, n̂)

    `delta` holds the four as `(n̂, r̂, ẑ, q̂)`, so that what goes back through U is its last three quarters.
    """

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None, buffers: Buffers) -> None:
        self.weights, self.x, self.h, self._buffers = weights, x, h, buffers
        steps, batch, size = h.shape[0] - 1, *h.shape[1:]
        before, one = h[:-1], h.new_ones(())
        from_x = affine(x, weights.weight_ih, weights.bias_ih, buffers("from_x", steps, batch, 3 * size))
        from_h = affine(before, weights.weight_hh, weights.bias_hh, buffers("from_h", steps, batch, 3 * size))
        q = from_h[..., 2 * size :]
        r, z = from_x[..., : 2 * size].add_(from_h[..., : 2 * size]).sigmoid_().chunk(2, dim=-1)
        n = from_x[..., 2 * size :].addcmul_(r, q).tanh_()

        keep = buffers("keep", steps, batch, size).copy_(z)
        update = torch.sub(one, keep, out=buffers("update", steps, batch, size))
        factors = buffers("factors", steps, batch, 4, size)
        to_n, to_r, to_z, to_q = factors.unbind(-2)
        torch.addcmul(one, n, n, value=-1, out=to_n).mul_(update)
        torch.mul(to_n, r, out=to_q)
        torch.sub(before, n, out=to_z).mul_(keep).mul_(update)
        torch.sub(one, r, out=to_r).mul_(q).mul_(to_q)

        self.cotangents = (buffers("h_bar", *h.shape),)
        self.delta = buffers("delta", steps, batch, 4 * size)
        h_bar = self.cotangents[0]
        blocks = self.delta.view(steps, batch, 4, size)
        recurrent = self.delta[..., size:]
        self._steps = buffers.step_by_step(steps, h_bar, h_bar.unsqueeze(2), factors, keep, blocks, recurrent)

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
        x = torch.mul(self.x, power, out=self._buffers("x", *self.x.shape))
        h = torch.mul(self.h[:-1], power, out=self._buffers("h", *self.h[:-1].shape))
        add_outer(sums["weight_ih"], into_x, x)
        add_outer(sums["weight_hh"], into_h, h)
        if "bias_ih" in sums:
            sums["bias_ih"] += summed(into_x, power)
            sums["bias_hh"] += summed(into_h, power)

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ (r̂, ẑ, n̂)`."""
        return self._into_x() @ self.weights.weight_ih

    def _into_x(self) -> Tensor:
        """`(r̂, ẑ, n̂)`, in the order of the rows of `weight_ih`."""
        n_hat, r_hat, z_hat, _ = self.delta.chunk(4, dim=-1)
        return torch.cat(
            (r_hat, z_hat, n_hat), dim=-1, out=self._buffers("from_x", *n_hat.shape[:2], 3 * n_hat.shape[2])
        )


class PushedGRU(PushForward):
    """The push-forward, a prime for a tangent, `A = (1 - z)(1 - n²)`, `a = U h_{t-1}' + W x_t'` by gate.

    h_t' = z h_{t-1}' + A q r(1 - r) a_r + (h_{t-1} - n) z(1 - z) a_z + A (r U_n h_{t-1}' + W_n x_t')
    """

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None) -> None:
        self.size = self.output_size = h.shape[-1]
        self.from_h, self.from_x = Gates(weights.weight_hh, 3), Gates(weights.weight_ih, 3)
        steps, batch, width = len(x), h.shape[1], 3 * self.size
        x_r, x_z, x_n = affine(x, weights.weight_ih, weights.bias_ih, h.new_empty(steps, batch, width)).chunk(
            3, -1
        )
        h_r, h_z, q = affine(
            h[:-1], weights.weight_hh, weights.bias_hh, h.new_empty(steps, batch, width)
        ).chunk(3, -1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * q)
        to_n = (1 - z) * (1 - n * n)
        to_r, to_z = to_n * q * r * (1 - r), (h[:-1] - n) * z * (1 - z)
        self.steps = per_step(z, to_r, to_z, to_n * r, to_n)

    def step(self, t: int, v: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """The sums over gates are one product each."""
        keep, to_r, to_z, to_q, to_n = (factor[t] for factor in self.steps)
        torch.mul(by_sample(v, keep), keep, out=by_sample(out, keep))
        self.from_h.add(v, (to_r, to_z, to_q), out)
        if below is not None:
            self.from_x.add(below, (to_r, to_z, to_n), out)
