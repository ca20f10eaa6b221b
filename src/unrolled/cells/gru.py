"""The gated recurrent unit, as `torch.nn.GRU` defines it (Cho et al. 2014, reset gate last).

r, z = σ(W x_t + b + U h_{t-1})          q = U_n h_{t-1} + b_hn
n = tanh(W_n x_t + b_in + r q)           h_t = (1 - z) n + z h_{t-1}
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cells.cell import Cell, Gate, State
from unrolled.cells.linearised import Buffers, Linearised, PullBack, as_columns, moved, summed
from unrolled.cells.push_forward import GateWeights, PushForward, add_gates, by_sample, per_step
from unrolled.cells.weights import Weights, add_outer, affine


class GRU(Cell):
    """At rest every gate is ½, so a step keeps half the state and `r (1 - z) = ¼` of the new gate's `U h`."""

    name, title = "gru", "GRU"
    gates = (Gate("r", "reset gate"), Gate("z", "update gate"), Gate("n", "new gate"))
    fused, stepped = nn.GRU, nn.GRUCell
    keeps, candidate = "z", "n"
    at_rest = (0.5, 0.25)
    moves_with_weights = True

    def step(self, weights: Weights, x: Tensor, state: State) -> State:
        """The reset gate scales what the new gate takes from the state, its bias included."""
        (h,) = state
        x_r, x_z, x_n = weights.from_x(x).chunk(3, dim=-1)
        h_r, h_z, q = weights.from_h(h).chunk(3, dim=-1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * q)
        return ((1 - z) * n + z * h,)

    def linearise(
        self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None, buffers: Buffers
    ) -> Linearised:
        """See `LinearisedGRU`."""
        return LinearisedGRU(weights, x, h, buffers)


class LinearisedGRU(Linearised):
    """The factors by which pre-activations move the state, with `A = (1 - z)(1 - n²)`.

    keep = z     to_n = A     to_q = A r     to_r = A q r(1 - r)     to_z = (h_{t-1} - n) z(1 - z)
    """

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, buffers: Buffers) -> None:
        self.weights, self.x, self.h, self.buffers = weights, x, h, buffers
        steps, batch, size = h.shape[0] - 1, *h.shape[1:]
        before, one = h[:-1], h.new_ones(())
        from_x = affine(x, weights.weight_ih, weights.bias_ih, buffers("from_x", steps, batch, 3 * size))
        from_h = affine(before, weights.weight_hh, weights.bias_hh, buffers("from_h", steps, batch, 3 * size))
        q = from_h[..., 2 * size :]
        r, z = from_x[..., : 2 * size].add_(from_h[..., : 2 * size]).sigmoid_().chunk(2, dim=-1)
        self.r = r
        n = from_x[..., 2 * size :].addcmul_(r, q).tanh_()

        self.keep = buffers("keep", steps, batch, size).copy_(z)
        update = torch.sub(one, self.keep, out=buffers("update", steps, batch, size))
        self.factors = buffers(
            "factors", steps, batch, 4, size
        )  # side by side: one product a step for all four
        to_n, to_r, to_z, to_q = self.factors.unbind(-2)
        torch.addcmul(one, n, n, value=-1, out=to_n).mul_(update)
        torch.mul(to_n, r, out=to_q)
        torch.sub(before, n, out=to_z).mul_(self.keep).mul_(update)
        torch.sub(one, r, out=to_r).mul_(q).mul_(to_q)

    def pull_back(self) -> PullBack:
        """Through `J_tᵀ`."""
        return PullBackGRU(self)

    def push_forward(self) -> PushForward:
        """Through `J_t`."""
        return PushForwardGRU(self)

    def of_weights(self, changes: Weights) -> Tensor:
        """Of the pre-activations of r, z and n; what comes from the state is scaled by r in the last."""
        by_x = moved(((changes.weight_ih, changes.bias_ih),), (self.x,))
        by_h = moved(((changes.weight_hh, changes.bias_hh),), (self.h[:-1],))
        count, size = changes.weight_ih.shape[1], self.h.shape[-1]
        of_n = by_h.view(*by_h.shape[:2], count, 3 * size)[..., 2 * size :]
        of_n.mul_(self.r.transpose(0, 1).unsqueeze(2))
        return as_columns(by_x.add_(by_h), count)


class PullBackGRU(PullBack):
    """A hat for the cotangent of a pre-activation.

        n̂ = to_n h̄        r̂ = to_r h̄        ẑ = to_z h̄        q̂ = to_q h̄
        h̄_{t-1} = keep h̄ + Uᵀ (r̂, ẑ, q̂)        x̄_t = Wᵀ (r̂, ẑ, n̂)

    `delta` holds the four as `(n̂, r̂, ẑ, q̂)`, so that what goes back through U is its last three quarters.
    """

    def __init__(self, block: LinearisedGRU) -> None:
        self.block, buffers = block, block.buffers
        steps, batch, size = block.keep.shape
        h_bar = buffers("h_bar", *block.h.shape)
        self.cotangents = (h_bar,)
        self.delta = buffers("delta", steps, batch, 4 * size)
        blocks, recurrent = self.delta.view(steps, batch, 4, size), self.delta[..., size:]
        self._steps = buffers.step_by_step(
            "pull", steps, h_bar, h_bar.unsqueeze(2), block.factors, block.keep, blocks, recurrent
        )

    def pull(self, first: int, last: int) -> None:
        """Three operations a step."""
        h_bar, h_bar_column, factors, keep, blocks, recurrent = self._steps
        weight_hh = self.block.weights.weight_hh
        for t in range(last - 1, first - 1, -1):
            torch.mul(h_bar_column[t + 1], factors[t], out=blocks[t])
            h_bar[t].addcmul_(h_bar[t + 1], keep[t]).addmm_(recurrent[t], weight_hh)

    def add_gradients(self, power: Tensor | None, sums: dict[str, Tensor]) -> None:
        """The new gate sees x through n̂ and h through q̂."""
        block, buffers = self.block, self.block.buffers
        into_x, into_h = self._into_x(), self.delta[..., block.h.shape[-1] :]
        x, h = block.x, block.h[:-1]
        if power is not None:
            x, h = (
                torch.mul(rows, power, out=buffers(name, *rows.shape)) for name, rows in (("x", x), ("h", h))
            )
        add_outer(sums["weight_ih"], into_x, x)
        add_outer(sums["weight_hh"], into_h, h)
        if "bias_ih" in sums:
            sums["bias_ih"] += summed(into_x, power)
            sums["bias_hh"] += summed(into_h, power)

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ (r̂, ẑ, n̂)`."""
        return self._into_x() @ self.block.weights.weight_ih

    def _into_x(self) -> Tensor:
        """`(r̂, ẑ, n̂)`, in the order of the rows of `weight_ih`."""
        n_hat, r_hat, z_hat, _ = self.delta.chunk(4, dim=-1)
        out = self.block.buffers("from_x", *n_hat.shape[:2], 3 * n_hat.shape[2])
        return torch.cat((r_hat, z_hat, n_hat), dim=-1, out=out)


class PushForwardGRU(PushForward):
    """A prime for a tangent, `a = U h_{t-1}' + W x_t'` by gate.

    h_t' = keep h_{t-1}' + to_r a_r + to_z a_z + to_q U_n h_{t-1}' + to_n W_n x_t'
    """

    def __init__(self, block: LinearisedGRU) -> None:
        self.size = self.output_size = block.h.shape[-1]
        self.from_h, self.from_x = (
            GateWeights(block.weights.weight_hh, 3),
            GateWeights(block.weights.weight_ih, 3),
        )
        to_n, to_r, to_z, to_q = block.factors.unbind(-2)
        self.steps = per_step(block.keep, to_r, to_z, to_q, to_n)

    def step(
        self, t: int, v: Tensor, out: Tensor, below: Tensor | None = None, own: Tensor | None = None
    ) -> None:
        """The sums over gates are one product each."""
        keep, to_r, to_z, to_q, to_n = (factor[t] for factor in self.steps)
        torch.mul(by_sample(v, keep), keep, out=by_sample(out, keep))
        self.from_h.add(v, (to_r, to_z, to_q), out)
        if below is not None:
            self.from_x.add(below, (to_r, to_z, to_n), out)
        if own is not None:
            add_gates(own, (to_r, to_z, to_n), out)
