"""What does `gradient_flow` cost beside a plain forward and backward pass, and what does the usual way cost?

pytest bench/bench_gradient_flow.py --benchmark-only
pytest bench/bench_gradient_flow.py --benchmark-only -k million      (also a million steps; minutes)
"""

import json
import math
from time import perf_counter

import pytest
import torch
from examples.cells.peephole_lstm import PeepholeLSTM
from torch import nn
from torch.profiler import profile

from unrolled.cells.build import Unrolled
from unrolled.gradients import gradient_flow
from unrolled.gradients.sensitivity import sensitivities
from unrolled.rollout.arguments import Arguments
from unrolled.rollout.record import Rollout
from unrolled.rollout.targets import targets_of
from unrolled.speed.statistics import paired_ratio

T, B, INPUT, H = 200, 32, 128, 128
OWN_B, OWN_H = 8, 64
THREADS = 2
ROUNDS = 13  # the fewest that can lose an outlier at each end; see `unrolled.speed.statistics`
FUSED = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CELLS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
BARS = {"rnn": 1.3, "gru": 1.3, "lstm": 1.6}
MEMORY_LENGTHS = (50, 100, 200)
MILLION_LENGTHS = (10_000, 100_000, 1_000_000)


@pytest.fixture(autouse=True)
def threads(threads_asked):
    """Two threads, unless `--threads` asks for another number."""
    with threads_asked(THREADS):
        yield


def network(cell, weights):
    """`default` initialisation, or weights that `hold` the gradient: orthogonal, and gates that keep."""
    torch.manual_seed(0)
    module = FUSED[cell](INPUT, H)
    if weights == "hold":
        for block in module.weight_hh_l0.data.split(H):
            nn.init.orthogonal_(block)
        if cell == "rnn":
            module.weight_ih_l0.data.mul_(0.05)
        else:
            module.bias_ih_l0.data[H : 2 * H].fill_(5.0)
    return module


def last_step(output):
    """A loss of the last step alone, the same for all contenders."""
    return (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum()


class Contender:
    """A way of getting a gradient, as `time_rounds` calls it."""

    def __init__(self, module, x):
        self.module, self.x = module, x

    def reset(self):
        """Outside the clock: gradients back to None."""
        self.module.zero_grad(set_to_none=True)


class Plain(Contender):
    """Forward and backward of the fused module: no gradient of any state."""

    def __call__(self):
        """One timed call."""
        last_step(self.module(self.x)[0][-1]).backward()


class Flow(Contender):
    """`gradient_flow`: every state's total gradient, and the weights' gradients with it."""

    def __call__(self):
        """One timed call."""
        return gradient_flow(self.module, self.x, lambda result: last_step(result[0][-1]))


class Loop(Contender):
    """The way people do it now: a cell in a loop, `retain_grad` on every state, a norm for each."""

    def __init__(self, module, x):
        super().__init__(module, x)
        name = next(name for name, kind in FUSED.items() if isinstance(module, kind))
        self.cell = CELLS[name](INPUT, H)
        for short in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(self.cell, short, getattr(module, f"{short}_l0"))

    def __call__(self):
        """One timed call."""
        states, state = [], None
        for x_t in self.x:
            state = self.cell(x_t, state)
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                part.retain_grad()
            states.append(parts)
        last_step(states[-1][0]).backward()
        return [
            torch.stack([torch.zeros(B) if part.grad is None else part.grad.norm(dim=-1) for part in path])
            for path in zip(*states, strict=True)
        ]


def check(module, x):
    """Both must find the same norms before any clock is read; those that float32 autograd still holds."""
    module.zero_grad(set_to_none=True)
    loop, flow = Loop(module, x)(), Flow(module, x)()
    for norms, found in zip(loop, flow, strict=True):
        samples = torch.from_numpy(found.samples).flip(0).exp2()
        visible = norms > 1e-15
        torch.testing.assert_close(norms.double()[visible], samples[visible], rtol=1e-3, atol=0)


@pytest.mark.parametrize("contender", [Flow, Loop], ids=["flow", "loop"])
@pytest.mark.parametrize("weights", ["default", "hold"])
@pytest.mark.parametrize("cell", FUSED)
def bench_cost(cell, weights, contender, time_rounds, say):
    """One step's ratio to the plain one, as the median of rounds of both."""
    module, x = network(cell, weights), torch.randn(T, B, INPUT, generator=torch.Generator().manual_seed(1))
    check(module, x)
    plain, other = Plain(module, x), contender(module, x)
    for one in (plain, other):
        one.reset()
        one()
    if timed := time_rounds(other, plain, rounds=ROUNDS):
        found = paired_ratio(*timed)
        what = "gradient_flow" if contender is Flow else "cells in a loop with retain_grad"
        initial = "default initialisation" if weights == "default" else "weights that hold the gradient"
        bar = f", bar {BARS[cell]}x" if contender is Flow else ""
        say(
            f"{cell}, {initial}: {what} {found.ratio:.2f}x plain forward and backward "
            f"(99 %: {found.low:.2f} to {found.high:.2f}{bar}), plain "
            f"{1e3 * sorted(timed[1])[ROUNDS // 2]:.0f} ms, {torch.get_num_threads()} threads"
        )


@pytest.mark.parametrize("weights", ["default", "hold"])
def bench_own_cell(weights, time_rounds, say):
    """A peephole LSTM that somebody else wrote, in a loop: `gradient_flow` beside the same loop's own pass."""
    torch.manual_seed(0)
    module = Unrolled(PeepholeLSTM, OWN_H, OWN_H)
    if weights == "hold":
        module.cells[0].from_input.bias.data[OWN_H : 2 * OWN_H].fill_(5.0)
    x = torch.randn(T, OWN_B, OWN_H, generator=torch.Generator().manual_seed(1))
    plain, flow = Plain(module, x), Flow(module, x)
    for each in (plain, flow):
        each.reset()
        each()
    if timed := time_rounds(flow, plain, rounds=ROUNDS):
        found = paired_ratio(*timed)
        initial = "default initialisation" if weights == "default" else "weights that hold the gradient"
        say(
            f"own cell (peephole LSTM), T = {T}, B = {OWN_B}, H = {OWN_H}, {initial}: gradient_flow "
            f"{found.ratio:.2f}x plain forward and backward of the same loop (99 %: {found.low:.2f} to "
            f"{found.high:.2f}, bar 1.5x), plain {1e3 * sorted(timed[1])[ROUNDS // 2]:.0f} ms, "
            f"{torch.get_num_threads()} threads"
        )


class Forward(Contender):
    """The forward pass of the fused module alone."""

    def __call__(self):
        """One timed call."""
        with torch.no_grad():
            self.module(self.x)


class Moved(Contender):
    """How far its states move with its weights, beyond a forward pass that is known."""

    def __init__(self, module, x):
        super().__init__(module, x)
        call = Arguments.of(module, x, None)
        (self.call,) = Rollout.of(call, targets_of(module, ()), 1).calls

    def __call__(self):
        """One timed call."""
        return sensitivities(self.call)


@pytest.mark.parametrize("cell", FUSED)
def bench_sensitivity(cell, time_rounds, say):
    """`sensitivity=True` of `gradient_flow`: what it costs more, in forward passes."""
    module, x = network(cell, "default"), torch.randn(T, B, INPUT, generator=torch.Generator().manual_seed(1))
    forward, moved = Forward(module, x), Moved(module, x)
    for each in (forward, moved):
        each()
    if timed := time_rounds(moved, forward, rounds=ROUNDS):
        found = paired_ratio(*timed)
        say(
            f"{cell}, T = {T}, B = {B}, H = {H}: sensitivities cost {found.ratio:.1f} forward passes (99 %: "
            f"{found.low:.1f} to {found.high:.1f}, bar 10), of {1e3 * sorted(timed[1])[ROUNDS // 2]:.1f} ms, "
            f"{torch.get_num_threads()} threads"
        )


def peak_bytes(call, folder):
    """The most that torch's allocator held at once during `call`, beyond what it held before; exact."""
    call()
    with profile(profile_memory=True) as recorded:
        call()
    path = folder / "trace.json"
    recorded.export_chrome_trace(str(path))
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event["name"] == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    held = peak = 0
    for event in events:
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("cell", FUSED)
def bench_memory(cell, benchmark, say, tmp_path):
    """Bytes held at once, in units of the states' own, `T * B * H` numbers, over lengths."""
    batch = 4
    found = {}

    def measure():
        for steps in MEMORY_LENGTHS:
            module, x = network(cell, "hold"), torch.randn(steps, batch, INPUT)
            states = 4 * steps * batch * H
            found[steps] = [peak_bytes(one(module, x), tmp_path) / states for one in (Flow, Plain)]

    benchmark.pedantic(measure, rounds=1)
    flows, plains = zip(*found.values(), strict=True)
    say(
        f"{cell}, peak memory over T = {', '.join(map(str, found))} in units of T B H numbers: gradient_flow "
        f"{', '.join(f'{value:.1f}' for value in flows)}; plain {', '.join(f'{v:.1f}' for v in plains)}"
    )
    assert flows[-1] <= 1.1 * flows[0], "memory grows faster than the length"


@pytest.mark.parametrize("cell", FUSED)
def bench_million(cell, benchmark, say, request):
    """Time per step up to a million steps, at B = 1 and H = 32."""
    if "million" not in request.config.option.keyword:
        pytest.skip("takes minutes; ask for it with -k million")
    per_step = {}

    def measure():
        torch.manual_seed(0)
        module = FUSED[cell](32, 32)
        for steps in MILLION_LENGTHS:
            x = torch.randn(steps, 1, 32)
            start = perf_counter()
            flow = gradient_flow(module, x, lambda result: last_step(result[0][-1]))
            per_step[steps] = 1e6 * (perf_counter() - start) / steps
            assert all(math.isfinite(profile.log2_norm[0]) for profile in flow)

    benchmark.pedantic(measure, rounds=1)
    figures = ", ".join(f"{steps:,}: {micro:.1f}" for steps, micro in per_step.items())
    say(f"{cell}, B = 1, H = 32, microseconds per step over T = {figures}")
