"""Checks of a recurrent module before it is run: weights of the right shapes, one dtype, finite."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from unrolled.cells import cell_of
from unrolled.cells.weights import Weights
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.rollout.nonfinite import is_finite


def check_weights(name: str, module: nn.RNNBase, named: Mapping[str, Tensor]) -> None:
    """Raise unless the weights, by the names of their attributes, are as `torch.nn` made them, and finite."""
    for layer in range(module.num_layers):
        expected = _shapes(module, layer)
        for reverse in range(2 if module.bidirectional else 1):
            weights = Weights.of(named, layer, bool(reverse)).named()
            for short, weight in weights.items():
                label = f"{short}_l{layer}{'_reverse' if reverse else ''} of {name!r}"
                if tuple(weight.shape) != expected[short]:
                    square = ", square gate by gate" if short == "weight_hh" else ""
                    raise InvalidValueError(
                        f"{label}: expected shape {expected[short]}{square}, got {tuple(weight.shape)}; make the "
                        "module anew with the right sizes"
                    )
                if not weight.is_floating_point():
                    raise InvalidTypeError(
                        f"{label}: expected floating point weights, got {weight.dtype}; use .float() or .double()"
                    )
                if weight.dtype != weights["weight_ih"].dtype:
                    raise InvalidTypeError(
                        f"{label}: expected {weights['weight_ih'].dtype} as of weight_ih, got {weight.dtype}; "
                        "use .float() or .double() on the module"
                    )
                if not is_finite(weight):
                    raise InvalidValueError(
                        f"{label}: expected finite weights, got NaN or inf; initialise or load them again"
                    )


def _shapes(module: nn.RNNBase, layer: int) -> dict[str, tuple[int, ...]]:
    """Those of a layer's weights, under `torch.nn`'s names."""
    outputs = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    inputs = module.input_size if layer == 0 else outputs
    return cell_of(module).shapes(inputs, module.hidden_size, module.proj_size)
