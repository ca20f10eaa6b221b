"""The long short-term memory, as `torch.nn.LSTM` defines it (Hochreiter, Schmidhuber 1997).

i, f, o = σ(W x_t + b + U h_{t-1})       g = tanh(W_g x_t + b_g + U_g h_{t-1})
c_t = f c_{t-1} + i g                    h_t = R (o tanh c_t), R the projection, if there is one
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.gradients.recurrence.linearised import Linearised, buffer, summed
from unrolled.gradients.recurrence.weights import Weights, add_outer, affine


class LSTM(Linearised):
    """The pull-back, with `m̄ = Rᵀ h̄` (h̄ itself without a projection) and C̄ the total gradient of `c_t`.

        C̄ = c̄ + o (1 - tanh² c_t) m̄
        î = g i(1 - i) C̄     f̂ = c_{t-1} f(1 - f) C̄     ĝ = i (1 - g²) C̄     ô = tanh(c_t) o(1 - o) m̄
        c̄_{t-1} = f C̄        h̄_{t-1} = Uᵀ (î, f̂, ĝ, ô)

    The fused module keeps no cell states; they are summed up again from the gates, one operation a step.
    """

    paths = ("h", "c")

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None = None) -> None:
        if c is None:
            raise ValueError("an LSTM needs its first cell state")
        self.weights, self.x, self.h = weights, x, h
        steps, (batch, size) = x.shape[0], c.shape
        gates = affine(torch.cat((x, h[:-1]), dim=-1), _joint(weights), weights.bias)
        gates[..., : 2 * size].sigmoid_()
        gates[..., 2 * size : 3 * size].tanh_()
        gates[..., 3 * size :].sigmoid_()
        i, f, g, o = gates.chunk(4, dim=-1)
        self.c = buffer(h, steps + 1, batch, size)
        self.c[0] = c
        torch.mul(i, g, out=self.c[1:])
        states = self.c.unbind()
        for t, forget in enumerate(f.unbind()):
            states[t + 1].addcmul_(forget, states[t])

        tanh_c = self.c[1:].tanh()
        self._output = o * tanh_c
        to_o = self._output * (1 - o)
        to_c = torch.addcmul(o, self._output, tanh_c, value=-1)
        keep = f.contiguous()
        factors = buffer(h, steps, batch, 3, size)
        torch.mul(g * i, 1 - i, out=factors[:, :, 0])
        torch.mul(self.c[:-1] * f, 1 - f, out=factors[:, :, 1])
        torch.mul(i, 1 - g * g, out=factors[:, :, 2])

        h_bar, c_bar = buffer(h, *h.shape), buffer(h, *self.c.shape)
        self.cotangents = (h_bar, c_bar)
        self._c_total = buffer(h, *self.c.shape)
        self._m_bar = h_bar if weights.weight_hr is None else buffer(h, *self.c.shape)
        self.delta = buffer(h, steps, batch, 4 * size)
        blocks = self.delta.view(steps, batch, 4, size)
        self._steps = [
            part.unbind()
            for part in (
                *(h_bar, c_bar, self._m_bar, self._c_total, self._c_total.unsqueeze(2)),
                *(factors, keep, to_c, to_o, blocks[:, :, :3], blocks[:, :, 3], self.delta),
            )
        ]

    def pull(self, first: int, last: int) -> None:
        """Five operations a step, six with a projection."""
        h_bar, c_bar, m_bar, total, total_column, factors, keep, to_c, to_o, inner, outer_, delta = self._steps
        weight_hh, weight_hr = self.weights.weight_hh, self.weights.weight_hr
        for t in range(last - 1, first - 1, -1):
            after = t + 1
            if weight_hr is not None:
                torch.mm(h_bar[after], weight_hr, out=m_bar[after])
            torch.addcmul(c_bar[after], m_bar[after], to_c[t], out=total[after])
            torch.mul(total_column[after], factors[t], out=inner[t])
            torch.mul(m_bar[after], to_o[t], out=outer_[t])
            c_bar[t].addcmul_(total[after], keep[t])
            h_bar[t].addmm_(delta[t], weight_hh)

    def totals(self) -> tuple[Tensor, ...]:
        """`h̄`, and C̄ in place of `c̄`."""
        return self.cotangents[0], self._c_total

    def add_gradients(self, power: Tensor, sums: dict[str, Tensor]) -> None:
        """`Σ δ_t x_tᵀ`, `Σ δ_t h_{t-1}ᵀ`, and `Σ h̄_t (o tanh c_t)ᵀ` for the projection."""
        add_outer(sums["weight_ih"], self.delta, self.x * power)
        add_outer(sums["weight_hh"], self.delta, self.h[:-1] * power)
        if "bias_ih" in sums:
            bias = summed(self.delta, power)
            sums["bias_ih"] += bias
            sums["bias_hh"] += bias
        if "weight_hr" in sums:
            add_outer(sums["weight_hr"], self.cotangents[0][1:], self._output * power)

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ δ_t`."""
        return self.delta @ self.weights.weight_ih


def _joint(weights: Weights) -> Tensor:
    """`(W U)`, so that one product gives all gates of all steps."""
    return torch.cat((weights.weight_ih, weights.weight_hh), dim=-1)
