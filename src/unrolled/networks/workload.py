"""The workload: which recurrence, at which sizes, on which device. Makes the module and its input.

torch is imported by the methods that need it and not by this module, so that a command line can name
and check workloads without waiting for torch.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from unrolled.cells import CELLS, GATES, check_cell, short_name
from unrolled.checks import check_choice, check_size
from unrolled.errors import DeviceUnavailableError, InvalidTypeError, InvalidValueError
from unrolled.networks.memory import DRAWN, check_memory
from unrolled.networks.options import check_options
from unrolled.results.codec import IF_NOT_DEFAULT, require

if TYPE_CHECKING:
    import torch
    from torch import nn

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
DTYPES = tuple(BYTES)
MOST_LAYERS = 100_000  # each is built, looked at and named by itself
STATE_STREAM = 10  # of the random numbers, and those after it; below are input, target and weights


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One recurrence to run: the names are those of `torch.nn`, the layout is `(T, B, H)`.

    `hidden_size` is one size for all layers, or a tuple with one size per layer, such as `(30, 20)`;
    `num_layers` then follows from it. `seed` fixes weights and input, whatever the device and dtype. `cell` is one of
    `unrolled.cells.CELLS`, or `package.module:Name` where `Name(input_size, hidden_size)` makes anybody's cell, which
    has none of the options from `bias` on. With `packed` the sequences have different `lengths`, and a call takes a
    `PackedSequence`.

    Raises `InvalidValueError` or `InvalidTypeError` when made with something that cannot be run.
    """

    cell: str = "lstm"
    input_size: int = 64
    hidden_size: int | tuple[int, ...] = 128
    num_layers: int | None = None
    batch_size: int = 16
    seq_len: int = 50
    bidirectional: bool = False
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0
    bias: bool = field(default=True, metadata=IF_NOT_DEFAULT)
    batch_first: bool = field(default=False, metadata=IF_NOT_DEFAULT)
    proj_size: int = field(default=0, metadata=IF_NOT_DEFAULT)
    dropout: float = field(default=0.0, metadata=IF_NOT_DEFAULT)
    packed: bool = field(default=False, metadata=IF_NOT_DEFAULT)

    def __post_init__(self) -> None:
        check_cell(self.cell)
        check_choice("dtype", self.dtype, DTYPES)
        _check_device_name(self.device)
        sizes = self.hidden_size if isinstance(self.hidden_size, tuple) else (self.hidden_size,)
        if not sizes:
            raise InvalidValueError("hidden_size: expected one size, or one per layer, got (); try 128")
        for size in sizes:
            check_size("hidden_size", size)
        if self.num_layers is None:
            object.__setattr__(self, "num_layers", len(sizes))
        if isinstance(self.hidden_size, tuple) and len(sizes) != self.num_layers:
            raise InvalidValueError(
                f"hidden_size: expected one size or {self.num_layers} (num_layers), "
                f"got {len(sizes)}: {self.hidden_size}; leave num_layers out to take it from hidden_size"
            )
        for name in ("num_layers", "input_size", "batch_size", "seq_len"):
            check_size(name, getattr(self, name))
        for name in ("bidirectional", "bias", "batch_first", "packed"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidTypeError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        if self.layers > MOST_LAYERS:
            raise InvalidValueError(
                f"num_layers: expected at most {MOST_LAYERS:,}, got {self.layers}; choose fewer"
            )
        if len(set(sizes)) == 1:
            object.__setattr__(self, "hidden_size", sizes[0])
        check_options(self)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """The hidden size of each layer, from the input up."""
        if isinstance(self.hidden_size, tuple):
            return self.hidden_size
        return (self.hidden_size,) * self.layers

    @property
    def is_own(self) -> bool:
        """Whether the cell is one that somebody else wrote, with no fused module."""
        return self.cell not in CELLS

    @property
    def cell_name(self) -> str:
        """The cell without its module."""
        return short_name(self.cell)

    @property
    def layers(self) -> int:
        """`num_layers`, as the number it always is once the workload is made."""
        return self.num_layers or 1

    @property
    def directions(self) -> int:
        """2 where each layer runs both ways, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_size(self) -> int:
        """The width of the last layer's hidden state: `hidden_size`, or `proj_size` where there is one."""
        return self.proj_size or self.hidden_sizes[-1]

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Of the sequences, the longest first: `seq_len` each; where packed, all but one are drawn, from 1 on."""
        if not self.packed:
            return (self.seq_len,) * self.batch_size
        draws = Random(self.seed)
        others = sorted((draws.randint(1, self.seq_len) for _ in range(self.batch_size - 1)), reverse=True)
        return (self.seq_len, *others)

    @property
    def tokens(self) -> int:
        """Steps of all sequences: `T * B`, or fewer where they are packed."""
        return sum(self.lengths) if self.packed else self.seq_len * self.batch_size

    @property
    def draws(self) -> bool:
        """Whether a call in training may draw random numbers."""
        return self.is_own or self.dropout > 0

    @property
    def steps(self) -> int:
        """Of all layers and directions: `T * L * D`."""
        return self.seq_len * self.layers * self.directions

    @property
    def label(self) -> str:
        """A short name that tells workloads apart: `lstm-L2-B16-T50-I64-H128`."""
        hidden = "+".join(map(str, dict.fromkeys(self.hidden_sizes)))
        if isinstance(self.hidden_size, tuple):
            hidden = "+".join(map(str, self.hidden_size))
        parts = [
            self.cell_name,
            f"L{self.layers}",
            f"B{self.batch_size}",
            f"T{self.seq_len}",
            f"I{self.input_size}",
            f"H{hidden}",
        ]
        parts += ["bi"] * self.bidirectional
        parts += [f"P{self.proj_size}"] * bool(self.proj_size)
        parts += ["no-bias"] * (not self.bias)
        parts += [f"dropout{self.dropout:g}"] * bool(self.dropout)
        parts += ["batch-first"] * self.batch_first
        parts += ["packed"] * self.packed
        parts += [self.dtype] * (self.dtype != "float32")
        parts += [self.device] * (self.device != "cpu")
        return "-".join(parts)

    def replace(self, **changes: Any) -> Workload:
        """The same workload with some fields changed; a new `hidden_size` may bring its own `num_layers`."""
        if isinstance(changes.get("hidden_size"), tuple):
            changes.setdefault("num_layers", None)
        return replace(self, **changes)

    def check(self) -> None:
        """Raise `ValueError` for a seed that torch does not take."""
        require(-(2**63) <= self.seed < 2**64, f"a seed of 64 bits, got {self.seed}")

    def reference(self) -> nn.Module:
        """The module: `nn.RNN`, `nn.GRU`, `nn.LSTM`, `Unrolled` for anybody's cell, or a `Stack` of one-layer ones.

        The weights are drawn in float64 on the CPU from `seed`, then rounded and moved, so that every
        dtype and device gets the same ones. The global random state is left as it was. Raises `OutOfMemoryError` where
        they cannot fit.
        """
        import torch

        from unrolled.cells.build import build, undisturbed
        from unrolled.networks.stack import Stack

        self.check_memory()
        options: dict[str, Any] = {
            "bidirectional": self.bidirectional,
            "bias": self.bias,
            "batch_first": self.batch_first,
            "proj_size": self.proj_size,
        }
        with undisturbed():
            torch.manual_seed(self.seed)
            if isinstance(self.hidden_size, tuple):
                sizes = zip(self.layer_input_sizes, self.hidden_sizes, strict=True)
                module: nn.Module = Stack([build(self.cell, i, h, **options) for i, h in sizes])
            else:
                options["dropout"] = self.dropout
                module = build(self.cell, self.input_size, self.hidden_size, self.layers, **options)
        return module.to(device=self.device, dtype=getattr(torch, self.dtype))

    @property
    def layer_input_sizes(self) -> tuple[int, ...]:
        """The width of what each layer reads: the input, then the layer below in all its directions."""
        below = (self.directions * (self.proj_size or size) for size in self.hidden_sizes[:-1])
        return (self.input_size, *below)

    @property
    def parameter_count(self) -> int:
        """`G H (I + P + 2) + P H` a layer and direction; unprojected P is H, and the last term absent.

        Of a cell that somebody else wrote, what one gate would have.
        """
        gates, biases, proj = GATES.get(self.cell, 1), 2 * self.bias, self.proj_size
        sizes = zip(self.layer_input_sizes, self.hidden_sizes, strict=True)
        one_way = sum(gates * h * (i + (proj or h) + biases) + proj * h for i, h in sizes)
        return self.directions * one_way

    def check_memory(self) -> None:
        """Raise `OutOfMemoryError` for a network that cannot be drawn, or be run, in the memory there is.

        Counted is what a call cannot do without: weights, as far as they are known, input and output.
        """
        self.check_device()
        size, padded = BYTES[self.dtype], self.seq_len * self.batch_size
        weights = 0 if self.is_own else self.parameter_count
        width = self.directions * self.state_size
        drawn = DRAWN * max(weights, padded * self.input_size)
        called = size * (weights + padded * (self.input_size + width))
        check_memory(self.label, drawn, self.device, called)

    def random_state(self, module: nn.Module, first: Any) -> Any:
        """A standard normal state for `module`, of the structure and shapes that it gives after the input `first`."""
        import torch

        from unrolled.torch_settings import settings_kept

        with settings_kept(), torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a call that counts will say the same
            state = module(first)[1]
        streams = count(STATE_STREAM)

        def drawn(part: Any) -> Any:
            if not isinstance(part, torch.Tensor):
                return tuple(map(drawn, part))
            return self.random(tuple(part.shape), next(streams)) if part.is_floating_point() else part

        return drawn(state)

    def input(self) -> torch.Tensor:
        """A standard normal input, the same for every dtype and device: see `laid_out`."""
        return self.laid_out(self.random((self.seq_len, self.batch_size, self.input_size), stream=1))

    def target(self) -> torch.Tensor:
        """A standard normal target for the output, D * H wide with the H, or P, of the last layer."""
        width = self.directions * self.state_size
        return self.laid_out(self.random((self.seq_len, self.batch_size, width), stream=2))

    def laid_out(self, padded: torch.Tensor) -> torch.Tensor:
        """The numbers of `padded` `(T, B, I)` as a call has them.

        That is `(B, T, I)` with `batch_first`, and where sequences are packed `(tokens, I)`, the data of a
        `PackedSequence`, without what is beyond the end of each.
        """
        if self.packed:
            return self.as_called(padded, whole=True).data  # type: ignore[no-any-return]
        return padded.transpose(0, 1).contiguous() if self.batch_first else padded

    def as_called(self, numbers: torch.Tensor, whole: bool = False) -> Any:
        """What a module is called with: `numbers` themselves, or a `PackedSequence` of them.

        `numbers` are laid out already, but for `whole` ones, `(T, B, I)`, of packed sequences.
        """
        if not self.packed:
            return numbers
        from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

        if whole:
            return pack_padded_sequence(numbers, self._lengths)
        return PackedSequence(numbers, self._batch_sizes)

    @cached_property
    def _lengths(self) -> torch.Tensor:
        import torch

        return torch.tensor(self.lengths)

    @cached_property
    def _batch_sizes(self) -> torch.Tensor:
        """Of packed sequences: how many go on at each step."""
        return (self._lengths[None] > self._lengths.new_tensor(range(self.seq_len))[:, None]).sum(1)

    def first_step(self, numbers: torch.Tensor) -> Any:
        """What a module is called with for the first step of all sequences; `numbers` are those of all steps."""
        if self.packed:
            return self.replace(seq_len=1).as_called(numbers[: self.batch_size])
        return numbers[:, :1] if self.batch_first else numbers[:1]

    def random(self, shape: tuple[int, ...], stream: int) -> torch.Tensor:
        """Standard normal values of this workload's dtype, on its device; one stream for each purpose.

        Raises `OutOfMemoryError` where they cannot fit.
        """
        import torch

        self.check_device()
        numbers = math.prod(shape)
        check_memory(f"a tensor {shape}", DRAWN * numbers, self.device, BYTES[self.dtype] * numbers)
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * stream)
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.to(device=self.device, dtype=getattr(torch, self.dtype))

    def check_device(self) -> None:
        """Raise `DeviceUnavailableError` when this machine does not have the device."""
        import torch

        if self.device.startswith("cuda"):
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            index = int(self.device.partition(":")[2] or 0)
            if index >= count:
                raise DeviceUnavailableError(
                    f"device: {self.device} was asked for, but torch {torch.__version__} sees {count} CUDA "
                    "devices; use cpu, or install a CUDA build of torch and a driver"
                )


def _check_device_name(device: str) -> None:
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise InvalidValueError(f"device: expected cpu, cuda or cuda:N, got {device!r}")
