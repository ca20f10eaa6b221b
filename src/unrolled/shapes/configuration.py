"""What can be asked for: a recurrent network as `torch.nn` builds it, fused or as a loop of cells, or anybody's cell.

torch is imported by the methods that need it and not by this module, as in `workload`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from unrolled.cells import GATES
from unrolled.checks import check_choice
from unrolled.errors import InvalidValueError
from unrolled.networks.workload import Workload

if TYPE_CHECKING:
    import torch
    from torch import nn

FORMS = ("fused", "cells")
# Weights are drawn and steps are taken for real, so they have to fit: 2 GiB in float32.
MOST_NUMBERS = 2**29


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A workload, whether its input has a batch, and whether it is one fused module or cells stepped over time.

    Names are those of `torch.nn`. Without `batched` the input is `(T, I)`. Raises `InvalidValueError` or
    `InvalidTypeError` when made with something that cannot be built.
    """

    workload: Workload
    form: str = "fused"
    batched: bool = True

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS)
        if self.workload.dropout or self.workload.packed:
            raise InvalidValueError(
                f"workload: expected one whose values can be shown, got {self.workload.label}; leave dropout and "
                "packed out"
            )
        if self.workload.is_own and not self.batched:
            raise InvalidValueError(
                f"cell {self.workload.cell}: expected an input (T, B, I), got batched {self.batched}; leave it out"
            )
        if not self.batched and (self.workload.batch_first or self.workload.batch_size != 1):
            raise InvalidValueError(
                f"batched: expected batch_size 1 and no batch_first for an input without a batch, got "
                f"batch_size {self.workload.batch_size}, batch_first {self.workload.batch_first}; leave them out"
            )
        if self.numbers > MOST_NUMBERS:
            raise InvalidValueError(
                f"sizes: expected at most {MOST_NUMBERS:,} numbers in weights and activations, "
                f"got {self.numbers:,}; choose smaller ones"
            )

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The width of each layer's hidden state: `hidden_size`, or `proj_size` where there is one."""
        return tuple(self.workload.proj_size or size for size in self.workload.hidden_sizes)

    @property
    def numbers(self) -> int:
        """How many numbers are held at once: weights, and input, gates and states of the widest layer."""
        work, gates = self.workload, GATES.get(self.workload.cell, 1)
        layers = zip(work.layer_input_sizes, work.hidden_sizes, strict=True)
        return work.parameter_count + work.tokens * max(
            i + work.directions * (gates + 2) * h for i, h in layers
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(T, B, I)`, `(B, T, I)` with `batch_first`, `(T, I)` without a batch."""
        work = self.workload
        if not self.batched:
            return work.seq_len, work.input_size
        batch = (work.batch_size, work.seq_len) if work.batch_first else (work.seq_len, work.batch_size)
        return *batch, work.input_size

    @property
    def is_chain(self) -> bool:
        """Whether the layers have different sizes, so that no single fused module holds them."""
        return isinstance(self.workload.hidden_size, tuple)

    @property
    def name(self) -> str:
        """A short name: `lstm-4-layers`, `lstm-cell`, `lstm-2-cells`."""
        layers, cells = self.workload.layers, self.workload.layers * self.workload.directions
        cell = self.workload.cell_name
        if self.form == "fused":
            return cell + (f"-{layers}-layers" if layers > 1 else "")
        if self.workload.proj_size:
            return f"{cell}-equations"
        return cell + (f"-{cells}-cells" if cells > 1 else "-cell")

    @property
    def built(self) -> str:
        """How it is built, as one would write it."""
        work = self.workload
        if self.form == "fused" and not self.is_chain:
            return self._call(work.input_size, work.hidden_sizes[0], work.layers)
        layers = [self._call(i, h) for i, h in zip(work.layer_input_sizes, work.hidden_sizes, strict=True)]
        if self.form == "fused":
            return _chain(layers)
        directions = ", each in both directions" if work.bidirectional else ""
        times = "once" if work.seq_len == 1 else f"{work.seq_len} times"
        written_out = "the equations of " if work.proj_size else ""
        return f"{written_out}{_chain(layers)}{directions}, stepped {times}"

    def _call(self, input_size: int, hidden_size: int, num_layers: int = 1) -> str:
        """The constructor of a layer or cell with those of its arguments that are not the default."""
        work, fused = self.workload, self.form == "fused"
        is_cell = not (fused or work.proj_size)
        options: dict[str, Any] = {
            "num_layers": num_layers if num_layers > 1 else None,
            "nonlinearity": "'relu'" if work.cell == "rnn_relu" else None,
            "bias": None if work.bias else False,
            "batch_first": True if work.batch_first and fused else None,
            "bidirectional": True if work.bidirectional and fused else None,
            "proj_size": work.proj_size or None,
            "dtype": None if work.dtype == "float32" else f"torch.{work.dtype}",
        }
        dtype = options["dtype"]
        if work.is_own:
            del options["dtype"]
        arguments = [input_size, hidden_size, *(f"{k}={v}" for k, v in options.items() if v is not None)]
        if work.is_own:
            name, moved = work.cell_name, f".to({dtype})" if dtype else ""
            sizes = ", ".join(map(str, arguments))
            return (f"Unrolled({name}, {sizes})" if fused else f"{name}({sizes})") + moved
        return f"nn.{_class_name(work.cell)}{'Cell' * is_cell}({', '.join(map(str, arguments))})"

    def replace(self, **changes: Any) -> Configuration:
        """The same configuration with some fields changed."""
        return replace(self, **changes)

    def reference(self) -> nn.Module:
        """The module, or the `Stack` of one-layer ones, whatever the form; weights as of a workload."""
        return self.workload.reference()

    def input(self) -> torch.Tensor:
        """Standard normal `(T, B, I)`, `(B, T, I)` with `batch_first`, `(T, I)` without a batch."""
        x = self.workload.input()
        return x if self.batched else x.squeeze(1)

    def state(self, module: nn.Module | None = None) -> Any:
        """A standard normal initial state in the structure that the module takes, `reference()` unless one is given."""
        first = self.workload.first_step(self.input())
        return self.workload.random_state(self.reference() if module is None else module, first)


def _class_name(cell: str) -> str:
    return "RNN" if cell.startswith("rnn") else cell.upper()


def _chain(layers: Iterable[str]) -> str:
    """`a → 3 × b`: layer after layer, equal neighbours counted."""
    runs = ((name, len(list(run))) for name, run in groupby(layers))
    return " → ".join(name if count == 1 else f"{count} × {name}" for name, count in runs)


def walkthrough(dtype: str = "float32", device: str = "cpu", seed: int = 0) -> tuple[Configuration, ...]:
    """The layers and cells that people meet first, on 10 words of 3 sentences, word vectors of 100."""
    found = []
    for cell in ("rnn_tanh", "lstm", "gru"):
        one = Workload(
            cell=cell, input_size=100, hidden_size=20, num_layers=1, batch_size=3, seq_len=10,
            dtype=dtype, device=device, seed=seed,
        )  # fmt: skip
        if cell == "rnn_tanh":
            found.append(Configuration(workload=one))
        found += [
            Configuration(workload=one.replace(num_layers=4)),
            Configuration(workload=one, form="cells"),
            Configuration(workload=one.replace(hidden_size=(30, 20)), form="cells"),
        ]
    return tuple(found)


def both_forms(configuration: Configuration) -> tuple[Configuration, ...]:
    """The fused module, and its loop of cells."""
    return tuple(configuration.replace(form=form) for form in FORMS)
