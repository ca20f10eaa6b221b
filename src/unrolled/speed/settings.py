"""What a benchmark run was asked for: the options, declared once, and what they mean together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from unrolled.cells import CELLS
from unrolled.checks import check_size, check_threads
from unrolled.errors import ImplementationError, InvalidValueError
from unrolled.hearing import heard, notes
from unrolled.implementations import (
    DEFAULT_IMPLEMENTATIONS,
    IMPLEMENTATIONS,
    NETWORK,
    RUNGS,
    Implementation,
    implement,
    load,
    network_of,
)
from unrolled.networks.workload import DTYPES, Workload
from unrolled.plugins import THEIRS
from unrolled.speed.grid import FOR_TORCHS_CELLS, PHASES, Case, cases, left_out, workloads
from unrolled.speed.statistics import MIN_ROUNDS
from unrolled.time_limit import time_limit

# Seconds of timed rounds per benchmark, unless asked, and passes over the grid: the default one then takes one to two
# minutes.
DEFAULT_BUDGET = 0.3
DEFAULT_PASSES = 5
DEFAULT_OUT = Path("results/bench")
TINY: dict[str, Any] = {"input_size": 3, "hidden_size": 4, "batch_size": 2, "seq_len": 3}
LEFT_OUT = (
    "{cells}: {names} run torch's cells alone and were left out; the reference is the cell's own loop over time, and "
    "--implementation compiled, or your own as package.module:build, is raced against it."
)


@dataclass(frozen=True)
class Option:
    """A command-line option that takes a list: repeated, or with commas."""

    flag: str
    parse: Callable[[str, str], Any]
    metavar: str
    help: str
    field: str | None = None  # of Workload, where the option replaces an axis of the grid

    @property
    def dest(self) -> str:
        """Its name among the parsed options."""
        return "unrolled_" + self.flag.removeprefix("--").replace("-", "_")

    def values(self, texts: Sequence[str]) -> tuple[Any, ...]:
        """The parsed values of all occurrences, in order, each once."""
        words = [word.strip() for text in texts for word in text.split(",")]
        return tuple(dict.fromkeys(self.parse(self.flag, word) for word in words))


def _word(flag: str, text: str) -> str:
    if not text:
        raise InvalidValueError(f"{flag}: expected a name, got nothing")
    return text


def _integer(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidValueError(f"{flag}: expected an integer of at least 1, got {text!r}") from None


def _whole(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidValueError(f"{flag}: expected an integer of at least 0, got {text!r}") from None


def _sizes(flag: str, text: str) -> int | tuple[int, ...]:
    sizes = tuple(_integer(flag, part) for part in text.split("+"))
    return sizes if len(sizes) > 1 else sizes[0]


def _yes_or_no(flag: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise InvalidValueError(f"{flag}: expected yes or no, got {text!r}")
    return text == "yes"


def _probability(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidValueError(f"{flag}: expected a probability, got {text!r}") from None


LIST_OPTIONS = (
    Option("--cell", _word, "CELL", f"cells: {', '.join(CELLS)}, or your own as package.module:Name", "cell"),
    Option("--layers", _integer, "N", "numbers of layers", "num_layers"),
    Option("--batch", _integer, "N", "batch sizes", "batch_size"),
    Option("--length", _integer, "N", "sequence lengths T", "seq_len"),
    Option("--hidden", _sizes, "N", "hidden sizes; 30+20 for two layers of 30 and 20", "hidden_size"),
    Option("--input", _integer, "N", "input sizes", "input_size"),
    Option("--bidirectional", _yes_or_no, "yes|no", "run each layer both ways", "bidirectional"),
    Option("--bias", _yes_or_no, "yes|no", "have biases; default: yes", "bias"),
    Option("--batch-first", _yes_or_no, "yes|no", "lay the input out as (B, T, I)", "batch_first"),
    Option("--proj-size", _whole, "N", "project an LSTM's state to N numbers", "proj_size"),
    Option(
        "--dropout", _probability, "P", "drop out with probability P between layers, in training", "dropout"
    ),
    Option(
        "--packed",
        _yes_or_no,
        "yes|no",
        "pack sequences of different lengths, 1 to T; no: pad them to T",
        "packed",
    ),
    Option("--dtype", _word, "DTYPE", f"dtypes: {', '.join(DTYPES)}", "dtype"),
    Option(
        "--device",
        _word,
        "DEVICE",
        "cpu, cuda or cuda:N; default: cpu, and cuda where there is one",
        "device",
    ),
    Option("--threads", _integer, "N", "numbers of torch's threads on the CPU; default: torch's own"),
    Option("--phase", _word, "PHASE", f"phases: {', '.join(PHASES)}"),
    Option(
        "--implementation",
        _word,
        "NAME",
        f"contenders in place of {', '.join(DEFAULT_IMPLEMENTATIONS[1:])}: {', '.join(IMPLEMENTATIONS)}, "
        "or your own as package.module:build; fused is always among them",
    ),
    Option(
        "--against",
        _word,
        "CELL",
        "other networks to time beside: cells as for --cell, of the same sizes",
    ),
)


@dataclass(frozen=True)
class Settings:
    """A checked request: which cases to race, for how long, and where the results go; `notes` is to be said.

    `budget`, `timeout` and `until_decided` are in seconds: of timed rounds for a benchmark, of what one does in a pass,
    and of further passes over races whose verdict is open. Each benchmark has at least `fewest_rounds` in all its
    passes. With `advise`, other settings are tried in the end on the workload that takes longest.
    """

    cases: tuple[Case, ...]
    implementations: Mapping[str, Implementation]
    budget: float
    out: Path
    notes: tuple[str, ...] = ()
    timeout: float | None = None
    passes: int = DEFAULT_PASSES
    fewest_rounds: int = MIN_ROUNDS
    until_decided: float | None = None
    advise: bool = False

    @classmethod
    def read(
        cls,
        lists: Mapping[str, Sequence[str]],
        grid: str,
        budget: float,
        out: Path,
        devices: Sequence[str],
        timeout: float | None = None,
        passes: int = DEFAULT_PASSES,
        fewest_rounds: int = MIN_ROUNDS,
        until_decided: float | None = None,
        advise: bool = False,
    ) -> Settings:
        """From the texts of `LIST_OPTIONS` by flag, and the plain options.

        `devices` are those raced when none is asked for; a single number of threads is what torch has. `timeout` is in
        seconds, for a case and for trying out a cell or plug-in. Raises an `UnrolledError` for whatever cannot be run.
        """
        check_size("--passes", passes)
        for flag, seconds in (("--budget", budget), ("--timeout", timeout), ("--until-decided", until_decided)):
            if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
                raise InvalidValueError(f"{flag}: expected seconds above 0, got {seconds}")
        given = {
            option.flag: option.values(lists[option.flag]) for option in LIST_OPTIONS if lists.get(option.flag)
        }
        changes: dict[str, Sequence[Any]] = {"device": tuple(devices)}
        changes |= {o.field: given[o.flag] for o in LIST_OPTIONS if o.field and o.flag in given}
        of = workloads(grid, changes)
        for device in dict.fromkeys(workload.device for workload in of):
            Workload(device=device).check_device()
        said: list[str] = []
        with _tried("cell", timeout, said):
            own = check_own_cells(of)
        against = [f"{NETWORK}{cell}" for cell in given.get("--against", ())]
        names = dict.fromkeys(("fused", *given.get("--implementation", DEFAULT_IMPLEMENTATIONS), *against))
        implementations = {}
        for name in names:
            with _tried(f"implementation {name}", timeout, said):
                implementations[name] = load(name)
                if (cell := network_of(name)) is not None:
                    Workload(cell=cell, **TINY).reference()
                elif name not in IMPLEMENTATIONS | RUNGS:
                    check_plugin(implementations[name], tuple(dict.fromkeys(workload.cell for workload in of)))
        threads = given.get("--threads", ())
        for number in threads:
            check_threads("--threads", number)
        axis = threads if len(threads) > 1 else (None,)  # one for all is what torch was told
        chosen = cases(of, given.get("--phase", PHASES), tuple(implementations), axis)
        for_torchs = [name for name in implementations if name in FOR_TORCHS_CELLS]
        if own and for_torchs:
            said.append(LEFT_OUT.format(cells=", ".join(own), names=" and ".join(for_torchs)))
        said += _left_out(
            of,
            given.get("--phase", PHASES),
            [name for name in names if name not in FOR_TORCHS_CELLS or not own],
        )
        return cls(
            tuple(chosen),
            implementations,
            budget,
            out,
            tuple(said),
            timeout,
            passes,
            fewest_rounds,
            until_decided,
            advise,
        )


def _left_out(of: Sequence[Workload], phases: Sequence[str], names: Iterable[str]) -> list[str]:
    """A line for each reason why some implementations do not run some workloads."""
    reasons: dict[str, dict[str, None]] = {}
    for workload, phase, name in product(of, phases, names):
        if why := left_out(workload, phase, name):
            reasons.setdefault(why, {})[name] = None
    return [f"left out where they {why}: {', '.join(found)}" for why, found in reasons.items()]


@contextmanager
def _tried(what: str, timeout: float | None, said: list[str]) -> Iterator[None]:
    """Somebody else's code is tried out inside; what it did beside that goes into `said`."""
    from unrolled.torch_settings import settings_kept

    with settings_kept() as changed, heard() as printed, time_limit(timeout, what):
        yield
    said += [f"{what}: {note}" for note in notes(changed, printed)]


def check_own_cells(of: Sequence[Workload]) -> list[str]:
    """Make each cell that somebody else wrote once, at a tiny size; gives their short names.

    Raises an `UnrolledError` for one that cannot be run, and where two cells would have one name in the tables.
    """
    cells = {workload.cell: workload for workload in of}
    names = [workload.cell_name for workload in cells.values()]
    for workload in cells.values():
        if names.count(workload.cell_name) > 1:
            raise InvalidValueError(
                f"--cell: expected cells of different names, got {workload.cell_name} twice; run one at a time"
            )
    own = {cell: workload for cell, workload in cells.items() if workload.is_own}
    for cell in own:
        Workload(cell=cell, **TINY).reference()
    return [workload.cell_name for workload in own.values()]


def check_plugin(implementation: Implementation, cells: Sequence[str]) -> None:
    """Build a plug-in at a tiny size and call it, with and without a state: a mistake is told before the run.

    A plug-in may serve some cells only: where `build` refuses others, their benchmarks will say so.
    Raises `ImplementationError` when it serves none, or what it builds cannot stand in for the reference.
    """
    from unrolled.torch_settings import settings_kept

    refusals = []
    for cell in cells:
        workload = Workload(cell=cell, **TINY)
        try:
            with settings_kept():
                reference, x = workload.reference(), workload.input()
                module = implement(implementation, reference)
                result: object = module(x)
                module(x, workload.random_state(reference, x[:1]))
        except ImplementationError:
            raise
        except THEIRS as error:
            refusals.append(f"{cell}: {type(error).__name__}: {error}".splitlines()[0])
            continue
        if not (isinstance(result, tuple) and len(result) == 2):
            raise ImplementationError(
                f"implementation {implementation.name}: expected a module that returns (output, state), "
                f"got {type(result).__name__}"
            )
    if len(refusals) == len(cells):
        raise ImplementationError(
            f"implementation {implementation.name}: expected build(reference) to give a module that runs as "
            f"module(input) and module(input, hx), but it raised for every cell ({'; '.join(refusals)})"
        )
