"""Between the ways a recurrent module can be called and one layout, `(T, B, ·)` from the first step on.

Everything here is ordinary differentiable torch, so that gradients find their way back by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled.cells.weights import used
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout.nonfinite import is_finite


@dataclass(frozen=True)
class Layout:
    """How one call laid out its input: batched or not, time or batch first, padded or packed."""

    batch_first: bool
    batched: bool
    packed: PackedSequence | None
    lengths: Tensor | None  # (B,) on the CPU, where sequences differ in length

    @classmethod
    def of(cls, module: nn.RNNBase, name: str, sequence: object) -> Layout:
        """The layout of `sequence`; raises where the module could not run it."""
        if isinstance(sequence, PackedSequence):
            _check(module, name, sequence.data, dims=(2,))
            lengths = pad_packed_sequence(sequence)[1]
            return cls(False, True, sequence, lengths if len(set(lengths.tolist())) > 1 else None)
        if not isinstance(sequence, Tensor):
            raise InvalidTypeError(
                f"input of {name!r}: expected a tensor or a PackedSequence, got {type(sequence).__name__}; "
                "pass what the module's forward takes"
            )
        _check(module, name, sequence, dims=(2, 3))
        return cls(module.batch_first, sequence.dim() == 3, None, None)

    def inward(self, sequence: Tensor | PackedSequence) -> Tensor:
        """The input as `(T, B, I)`."""
        if isinstance(sequence, PackedSequence):
            return pad_packed_sequence(sequence)[0]
        if not self.batched:
            return sequence.unsqueeze(1)
        return sequence.transpose(0, 1) if self.batch_first else sequence

    def outward(self, output: Tensor) -> Tensor | PackedSequence:
        """An output `(T, B, D*P)` as the module returns it."""
        if self.packed is not None:
            order = self.packed.sorted_indices
            lengths = self.lengths if self.lengths is not None else torch.full((output.shape[1],), len(output))
            if order is not None:
                output, lengths = output.index_select(1, order), lengths[order.cpu()]
            data = pack_padded_sequence(output, lengths).data
            return PackedSequence(data, self.packed.batch_sizes, order, self.packed.unsorted_indices)
        if not self.batched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output

    def state_inward(self, state: Tensor) -> Tensor:
        """A state as `(L*D, B, ·)`."""
        return state if self.batched else state.unsqueeze(1)

    def state_outward(self, state: Tensor) -> Tensor:
        """A state `(L*D, B, ·)` as the module returns it."""
        return state if self.batched else state.squeeze(1)


def reverse_time(sequence: Tensor, lengths: Tensor | None) -> Tensor:
    """`(T, B, ·)` or `(T, B)` backwards in time, each sequence within its own length; its own inverse."""
    if lengths is None:
        return sequence.flip(0)
    steps = torch.arange(sequence.shape[0], device=sequence.device).unsqueeze(1)
    last = lengths.to(sequence.device) - 1
    index = torch.where(steps <= last, last - steps, steps)
    return sequence.gather(0, index.reshape(index.shape + (1,) * (sequence.dim() - 2)).expand_as(sequence))


def check_state(module: nn.RNNBase, name: str, label: str, state: object, expected: tuple[int, ...]) -> None:
    """Raise unless a given initial state is a tensor of the expected shape, dtype and device."""
    if not isinstance(state, Tensor):
        raise InvalidTypeError(
            f"{label} of {name!r}: expected a tensor, got {type(state).__name__}; an LSTM takes (h0, c0), "
            "the others h0"
        )
    if tuple(state.shape) != expected:
        raise InvalidValueError(
            f"{label} of {name!r}: expected shape {expected}, got {tuple(state.shape)}; reshape the state"
        )
    _check_kind(module, f"{label} of {name!r}", state)
    if not is_finite(state.detach()):
        raise InvalidValueError(
            f"{label} of {name!r}: expected finite numbers, got NaN or inf; start from another state"
        )


def _check(module: nn.RNNBase, name: str, sequence: Tensor, dims: tuple[int, ...]) -> None:
    shape = f"(B, T, {module.input_size})" if module.batch_first else f"(T, B, {module.input_size})"
    if sequence.dim() not in dims or sequence.shape[-1] != module.input_size:
        raise InvalidValueError(
            f"input of {name!r}: expected {shape}, or without the batch (T, {module.input_size}), "
            f"got {tuple(sequence.shape)}; reshape the input"
        )
    if sequence.numel() == 0:
        raise InvalidValueError(
            f"input of {name!r}: expected at least one step and one sample, got {tuple(sequence.shape)}; "
            "pass a sequence that is not empty"
        )
    _check_kind(module, f"input of {name!r}", sequence)
    if not is_finite(sequence.detach()):
        raise InvalidValueError(f"input of {name!r}: expected finite numbers, got NaN or inf; clean the input")


def _check_kind(module: nn.RNNBase, label: str, tensor: Tensor) -> None:
    weight = used(module)["weight_ih_l0"]
    if tensor.dtype != weight.dtype:
        raise InvalidTypeError(
            f"{label}: expected {weight.dtype} as the weights are, got {tensor.dtype}; "
            f"convert it with .to({weight.dtype})"
        )
    if tensor.device != weight.device:
        raise InvalidValueError(
            f"{label}: expected device {weight.device} where the weights are, got {tensor.device}; "
            f"move it with .to({str(weight.device)!r})"
        )
