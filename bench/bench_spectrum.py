"""What do Lyapunov exponents cost beside the straightforward way, and what memory does a long spectrum take?

pytest bench/bench_spectrum.py --benchmark-only
pytest bench/bench_spectrum.py --benchmark-only -k "rnn and full and 1-thread"

The straightforward way is dense: the Jacobian of every step as a matrix, a product with all tangents, and
`torch.linalg.qr` after each. Both ways know the network alone and run it themselves, in float64.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.spectrum import lyapunov_spectrum
from unrolled.spectrum.tangents import random_directions
from unrolled.speed.statistics import paired_ratio

H, T = 100, 1000
ROUNDS = 13  # the fewest that can lose an outlier at each end; see `unrolled.speed.statistics`
TOP = 10
SAME = 1e-6  # nats per step, between the exponents of both ways
BARS = {("rnn", None): 5, ("rnn", TOP): 20, ("lstm", None): 10}
LONG_LENGTHS, LONG_H = (10_000, 100_000), 32


def network(cell, dynamics):
    """A module and its input: `default` weights or `gain` 1.5, driven by noise; `chaos`, the latter without."""
    torch.manual_seed(0)
    module = {"rnn": nn.RNN, "lstm": nn.LSTM}[cell](H, H).double()
    if dynamics != "default":
        for block in module.weight_hh_l0.data.split(H):
            nn.init.normal_(block, std=1.5 / H**0.5)
    x = torch.randn(T, 1, H, dtype=torch.float64)
    return module, torch.zeros_like(x) if dynamics == "chaos" else x


class Contender:
    """A way of getting the `k` largest exponents, as `time_rounds` calls it."""

    def __init__(self, module, x, state, k):
        self.module, self.x, self.state, self.k = module, x, state, k or sum(s.shape[-1] for s in state)

    def reset(self):
        """Nothing is left from one call to the next."""


class Spectrum(Contender):
    """`lyapunov_spectrum`."""

    def __call__(self):
        """One timed call."""
        state = self.state if len(self.state) > 1 else self.state[0]
        return lyapunov_spectrum(self.module, self.x, k=self.k, state=state).part().mean


class Dense(Contender):
    """A matrix for the Jacobian of each step, and a QR factorisation after each."""

    @torch.no_grad()
    def __call__(self):
        """One timed call."""
        size = sum(part.shape[-1] for part in self.state)
        q = random_directions(size, self.k, self.x)
        total = self.x.new_zeros(self.k)
        for jacobian in self.jacobians():
            q, r = torch.linalg.qr(jacobian @ q)
            total += r.diagonal().abs().log()
        return (total / len(self.x)).numpy()


class DenseRNN(Dense):
    """`diag(1 - h²) W`, of states from one fused forward pass."""

    def jacobians(self):
        """One step after the other."""
        for h in self.module(self.x, self.state[0])[0].squeeze(1):
            yield torch.diag(1 - h * h) @ self.module.weight_hh_l0


class DenseLSTM(Dense):
    """`torch.func.jacrev` of the cell's step, of `(h, c)`."""

    def jacobians(self):
        """One step after the other, which gives the next state besides."""
        jacobian = torch.func.jacrev(self.step, argnums=1, has_aux=True)
        state = torch.cat([part.flatten() for part in self.state])
        for x in self.x.squeeze(1):
            found, state = jacobian(x, state)
            yield found

    def step(self, x, state):
        """The definition of `torch.nn.LSTM`, one step; the new state twice, to be kept and differentiated."""
        h, c = state.split(H)
        module = self.module
        from_x = module.weight_ih_l0 @ x + module.bias_ih_l0
        i, f, g, o = (from_x + module.weight_hh_l0 @ h + module.bias_hh_l0).split(H)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        state = torch.cat((o.sigmoid() * c.tanh(), c))
        return state, state


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request):
    """Both, as `--threads` would ask for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def ratio(dense, ours, time_rounds):
    """How many times as long the dense way takes, as words; both must find the same exponents first."""
    np.testing.assert_allclose(ours(), np.sort(dense()[: ours.k])[::-1], rtol=0, atol=SAME)
    timed = time_rounds(ours, dense, rounds=ROUNDS)
    if not timed:
        return None
    found = paired_ratio(timed[1], timed[0])
    micro = [1e6 * float(np.median(each)) / T for each in timed]
    return (
        f"{found.ratio:.1f}x faster (99 %: {found.low:.1f} to {found.high:.1f}), {micro[0]:.0f} against "
        f"{micro[1]:.0f} microseconds a step"
    )


@pytest.mark.parametrize("dynamics", ["default", "gain", "chaos"])
@pytest.mark.parametrize(("cell", "k"), BARS, ids=["rnn-full", f"rnn-top-{TOP}", "lstm-full"])
def bench_exponents(cell, k, dynamics, threads, time_rounds, say):
    """All exponents, or the first few, against the dense way of getting them all."""
    module, x = network(cell, dynamics)
    # The same trajectory from a state that is no special one.
    state = tuple(0.5 * torch.randn(1, 1, H, dtype=torch.float64) for _ in range(1 + (cell == "lstm")))
    dense = (DenseRNN if cell == "rnn" else DenseLSTM)(module, x, state, None)
    found = ratio(dense, Spectrum(module, x, state, k), time_rounds)
    if found:
        say(
            f"{cell}, {dynamics}, {f'the first {k}' if k else 'all'} of N = {dense.k} exponents, "
            f"{threads} thread{'s' * (threads > 1)}: {found}; bar {BARS[cell, k]}x"
        )


def bench_few_against_few(threads, time_rounds, say):
    """The first few exponents against a dense way that follows no more than these either."""
    module, x = network("rnn", "gain")
    state = (0.5 * torch.randn(1, 1, H, dtype=torch.float64),)
    found = ratio(DenseRNN(module, x, state, TOP), Spectrum(module, x, state, TOP), time_rounds)
    if found:
        say(f"rnn, gain, the first {TOP}, dense for {TOP} too, {threads} thread{'s' * (threads > 1)}: {found}")


LONG = r"""
import re, sys, torch, unrolled
from pathlib import Path

def peak():  # since the process began; what getrusage tells may be its parent's
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

steps, size = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
module, x = torch.nn.RNN(size, size), torch.randn(steps, 1, size)
before = peak()
spectrum = unrolled.lyapunov_spectrum(module, x, progress=sys.stderr.isatty())
assert spectrum.part().k == size
print(peak() - before)
"""


def bench_memory_of_a_long_spectrum(benchmark, say):
    """The most memory that a spectrum over a long input takes beside that input, in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process is read from /proc, which is Linux's")
    found = {}

    def measure():
        for steps in LONG_LENGTHS:
            command = [sys.executable, "-c", LONG, str(steps), str(LONG_H)]
            found[steps] = int(subprocess.run(command, capture_output=True, check=True).stdout) / 1024

    benchmark.pedantic(measure, rounds=1)
    say(
        f"rnn, N = {LONG_H}, peak memory beside the input over T = "
        f"{', '.join(f'{steps:,}: {size:.1f} MiB' for steps, size in found.items())}"
    )
    shorter, longer = found.values()
    assert longer < shorter + 8, "memory grows with the length"
