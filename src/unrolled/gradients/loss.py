"""What the gradient is taken of: the user's loss, or a fixed random cotangent at the last step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from unrolled.errors import InvalidTypeError, InvalidValueError, NonFiniteError
from unrolled.rollout.layout import Layout

Loss = Callable[[Any], Tensor]

SEED = 0  # of the default cotangent: the same for every model of one output size


def scalar_loss(loss: Loss | None, output: Any, layout: Layout) -> Tensor:
    """The scalar to differentiate.

    Raises `InvalidTypeError` or `InvalidValueError` for a loss that is no scalar, or has no gradient, and
    `NonFiniteError` for NaN or inf.
    """
    scalar = last_step_loss(output, layout) if loss is None else loss(output)
    if not isinstance(scalar, Tensor):
        raise InvalidTypeError(
            f"loss: expected a scalar tensor, got {type(scalar).__name__}; return a torch scalar such as "
            "criterion(output, target)"
        )
    if scalar.numel() != 1:
        raise InvalidValueError(
            f"loss: expected a scalar, got shape {tuple(scalar.shape)}; reduce it with .mean() or .sum()"
        )
    if not scalar.requires_grad:
        raise InvalidValueError(
            "loss: expected a loss that depends on the recurrent output, got one without a gradient; compute it "
            "from the model's output, without .detach(), .item() or torch.no_grad()"
        )
    if not bool(torch.isfinite(scalar.detach()).all()):
        raise NonFiniteError(
            f"loss: expected a finite number, got {float(scalar.detach())}; look at what comes after the last "
            "recurrent layer, whose states are finite",
            module="loss",
        )
    return scalar.reshape(())


def last_step_loss(output: Any, layout: Layout) -> Tensor:
    """The output's last step times a random unit vector per sample, `v · output_T`, summed over samples.

    Of a tuple the first entry is the output. A packed output is read at each sequence's own last step; a
    tensor `(T, B, F)`, `(B, T, F)` or `(T, F)` is read as `layout` says; one without a time dimension, `(B, F)`
    or `(B,)`, counts as a last step. A single number is a loss already.

    Raises `InvalidTypeError` or `InvalidValueError` for any other output.
    """
    if isinstance(output, PackedSequence):
        padded, lengths = pad_packed_sequence(output)
        samples = torch.arange(padded.shape[1], device=padded.device)
        return _against_unit_vectors(padded[lengths.to(padded.device) - 1, samples])
    if isinstance(output, tuple | list) and output:
        return last_step_loss(output[0], layout)
    if not isinstance(output, Tensor):
        raise InvalidTypeError(
            f"loss: expected a model that returns a tensor, got {type(output).__name__}; pass loss=, a function "
            "of what the model returns"
        )
    if output.numel() == 1:
        return output.sum()
    if output.dim() == 3:
        return _against_unit_vectors(output[:, -1] if layout.batch_first else output[-1])
    if output.dim() > 3:
        raise InvalidValueError(
            f"loss: expected an output of at most 3 dimensions, got {tuple(output.shape)}; pass loss=, a "
            "function of what the model returns"
        )
    if not layout.batched:
        return _against_unit_vectors((output[-1] if output.dim() == 2 else output).unsqueeze(0))
    return _against_unit_vectors(output if output.dim() == 2 else output.unsqueeze(-1))


def _against_unit_vectors(rows: Tensor) -> Tensor:
    """Drawn in float64 on the CPU, so that every dtype and device gets the same ones."""
    generator = torch.Generator().manual_seed(SEED)
    vectors = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
    vectors = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.sum(rows * vectors.to(rows))
