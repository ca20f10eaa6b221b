"""The grids: which workloads are raced when nobody asks for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from unrolled.cells import CELLS, short_name
from unrolled.checks import check_choice
from unrolled.errors import InvalidValueError
from unrolled.implementations import IMPLEMENTATIONS, RUNGS, network_of
from unrolled.networks.workload import Workload

PHASES = ("forward", "training")
# Written for torch's cells: there is nothing that they could be built from around another one.
FOR_TORCHS_CELLS = ("cells", "hoisted", *RUNGS)
# The reference, whose call or settings are changed around it.
AS_THE_REFERENCE = ("fused", "flushed")
COMPILED = tuple(name for name in IMPLEMENTATIONS if name.startswith("compiled"))
# From a loop of cells to the fused module, which is always there.
LADDER = ("cells", "written_out", "projected", "in_cpp")
Axes = Mapping[str, Sequence[Any]]

_LAYERS_AND_BATCHES: Axes = {
    "cell": ("rnn_tanh", "gru", "lstm"),
    "num_layers": (1, 2, 4),
    "batch_size": (1, 16, 64),
}
_ALL_CELLS: Axes = {"cell": CELLS, "num_layers": (1,), "batch_size": (16,)}
# The shapes of countless tutorials: 10 words, 3 sentences, word vectors of 100.
_WORDS: Axes = {
    "cell": ("rnn_tanh", "gru", "lstm"),
    "seq_len": (10,),
    "batch_size": (3,),
    "input_size": (100,),
}

# A grid is a union of products of axes; what an axis does not name is the default of `Workload`.
GRIDS: dict[str, tuple[Axes, ...]] = {
    "quick": (_LAYERS_AND_BATCHES,),
    "full": (
        {**_LAYERS_AND_BATCHES, "cell": CELLS},
        {**_ALL_CELLS, "hidden_size": (32, 256, 512)},
        {**_ALL_CELLS, "seq_len": (10, 200, 500)},
        {**_ALL_CELLS, "num_layers": (1, 2), "bidirectional": (True,)},
    ),
    "paper": (
        {**_WORDS, "num_layers": (1,), "hidden_size": (20,)},
        {**_WORDS, "num_layers": (4,), "hidden_size": (20,)},
        {**_WORDS, "hidden_size": ((30, 20),)},
    ),
}


class RaceKey(NamedTuple):
    """What all contenders of one race share; `threads` are torch's own where it is None."""

    workload: Workload
    phase: str
    threads: int | None = None

    @property
    def label(self) -> str:
        """A name to find it by: `lstm-L2-B16-T50-I64-H128-training`."""
        threads = f"-{self.threads}-thread{'s' * (self.threads != 1)}" if self.threads else ""
        return f"{self.workload.label}{threads}-{self.phase}"


@dataclass(frozen=True)
class Case:
    """One benchmark: a workload, a phase, the name of an implementation, and so many threads."""

    workload: Workload
    phase: str
    implementation: str
    threads: int | None = None

    @property
    def race(self) -> RaceKey:
        """What it shares with the others of its race."""
        return RaceKey(self.workload, self.phase, self.threads)

    @property
    def label(self) -> str:
        """A name to find it by: `lstm-L2-B16-T50-I64-H128-training-cells`."""
        shown = shown_name(self.workload, self.implementation).replace(" ", "-")
        return f"{self.race.label}-{shown}"


def shown_name(workload: Workload, implementation: str) -> str:
    """The name of a contender; the reference, `fused` elsewhere, of anybody's cell is its `own loop` over time."""
    if (cell := network_of(implementation)) is not None:
        return f"network {short_name(cell)}"
    return "own loop" if workload.is_own and implementation == "fused" else implementation


def workloads(grid: str, changes: Axes) -> list[Workload]:
    """The workloads of a grid in order, each once; `changes` replaces whole axes: `{"batch_size": (1, 256)}`.

    Values that do not go together are left out: one hidden size per layer, as (30, 20), goes with its own number of
    layers, a projection with an LSTM, dropout with several layers of one size.
    Raises `InvalidValueError` for an unknown grid, a value out of range, or when nothing is left.
    """
    check_choice("grid", grid, tuple(GRIDS))
    found: dict[Workload, None] = {}
    for axes in GRIDS[grid]:
        merged = {**axes, **changes}
        for values in product(*merged.values()):
            fields = dict(zip(merged, values, strict=True))
            if _go_together(**fields):
                found[Workload(**fields)] = None
    if not found:
        raise InvalidValueError(
            f"grid: nothing is left of {grid} with {dict(changes)}; give as many --hidden sizes as --layers, "
            "--proj-size with lstm, --dropout with several --layers of one size"
        )
    return list(found)


def _go_together(
    cell: str,
    num_layers: int | None = None,
    hidden_size: int | tuple[int, ...] = 1,
    proj_size: int = 0,
    dropout: float = 0.0,
    **others: Any,
) -> bool:
    if isinstance(hidden_size, tuple):
        return num_layers in (None, len(hidden_size)) and not dropout
    return not (proj_size and cell != "lstm") and not (dropout and num_layers in (None, 1))


def cases(
    of: Iterable[Workload],
    phases: Sequence[str],
    implementations: Sequence[str],
    threads: Sequence[int | None] = (None,),
) -> list[Case]:
    """Every workload in every phase with every implementation that there is for its cell, workload by workload."""
    for phase in phases:
        check_choice("phase", phase, PHASES)
    return [
        Case(workload, phase, name, number)
        for workload in of
        for number in threads
        for phase in phases
        for name in implementations
        if not (left_out(workload, phase, name) or _is_fused(workload, name))
    ]


def left_out(workload: Workload, phase: str, name: str) -> str:
    """Why an implementation cannot run a workload; nothing where it can."""
    if name in AS_THE_REFERENCE:
        return ""
    if (cell := network_of(name)) is not None:
        return _no_network(workload, cell)
    if workload.is_own and name in FOR_TORCHS_CELLS:
        return "run torch's cells alone"
    if name == "scan" and not workload.is_own:
        return "run cells of your own alone, linear in their state"
    if name == "inference" and phase == "training":
        return "run calls without gradients alone"
    if workload.proj_size and name in IMPLEMENTATIONS | RUNGS:
        return "have no projection, as torch's cells have none"
    if workload.packed and name in COMPILED:
        return "would be compiled anew for each batch size of packed sequences"
    if workload.dropout and phase == "training" and workload.device != "cpu":
        return "cannot draw the numbers that cuDNN drops out by"
    return ""


def _no_network(workload: Workload, cell: str) -> str:
    """Why there is no such network beside a workload."""
    if cell == workload.cell:
        return "would be the same network"
    try:
        workload.replace(cell=cell)
    except InvalidValueError as error:
        return f"cannot be ({str(error).partition(';')[0]})"
    return ""


def _is_fused(workload: Workload, name: str) -> bool:
    """Whether an implementation is the fused module itself: on a CPU only an LSTM has another kernel, by oneDNN."""
    other = workload.cell == "lstm" and workload.dtype != "float64" and workload.device == "cpu"
    return name == "in_cpp" and not other
