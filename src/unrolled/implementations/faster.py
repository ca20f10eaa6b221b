"""`faster`: somebody's model whose recurrent layers run by `bptt` and `inference` where these are faster."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.cell import State
from unrolled.cells.weights import Weights
from unrolled.errors import InvalidTypeError
from unrolled.implementations import bptt, inference, loop

M = TypeVar("M", bound=nn.Module)


class _Faster:
    """A fused module, called as before."""

    ONE_CALL = True  # for who looks into a model: not the forward of torch below, which may not be asked

    def forward(self, input: Any, hx: Any = None) -> Any:
        """By `bptt` where gradients are wanted, else by `inference`, where that pays; else as torch does it."""
        module: Any = self
        if not _pays(module, input):
            return super().forward(input, hx)  # type: ignore[misc]
        layers, cell = Weights.each(module), cell_of(module)
        way = bptt.scan if _wants_gradients(module, input, hx) else inference.scan

        def scan(k: int, x: Tensor, state: State) -> tuple[Tensor, State]:
            return way(layers[k], cell, x, state)

        return loop.run(module, scan, input, hx)


class FasterRNN(_Faster, nn.RNN):
    """`nn.RNN`, trained by `bptt`, else run by `inference`."""


class FasterGRU(_Faster, nn.GRU):
    """`nn.GRU`, trained by `bptt`, else run by `inference`."""


class FasterLSTM(_Faster, nn.LSTM):
    """The same of `nn.LSTM` where torch has no kernel of oneDNN for it."""


OF = {nn.RNN: FasterRNN, nn.GRU: FasterGRU, nn.LSTM: FasterLSTM}


def faster(model: M) -> M:
    """`model` with each `nn.RNN`, `nn.GRU` and `nn.LSTM` in it made to train and to run faster on a CPU.

    What comes back has the very parameters, buffers and hooks of `model`, and its state dict; `model` itself stays as
    it is. Results and gradients are the same to rounding. Left to torch: calls on other devices, under autocast or
    `torch.compile`, of packed sequences, with a projection, and an LSTM that oneDNN runs.
    Subclasses are left as they are. The gradients of a faster layer cannot be differentiated again.

    Raises `InvalidTypeError` for what is no module.
    """
    if not isinstance(model, nn.Module):
        raise InvalidTypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    return _copy(model, {})  # type: ignore[return-value]


def _copy(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """Another face of the same module, or itself where nothing below it changes; each module has one."""
    if module not in known:
        known[module] = module  # for a module that contains itself
        children = {
            name: None if child is None else _copy(child, known) for name, child in module._modules.items()
        }
        kind = OF.get(type(module), type(module))
        if kind is not type(module) or any(
            child is not module._modules[name] for name, child in children.items()
        ):
            face: nn.Module = object.__new__(kind)
            face.__dict__.update(module.__dict__)
            face.__dict__["_modules"] = children
            known[module] = face
    return known[module]


def _pays(module: nn.RNNBase, input: Any) -> bool:
    """Whether a call is one that `bptt` and `inference` take, and one that they are faster at."""
    return (
        isinstance(input, Tensor)
        and input.dim() in (2, 3)
        and input.shape[-1] == module.input_size
        and input.numel() > 0
        and input.device.type == "cpu"
        and input.dtype == module.weight_hh_l0.dtype
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not module.proj_size
        and not (isinstance(module, nn.LSTM) and _by_onednn(input))
    )


def _wants_gradients(module: nn.RNNBase, input: Tensor, hx: Any) -> bool:
    """Whether autograd records a call."""
    given = (input, *(hx if isinstance(hx, tuple) else (hx,)), *module.parameters())
    return torch.is_grad_enabled() and any(isinstance(each, Tensor) and each.requires_grad for each in given)


def _by_onednn(input: Tensor) -> bool:
    """Whether torch runs an LSTM over such inputs by oneDNN."""
    onednn: Any = torch.backends.mkldnn
    available: bool = onednn.is_available() and onednn.enabled
    return available and input.dtype != torch.float64
