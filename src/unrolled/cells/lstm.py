"""The long short-term memory, as `torch.nn.LSTM` defines it (Hochreiter, Schmidhuber 1997).

i, f, o = σ(W x_t + b + U h_{t-1})       g = tanh(W_g x_t + b_g + U_g h_{t-1})
c_t = f c_{t-1} + i g                    h_t = R (o tanh c_t), R the projection, if there is one
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cells.cell import Cell, Gate, State
from unrolled.cells.linearised import Buffers, Linearised, PullBack, as_columns, moved, summed
from unrolled.cells.push_forward import (
    GateWeights,
    Push,
    PushForward,
    Steps,
    by_sample,
    inverted,
    per_step,
)
from unrolled.cells.weights import Weights, add_outer, affine


class LSTM(Cell):
    """At rest every gate but g is ½, so `c_t = ½ c_{t-1} + ½ U_g h_{t-1}` with `h = ½ c`."""

    name, title = "lstm", "LSTM"
    gates = (
        Gate("i", "input gate"),
        Gate("f", "forget gate"),
        Gate("g", "cell gate"),
        Gate("o", "output gate"),
    )
    paths = ("h", "c")
    fused, stepped = nn.LSTM, nn.LSTMCell
    keeps, lets_in, candidate = "f", "i", "g"
    at_rest = (0.5, 0.25)
    inverse_share = 0.4
    moves_with_weights = True

    def step(self, weights: Weights, x: Tensor, state: State) -> State:
        """With a projection, `h` is `(B, P)` and `c` `(B, H)` (Sak, Senior, Beaufays 2014)."""
        h, c = state
        i, f, g, o = (weights.from_x(x) + weights.from_h(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h if weights.weight_hr is None else h @ weights.weight_hr.t(), c

    def linearise(
        self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None, buffers: Buffers
    ) -> Linearised:
        """See `LinearisedLSTM`."""
        if c is None:
            raise ValueError("an LSTM needs its first cell state")
        return LinearisedLSTM(weights, x, h, c, buffers)


class LinearisedLSTM(Linearised):
    """The factors by which pre-activations move `c_t`, and by which `a_o` and `c_t` move `m_t = o tanh c_t`.

        to_i = g i(1 - i)     to_f = c_{t-1} f(1 - f)     to_g = i (1 - g²)     keep = f
        to_o = tanh(c_t) o(1 - o)                         to_c = o (1 - tanh² c_t)

    The fused module keeps no cell states; they are summed up again from the gates, one operation a step. `m_t` is
    worked out again too, where `h` would do without a projection: it may have been rounded to a narrower dtype, and
    `o - m tanh c` is as good as its last digit where the cell is saturated.
    """

    def __init__(self, weights: Weights, x: Tensor, h: Tensor, c: Tensor, buffers: Buffers) -> None:
        self.weights, self.buffers, self.h = weights, buffers, h
        steps, (batch, size) = x.shape[0], c.shape
        inputs = buffers("inputs", steps, batch, x.shape[-1] + h.shape[-1])
        self.inputs = torch.cat((x, h[:-1]), dim=-1, out=inputs)
        # One plane for each gate: torch is several times faster where what it works on is contiguous.
        planes = buffers.planes("gates", 5, steps, batch, size)
        i, to_f, g, o, f = planes
        biases = [None] * 4 if weights.bias is None else weights.bias.chunk(4)
        joint = torch.cat((weights.weight_ih, weights.weight_hh), dim=-1)  # one product for x and h
        for gate, weight, bias in zip((i, f, g, o), joint.chunk(4), biases, strict=True):
            affine(inputs, weight, bias, out=gate)
            gate.tanh_() if gate is g else gate.sigmoid_()
        written = torch.mul(i, g, out=buffers("written", steps, batch, size))
        states = buffers("c", steps + 1, batch, size)
        states[0] = c
        every, new, forget = buffers.step_by_step("cell states", steps, states, written, f)
        for t in range(steps):
            torch.addcmul(new[t], forget[t], every[t], out=every[t + 1])

        tanh_c = torch.tanh(states[1:], out=buffers("tanh_c", steps, batch, size))
        self.output = torch.mul(o, tanh_c, out=buffers("output", steps, batch, size))
        # Factors take the place of what they are made of; s(1 - s) is written as s - s².
        self.to_c = torch.addcmul(o, self.output, tanh_c, value=-1, out=tanh_c)
        self.to_o = torch.addcmul(self.output, self.output, o, value=-1, out=o)
        torch.addcmul(f, f, f, value=-1, out=to_f).mul_(states[:-1])
        torch.addcmul(i, written, g, value=-1, out=g)
        torch.addcmul(written, written, i, value=-1, out=i)
        self.into_c, self.keep = planes[:3], f  # of the gates i, f, g

    def pull_back(self) -> PullBack:
        """Through `J_tᵀ`."""
        return PullBackLSTM(self)

    def push_forward(self) -> PushForward:
        """Through `J_t`."""
        return PushForwardLSTM(self)

    def of_weights(self, changes: Weights) -> Tensor:
        """Of the pre-activations of all gates, and below them what a change of the projection moves `h_t` by."""
        count, width = changes.weight_ih.shape[1], changes.weight_ih.shape[-1]
        pairs = ((changes.weight_ih, changes.bias_ih), (changes.weight_hh, changes.bias_hh))
        columns = as_columns(moved(pairs, (self.inputs[..., :width], self.inputs[..., width:])), count)
        if changes.weight_hr is None:
            return columns
        return torch.cat(
            (columns, as_columns(moved(((changes.weight_hr, None),), (self.output,)), count)), dim=1
        )


class PullBackLSTM(PullBack):
    """With `m̄ = Rᵀ h̄` (h̄ itself without a projection) and C̄ the total gradient of `c_t`.

    C̄ = c̄ + to_c m̄
    î = to_i C̄        f̂ = to_f C̄        ĝ = to_g C̄        ô = to_o m̄
    c̄_{t-1} = keep C̄        h̄_{t-1} = Uᵀ (î, f̂, ĝ, ô)
    """

    def __init__(self, block: LinearisedLSTM) -> None:
        self.block, buffers = block, block.buffers
        steps, batch, size = block.keep.shape
        h_bar, c_bar = buffers("h_bar", *block.h.shape), buffers("c_bar", steps + 1, batch, size)
        self.cotangents = (h_bar, c_bar)
        self._total = buffers("c_total", *c_bar.shape)
        m_bar = h_bar if block.weights.weight_hr is None else buffers("m_bar", *c_bar.shape)
        self.delta = buffers("delta", steps, batch, 4 * size)
        blocks = self.delta.view(steps, batch, 4, size).transpose(1, 2)
        self._steps = buffers.step_by_step(
            "pull",
            steps,
            *(h_bar, c_bar, m_bar, self._total, self._total.unsqueeze(1)),
            *(block.into_c.transpose(0, 1), block.keep, block.to_c, block.to_o),
            *(blocks[:, :3], blocks[:, 3], self.delta),
        )

    def pull(self, first: int, last: int) -> None:
        """Five operations a step, six with a projection."""
        h_bar, c_bar, m_bar, total, total_column, factors, keep, to_c, to_o, inner, outer_, delta = self._steps
        weight_hh, weight_hr = self.block.weights.weight_hh, self.block.weights.weight_hr
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
        return self.cotangents[0], self._total

    def add_gradients(self, power: Tensor | None, sums: dict[str, Tensor]) -> None:
        """`Σ δ_t x_tᵀ`, `Σ δ_t h_{t-1}ᵀ`, and `Σ h̄_t m_tᵀ` for the projection."""
        width = self.block.weights.weight_ih.shape[-1]
        inputs, output = self.block.inputs, self.block.output
        if power is not None:
            inputs, output = inputs.mul_(power), output.mul_(power)
        # One product for both: the deltas are read once.
        joint = self.delta.flatten(0, 1).t() @ inputs.flatten(0, 1)
        sums["weight_ih"] += joint[:, :width]
        sums["weight_hh"] += joint[:, width:]
        if "bias_ih" in sums:
            bias = summed(self.delta, power)
            sums["bias_ih"] += bias
            sums["bias_hh"] += bias
        if "weight_hr" in sums:
            add_outer(sums["weight_hr"], self.cotangents[0][1:], output)

    def input_cotangent(self) -> Tensor:
        """`x̄_t = Wᵀ δ_t`."""
        return self.delta @ self.block.weights.weight_ih


class PushForwardLSTM(PushForward):
    """A prime for a tangent and `a = U h_{t-1}' + W x_t'` gate by gate.

    c_t' = keep c_{t-1}' + to_i a_i + to_f a_f + to_g a_g
    h_t' = R (to_o a_o + to_c c_t')
    """

    def __init__(self, block: LinearisedLSTM) -> None:
        weights, cells = block.weights, block.keep.shape[-1]
        self.output_size, self.projection = block.h.shape[-1], weights.weight_hr
        self.size = self.output_size + cells
        each = (weights.weight_hh, weights.weight_ih)
        self.into_c = [GateWeights(weight[: 3 * cells], 3) for weight in each]
        self.into_h = [GateWeights(weight[3 * cells :], 1) for weight in each]
        self.keep, self.to_o = block.keep, block.to_o
        self.factors = per_step(block.keep, *block.into_c, block.to_o, block.to_c)
        self.steps = list(zip(*self.factors, strict=True))

    def step(
        self, t: int, v: Tensor, out: Tensor, below: Tensor | None = None, own: Tensor | None = None
    ) -> None:
        """The three gates that lead into the cell state are one product."""
        keep, to_i, to_f, to_g, to_o, to_c = self.steps[t]
        size, cells = self.output_size, out[self.output_size :]
        width = out.size(0) - size
        into_c, into_o = (None, None) if own is None else (own[: 3 * width], own[3 * width : 4 * width])
        torch.mul(by_sample(v[size:], keep), keep, out=by_sample(cells, keep))
        self.into_c[0].add(v[:size], (to_i, to_f, to_g), cells, into_c)
        if below is not None:
            self.into_c[1].add(below, (to_i, to_f, to_g), cells)
        hidden = out[:size] if self.projection is None else torch.empty_like(cells)
        torch.mul(by_sample(cells, to_c), to_c, out=by_sample(hidden, to_c))
        self.into_h[0].add(v[:size], (to_o,), hidden, into_o)
        if below is not None:
            self.into_h[1].add(below, (to_o,), hidden)
        if self.projection is not None:
            torch.mm(self.projection, hidden, out=out[:size])
            if own is not None:
                out[:size].add_(own[4 * width :])

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

    s = c' / keep        h'' = (U_o⁻ᵀ (h' - Kᵀ s)) / to_o        c'' = s - to_c h''
    """

    def __init__(self, weight: Tensor, inner: GateWeights, steps: list[tuple[Tensor, ...]]) -> None:
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
