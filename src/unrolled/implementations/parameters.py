"""Reading a fused module: which recurrence it runs, and the parameters of each layer and direction."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from unrolled.errors import ImplementationError

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True)
class LayerParameters:
    """The parameters of one layer in one direction; G gates, rows stacked gate by gate as `torch.nn` does.

    `weight_ih` is `(G * H, I)`, `weight_hh` is `(G * H, H)`, the biases are `(G * H,)` or both `None`.
    """

    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias_ih: nn.Parameter | None
    bias_hh: nn.Parameter | None


def layer_parameters(reference: nn.RNNBase) -> list[LayerParameters]:
    """One entry per layer and direction, ordered as the initial state: layer 0 forward, layer 0 backward, ...

    The entries are the reference's own parameters, not copies.
    """
    suffixes = ("", "_reverse") if reference.bidirectional else ("",)
    return [
        LayerParameters(*(getattr(reference, f"{name}_l{layer}{suffix}", None) for name in _NAMES))  # type: ignore[arg-type]
        for layer in range(reference.num_layers)
        for suffix in suffixes
    ]


def cell_of(reference: nn.Module) -> str:
    """`rnn_tanh`, `rnn_relu`, `gru` or `lstm`.

    Raises `ImplementationError` for anything else, and for what a plain loop cannot reproduce.
    """
    if not isinstance(reference, nn.RNN | nn.GRU | nn.LSTM):
        raise ImplementationError(
            f"reference: expected nn.RNN, nn.GRU or nn.LSTM, got {type(reference).__name__}"
        )
    if reference.proj_size:
        raise ImplementationError(f"proj_size: expected 0, got {reference.proj_size}; no loop here projects")
    if reference.dropout:
        raise ImplementationError(
            f"dropout: expected 0, got {reference.dropout}; random masks cannot be compared, "
            "put nn.Dropout between one-layer modules"
        )
    return reference.mode.lower()
