"""The long short-term memory, as `torch.nn.LSTM` defines it (Hochreiter, Schmidhuber 1997).

i, f, o = σ(W x_t + b + U h_{t-1})       g = tanh(W_g x_t + b_g + U_g h_{t-1})
c_t = f c_{t-1} + i g                    h_t = R (o tanh c_t), R the projection, if there is one
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.cells.linearised import Buffers, Linearised, summed
from unrolled.cells.push_forward import (
    Gates,
    Push,
    PushForward,
    Steps,
    by_sample,
    inverted,
    per_step,
)
from unrolled.cells.weights import Weights, add_outer, affine


class LSTM(Linearised):
    """The pull-back, with `m̄ = Rᵀ h̄` (h̄ itself without a projection) and C̄ the total gradient of `c_t`.

        C̄ = c̄ + o (1 - tanh² c_t) m̄
        î = g i(1 - i) C̄     f̂ = c_{t-1} f(1 - f) C̄     ĝ = i (1 - g²) C̄     ô = tanh(c_t) o(1 - o) m̄
        c̄_{t-1} = f C̄        h̄_{t-1} = Uᵀ (î, f̂, ĝ, ô)

    The fused module keeps no cell states; they are summed up again from the gates, one operation a step.
    """

    paths = ("h", "c")

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None, buffers: Buffers) -> None:
        if c is None:
            raise ValueError("an LSTM needs its first cell state")
        self.weights = weights
        steps, (batch, size) = x.shape[0], c.shape
        inputs = buffers("inputs", steps, batch, x.shape[-1] + h.shape[-1])
        self._inputs = torch.cat((x, h[:-1]), dim=-1, out=inputs)
        # One plane for each gate: torch is several times faster where what it works on is contiguous.
        planes = buffers.planes("gates", 5, steps, batch, size)
        i, to_f, g, o, f = planes
        biases = [None] * 4 if weights.bias is None else weights.bias.chunk(4)
        for gate, weight, bias in zip((i, f, g, o), _joint(weights).chunk(4), biases, strict=True):
            affine(inputs, weight, bias, out=gate)
            gate.tanh_() if gate is g else gate.sigmoid_()
        written = torch.mul(i, g, out=buffers("written", steps, batch, size))
        states = buffers("c", steps + 1, batch, size)
        states[0] = c
        every = states.unbind()
        for before, after, new, forget in zip(every, every[1:], written.unbind(), f.unbind(), strict=False):
            torch.addcmul(new, forget, before, out=after)

        tanh_c = torch.tanh(states[1:], out=buffers("tanh_c", steps, batch, size))
        if weights.weight_hr is None:
            self._output = h[1:]
        else:  # the states are projections of it
            self._output = torch.mul(o, tanh_c, out=buffers("output", steps, batch, size))
        to_c = torch.addcmul(o, self._output, tanh_c, value=-1, out=tanh_c)
        # Gate by gate, what its cotangent is made with takes its place; s(1 - s) is written as s - s².
        torch.addcmul(self._output, self._output, o, value=-1, out=o)
        torch.addcmul(f, f, f, value=-1, out=to_f).mul_(states[:-1])
        torch.addcmul(i, written, g, value=-1, out=g)
        torch.addcmul(written, written, i, value=-1, out=i)

        h_bar, c_bar = buffers("h_bar", *h.shape), buffers("c_bar", *states.shape)
        self.cotangents = (h_bar, c_bar)
        self._c_total = buffers("c_total", *states.shape)
        self._m_bar = h_bar if weights.weight_hr is None else buffers("m_bar", *states.shape)
        self.delta = buffers("delta", steps, batch, 4 * size)
        blocks = self.delta.view(steps, batch, 4, size).transpose(1, 2)
        self._steps = buffers.step_by_step(
            steps,
            *(h_bar, c_bar, self._m_bar, self._c_total, self._c_total.unsqueeze(1)),
            *(planes[:3].transpose(0, 1), f, to_c, o, blocks[:, :3], blocks[:, 3], self.delta),
        )

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
        width = self.weights.weight_ih.shape[-1]
        weighted = self._inputs.mul_(power)
        # One product for both: the deltas are read once.
        joint = self.delta.flatten(0, 1).t() @ weighted.flatten(0, 1)
        sums["weight_ih"] += joint[:, :width]
        sums["weight_hh"] += joint[:, width:]
        if "bias_ih" in sums:
            bias = summed(self.delta, power)
            sums["bias_ih"] += bias
            sums["bias_hh"] += bias
        if "weight_hr" in sums:
            add_outer(sums["weight_hr"], self.cotangents[0][1:], self._output.mul_(power))

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ δ_t`."""
        return self.delta @ self.weights.weight_ih


def _joint(weights: Weights) -> Tensor:
    """`(W U)`, so that one product gives all gates of all steps."""
    return torch.cat((weights.weight_ih, weights.weight_hh), dim=-1)


class PushedLSTM(PushForward):
    """The push-forward, a prime for a tangent and `a = U h_{t-1}' + W x_t'` gate by gate.

    c_t' = f c_{t-1}' + g i(1 - i) a_i + c_{t-1} f(1 - f) a_f + i (1 - g²) a_g
    h_t' = R (tanh(c_t) o(1 - o) a_o + o (1 - tanh² c_t) c_t')
    """

    lower = 0.4

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None) -> None:
        if c is None:
            raise ValueError("an LSTM needs its first cell state")
        self.output_size, cells = h.shape[-1], c.shape[-1]
        self.size, self.projection = self.output_size + cells, weights.weight_hr
        self.into_c, self.into_h = zip(
            *(
                (Gates(w[: 3 * cells], 3), Gates(w[3 * cells :], 1))
                for w in (weights.weight_hh, weights.weight_ih)
            ),
            strict=True,
        )
        inputs = torch.cat((x, h[:-1]), dim=-1)
        gates = affine(inputs, _joint(weights), weights.bias, h.new_empty(*inputs.shape[:2], 4 * cells))
        i, f, g, o = gates.chunk(4, dim=-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        states = h.new_empty(len(h), *c.shape)
        states[0] = c
        every = states.unbind()
        for before, after, new, keep in zip(every, every[1:], (i * g).unbind(), f.unbind(), strict=False):
            torch.addcmul(new, keep, before, out=after)
        tanh_c = states[1:].tanh()
        to_i, to_f, to_g = g * i * (1 - i), states[:-1] * f * (1 - f), i * (1 - g * g)
        self.keep, self.to_o = f, tanh_c * o * (1 - o)
        self.factors = per_step(f, to_i, to_f, to_g, self.to_o, o * (1 - tanh_c * tanh_c))
        self.steps = list(zip(*self.factors, strict=True))

    def step(self, t: int, v: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """The three gates that lead into the cell state are one product."""
        keep, to_i, to_f, to_g, to_o, to_c = self.steps[t]
        size, cells = self.output_size, out[self.output_size :]
        sources = [v[:size]] if below is None else [v[:size], below]
        torch.mul(by_sample(v[size:], keep), keep, out=by_sample(cells, keep))
        for source, gates in zip(sources, self.into_c, strict=False):
            gates.add(source, (to_i, to_f, to_g), cells)
        hidden = out[:size] if self.projection is None else torch.empty_like(cells)
        torch.mul(by_sample(cells, to_c), to_c, out=by_sample(hidden, to_c))
        for source, gates in zip(sources, self.into_h, strict=False):
            gates.add(source, (to_o,), hidden)
        if self.projection is not None:
            torch.mm(self.projection, hidden, out=out[:size])

    def inverse(self) -> Push | None:
        """`J_t⁻ᵀ`, for a square output gate and no projection."""
        weight = inverted(self.into_h[0].weight) if self.projection is None else None
        if weight is None or not bool(((self.to_o != 0) & (self.keep > 0)).all()):
            return None
        by_f, by_o = per_step(1 / self.keep, 1 / self.to_o)
        _, *inner, _, to_c = self.factors
        return InverseLSTM(weight, self.into_c[0], list(zip(by_f, *inner, by_o, to_c, strict=True)))


class InverseLSTM(Steps):
    """The steps of `J_t⁻ᵀ`: `(h', c')` with `K = Σ factor_g U_g` over the gates i, f, g becomes

    s = c' / f        h'' = (U_o⁻ᵀ (h' - Kᵀ s)) / (tanh(c_t) o(1 - o))        c'' = s - o (1 - tanh² c_t) h''
    """

    def __init__(self, weight: Tensor, inner: Gates, steps: list[tuple[Tensor, ...]]) -> None:
        self.weight, self.inner, self.steps, self.size = weight, inner, steps, len(weight)

    def step(self, t: int, v: Tensor, out: Tensor) -> None:
        """Two products a step."""
        by_f, to_i, to_f, to_g, by_o, to_c = self.steps[t]
        merged, old = self.inner.merged((to_i, to_f, to_g)), v[: self.size]
        h, c = out.tensor_split((self.size,))
        torch.mul(by_sample(v[self.size :], by_f), by_f, out=by_sample(c, by_f))
        if merged.dim() == 2:
            rest = torch.addmm(old, merged.t(), c, alpha=-1)
        else:
            before, now = (by_sample(part, by_f).transpose(0, 1) for part in (old, c))
            rest = torch.baddbmm(before, merged.mT, now, alpha=-1).transpose(0, 1).reshape_as(old)
        torch.mm(self.weight, rest, out=h)
        by_sample(h, by_o).mul_(by_o)
        by_sample(c, to_c).addcmul_(to_c, by_sample(h, to_c), value=-1)
