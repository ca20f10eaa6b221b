"""The steps of a cell or function that somebody else wrote, linearised by `torch.func` where they went through."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.own import parts_of
from unrolled.cells.push_forward import Steps
from unrolled.errors import InvalidTypeError
from unrolled.plugins import first_line


class PushedStep(Steps):
    """`functions[t]` gives the state after step t from the parts of the state before it, `states[t]`.

    `random_states[t]` is that of the generator before the step, so that it draws the numbers that it drew; `name` is
    what an error calls it.
    """

    def __init__(
        self,
        functions: Sequence[Callable[..., Any]],
        states: Sequence[tuple[Tensor, ...]],
        random_states: Sequence[Tensor],
        name: str,
    ) -> None:
        self.functions, self.states, self.random_states, self.name = functions, states, random_states, name

    def step(self, t: int, v: Tensor, out: Tensor) -> None:
        """All tangents at once, by `vmap`."""
        before = self.states[t]
        rows = v.view(len(v), len(before[0]), -1).permute(2, 1, 0)  # (k, B, n)
        sizes = [part[0].numel() for part in before]
        tangents = tuple(
            rows_of.reshape(len(rows), *part.shape)
            for rows_of, part in zip(rows.split_with_sizes(sizes, dim=-1), before, strict=True)
        )
        function = self.functions[t]

        def push(*directions: Tensor) -> Any:
            jvp: Any = torch.func.jvp
            return jvp(lambda *parts: parts_of(function(*parts)), before, directions)[1]

        with torch.random.fork_rng(devices=[]), _without_torchs_notes():
            torch.set_rng_state(self.random_states[t])
            try:
                pushed = torch.func.vmap(push, randomness="same")(*tangents)
            except Exception as error:  # what it cannot differentiate, torch refuses in many ways
                raise InvalidTypeError(
                    f"{self.name}: expected a step that torch.func can differentiate, got {type(error).__name__}: "
                    f"{first_line(error)}; write it without operations in place and custom autograd functions"
                ) from error
        joined = torch.cat([part.flatten(2) for part in pushed], dim=-1)
        out.copy_(joined.permute(2, 1, 0).reshape(out.shape))


@contextmanager
def _without_torchs_notes() -> Iterator[None]:
    """Some versions deprecate, in their own code, what `jvp` loads when it is first used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")
        yield
