"""Is it the same work as it is timed? In the timed dtype, at full size, before the clock and after it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor, nn

from unrolled.networks.workload import Workload
from unrolled.speed.equivalence import (
    Equivalence,
    called,
    compare,
    is_gradient,
    is_of_parameter,
    largest,
    probed,
    relative_error,
    truth,
)
from unrolled.speed.step import Quantities, Step, draws, same_draws, train
from unrolled.torch_settings import settings_kept

FRESH_STREAM = 1000  # of the random numbers, and those after it: one for each check
# A contender may be this much further from the truth than the reference is.
FACTOR = 6
# Unit roundoffs, at the least, of what goes through a few sums and nonlinearities.
ROUNDINGS = 4
FLOAT32 = 2.0**-24
# A norm that so many entries make up may by chance be small beside what was summed.
FEW = 32
# What may differ by more than this share in spite of rounding alone is not compared.
LARGEST = 0.5
# The cells whose derivative has no jumps.
SMOOTH = ("rnn_tanh", "gru", "lstm")


class Rounding:
    """What rounding in the timed dtype does to this workload: the largest error that it explains.

    The reference shows it: `e` is its own error against the truth, which is the recurrence in float64 with the same
    rounded weights, input and state; the largest one of values (output, final states), of gradients of input and
    state, or of those of parameters. Another order of the same operations has another error of that size, or of some
    roundings where the reference, which may compute in a wider format, has less:

        tolerance = 6 max(e, c u),  u the unit roundoff,
        c = 4 for values and for gradients of input and state,
        c = 4 + sqrt(T) + sqrt(T B) min(1, 2^-24 / u) for parameters,

    whose gradients are sums of T terms in that dtype, each a sum of B in float32 at the least. Where the derivative of
    a cell jumps (relu; of anybody's cell it is not known), a share of about u of all steps takes the other side of the
    jump, and one step may in any case: to the `c u` of gradients comes `sqrt(u) + 1 / sqrt(T B H)`. Errors are norms,
    relative to that of the truth, so that one such step does not decide. A norm of n entries that count may by chance
    be small beside what was summed: the tolerance of a quantity is `1 + 32 / n` times as large, n the participation
    ratio of its entries.

    Measured on the CPU with torch's weights, for four cells, 1 to 4 layers, 10 to 500 steps, 1 to 2048 sequences,
    float32, bfloat16 and float16: `cells` and `hoisted` differ from the truth and from the reference by at most 1.1
    max(e, c u) in values and 2 in gradients; with weights three times as large, 1.7 and 2.8; for one sequence of 3
    steps and networks of two units, where `1 + 32 / n` counts, 3.8. Values have 24 u at the least: 1.4e-6 in float32,
    where an output times 1.001 is off by 1e-3 and float16 by 7e-4, and 0.09 in bfloat16. What rounding alone may
    change by half is not compared: a chaotic network over many steps, float16 that runs out of exponents, gradients of
    relu in 16 bits, those of parameters over 500 steps of bfloat16.
    """

    def __init__(self, workload: Workload, true: Quantities, found: Quantities) -> None:
        """From the truth, as far as it is known, and what the reference gives in its place."""
        u = unit_roundoff(workload)
        jumps = 0.0
        if workload.cell not in SMOOTH:
            jumps = math.sqrt(u) + 1 / math.sqrt(probed(workload).tokens * workload.hidden_sizes[0])
        sums = math.sqrt(workload.seq_len) * u + math.sqrt(workload.tokens) * min(u, FLOAT32)
        at_least = {
            "values": ROUNDINGS * u,
            "gradients": ROUNDINGS * u + jumps,
            "parameters": ROUNDINGS * u + sums + jumps,
        }
        errors: dict[str, list[float]] = {kind: [0.0] for kind in at_least}
        for name, each in true.items():
            if each is not None and (own := found[name]) is not None:
                errors[_kind(name)].append(relative_error(each, own))
        self._tolerances = {kind: _tolerance(errors[kind], least) for kind, least in at_least.items()}

    def __call__(self, name: str, true: Tensor) -> float:
        """The tolerance of a quantity; infinite where rounding alone decides."""
        tolerance = self._tolerances[_kind(name)]
        return max(tolerance, min(tolerance * (1 + FEW / _entries(true)), LARGEST))


def _kind(name: str) -> str:
    if not is_gradient(name):
        return "values"
    return "parameters" if is_of_parameter(name) else "gradients"


def _tolerance(errors: list[float], at_least: float) -> float:
    allowed = [FACTOR * error for error in (at_least, *errors)]
    return max(allowed) if all(each <= LARGEST for each in allowed) else math.inf  # also where one is NaN


def _entries(tensor: Tensor) -> float:
    """How many entries of a tensor its norm is made of: the participation ratio, 1 for a single one."""
    squares = tensor.double().square()
    scaled = squares / squares.max()
    return float(scaled.sum().square() / scaled.square().sum()) if squares.any() else 1.0


def unit_roundoff(workload: Workload) -> float:
    """Half the spacing of numbers near 1 that products of the workload's dtype are computed with."""
    if workload.device != "cpu" and workload.dtype == "float32" and torch.backends.cudnn.allow_tf32:
        return 2.0**-11  # TF32, which cuDNN's recurrences use unless told otherwise
    return torch.finfo(getattr(torch, workload.dtype)).eps / 2


class AsTimed:
    """What is lent to the contenders of a race: the parameters and buffers of the reference; and is it the same work?

    Made once for a race, before any contender is built.
    """

    def __init__(
        self, workload: Workload, phase: str, reference: nn.Module, streams: Iterator[int] | None = None
    ) -> None:
        self.workload, self.phase, self.reference = workload, phase, reference
        self._lent = {
            name: (each, each.detach().clone(), each.requires_grad) for name, each in _tensors(reference)
        }
        self._own: set[str] = set()  # what a call of the reference itself changes
        self._streams = count(FRESH_STREAM) if streams is None else streams
        self._target = workload.target()
        # The loss is a mean: its gradient is of about this size, which float16 has to hold.
        self._scale = 2.0 ** round(math.log2(2 / self._target.numel()))
        train(reference, phase)
        # Random numbers that a cell draws in float64 are others: the reference then stands for the truth.
        first = self._fresh_input()[:1]
        is_known = not (workload.is_own and draws(reference, first))
        self._true = truth(probed(workload), phase) if is_known else {}
        self._tolerance = Rounding(workload, self._true, self._from_a_state(reference))
        self._own = set(self._changed())
        self.restore()

    def check(self, module: nn.Module, *, from_a_state: bool = True) -> Equivalence:
        """Whether `module` computes what the reference does, and leaves alone what it shares.

        At full size, from no initial state and with an input that it has not seen, as the reference; then from a random
        initial state, for up to `CHECKED_BATCH` sequences, as the recurrence in float64. The second one has other
        shapes, for which what compiles would compile once more.
        """
        input = self._fresh_input()
        expected = self._as_timed(self.reference, input)
        self.restore()
        before = input.detach().clone()
        found = self._as_timed(module, input)
        if touched := self._touched(input, before):
            return touched
        result = self.compare(expected, found)
        if not (result.equal and from_a_state):
            return result
        true = self._true or self._from_a_state(self.reference)
        self.restore()
        found = self._from_a_state(module)
        if touched := self._touched():
            return touched
        second = compare(true, found, self._tolerance)
        return largest([result, second]) if second.equal else second

    def compare(self, expected: Quantities, found: Quantities) -> Equivalence:
        """The outcomes of two steps in one round, in which both had the same input and drew the same numbers."""
        return compare(expected, found, self._tolerance)

    def versions(self, input: Tensor) -> list[int]:
        """How often torch has seen `input`, and what is lent, being written into."""
        lent = (each for name, (each, _, _) in self._lent.items() if name not in self._own)
        return [input._version, *(each._version for each in lent)]

    def changed(self) -> str | None:
        """What is lent and is not as it was, in words."""
        name = next(self._changed(), None)
        return None if name is None else f"changed {name}, which the reference shares"

    def restore(self) -> None:
        """Whatever is lent has again, bit by bit, the values that it had."""
        changed = [*self._changed(), *self._own]
        with torch.no_grad():
            for tensor, kept, required in (self._lent[name] for name in changed):
                if tensor.shape == kept.shape and tensor.dtype == kept.dtype:
                    tensor.copy_(kept)
                else:
                    tensor.data = kept.clone()
                tensor.requires_grad_(required)

    def _changed(self) -> Iterator[str]:
        for name, (tensor, kept, required) in self._lent.items():
            is_kept = _same(tensor, kept) and (tensor.requires_grad == required or self.phase == "forward")
            if name not in self._own and not is_kept:
                yield name

    def _fresh_input(self) -> Tensor:
        sizes = (self.workload.seq_len, self.workload.batch_size, self.workload.input_size)
        return self.workload.laid_out(self.workload.random(sizes, next(self._streams)))

    def _touched(self, input: Tensor | None = None, before: Tensor | None = None) -> Equivalence | None:
        if input is not None and before is not None and not _same(input, before):
            return Equivalence(math.inf, "input", 0.0, "changed its input")
        if (words := self.changed()) is not None:
            return Equivalence(math.inf, next(self._changed()), 0.0, words)
        return None

    def _as_timed(self, module: nn.Module, input: Tensor) -> Quantities:
        """One call at full size, as it is timed."""
        step = Step(module, self.workload.as_called(input), self._target, self.phase, self.reference)
        step.keeps = True
        with settings_kept(), same_draws(self.workload.seed):
            step.reset()
            step()
            found = step.outcome()
            step.reset()
        return found

    def _from_a_state(self, module: nn.Module) -> Quantities:
        """One call of few sequences, in the timed dtype."""
        dtype = getattr(torch, self.workload.dtype)
        return called(module, self.reference, probed(self.workload), self.phase, dtype, self._scale)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _same(a: Tensor, b: Tensor) -> bool:
    """Bit by bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(*(each.detach().flatten().view(torch.uint8) for each in (a, b)))
