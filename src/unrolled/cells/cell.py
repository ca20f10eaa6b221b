"""A recurrence: its gates, its state, its parameters, one step, and its linearisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from unrolled.cells.linearised import Buffers, Linearised
from unrolled.cells.weights import Weights

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Gate:
    """A gate, by the letter it has in the documentation of `torch.nn`, and what it does."""

    letter: str
    meaning: str


class Cell(ABC):
    """A kind of recurrence. To add one, write a subclass in a file of its own and enter it in the registry.

    Its parameters are those of a cell of `torch.nn`, whose rows are stacked gate by gate, `hidden_size` (H) rows
    each, in the order of `gates`. Its state has a part for each of `paths`; the first, `h`, is also the output.
    """

    name: ClassVar[str]  # by which it is asked for
    title: ClassVar[str]  # in tables and plots
    gates: ClassVar[tuple[Gate, ...]]
    paths: ClassVar[tuple[str, ...]] = ("h",)

    # The modules that run it: a whole sequence in one call, and one step; and what both are made with besides sizes.
    fused: ClassVar[type[nn.RNNBase] | None] = None
    stepped: ClassVar[type[nn.Module] | None] = None
    options: ClassVar[dict[str, Any]] = {}

    # Letters of gates: the one that the old state is multiplied by, the one that alone lets new content in, and the
    # one that works out this content.
    keeps: ClassVar[str | None] = None
    lets_in: ClassVar[str | None] = None
    candidate: ClassVar[str]

    # The largest slope of the activation, where a step is `f(W x + b + U h)` and nothing else.
    largest_slope: ClassVar[float | None] = None
    # `(k, w)`: with all states and biases 0 and no input, a step has the Jacobian `k I + w U`, U the recurrent weights
    # of the candidate, for the part of the state that is kept. None where it has no derivative there.
    at_rest: ClassVar[tuple[float, float] | None] = None
    # Whether its linearisation tells what a change of the weights moves: `Linearised.of_weights`.
    moves_with_weights: ClassVar[bool] = False
    # The share of all tangents of a spectrum that is best followed by inverse steps, from its lower end.
    inverse_share: ClassVar[float] = 0.0

    @abstractmethod
    def step(self, weights: Weights, x: Tensor, state: State) -> State:
        """The state after a step: `x` `(B, I)`, each part of the state `(B, ·)`."""

    @abstractmethod
    def linearise(
        self, weights: Weights, x: Tensor, h: Tensor, c: Tensor | None, buffers: Buffers
    ) -> Linearised:
        """A block of `T` steps about inputs `x` `(T, B, I)` and states `h` `(T + 1, B, P)`.

        `c` `(B, H)` is the first value of the second part of the state, where there is one. The result lives in
        `buffers` until the next block is made in them.
        """

    def state_sizes(self, hidden_size: int, proj_size: int = 0) -> tuple[int, ...]:
        """The width of each part of the state; a projection makes that of `h` smaller."""
        return (proj_size or hidden_size, *(hidden_size for _ in self.paths[1:]))

    def shapes(self, input_size: int, hidden_size: int, proj_size: int = 0) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters of one layer and direction, under `torch.nn`'s names."""
        rows, width = len(self.gates) * hidden_size, proj_size or hidden_size
        found: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, width),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        return found | {"weight_hr": (proj_size, hidden_size)} if proj_size else found

    def state(
        self, make: Callable[..., Tensor], *leading: int, hidden_size: int, proj_size: int = 0
    ) -> Tensor | State:
        """A state as torch's modules take it: `make(*leading, size)` for each part, a tuple where there are more."""
        parts = tuple(make(*leading, size) for size in self.state_sizes(hidden_size, proj_size))
        return parts if len(parts) > 1 else parts[0]

    def number_of(self, letter: str) -> int:
        """The place of a gate among the stacked ones, from 0."""
        return [gate.letter for gate in self.gates].index(letter)

    @property
    def has_forget_gate(self) -> bool:
        """Whether one of its gates is called so."""
        return any(gate.meaning == "forget gate" for gate in self.gates)

    def is_run_by(self, module: nn.Module) -> bool:
        """Whether a module is one of those that run it."""
        kinds = tuple(kind for kind in (self.fused, self.stepped) if kind is not None)
        return isinstance(module, kinds) and all(getattr(module, k) == v for k, v in self.options.items())
