"""The ways of running a recurrence: one file each, one registry.

An implementation is a function `build(reference: nn.Module) -> nn.Module`. It takes a fused `nn.RNN`,
`nn.GRU` or `nn.LSTM` and returns a module with the same call signature that shares the reference's
parameters and must compute the same thing. To add one: write a file with a `build`, and one line here.
Names and plug-ins are resolved alike, so that importing this package does not import torch.
"""

from unrolled.implementations.registry import (
    DEFAULT_IMPLEMENTATIONS,
    IMPLEMENTATIONS,
    NETWORK,
    RUNGS,
    Around,
    Build,
    Implementation,
    as_implementation,
    implement,
    load,
    network_of,
)

__all__ = [
    "DEFAULT_IMPLEMENTATIONS",
    "IMPLEMENTATIONS",
    "NETWORK",
    "RUNGS",
    "Around",
    "Build",
    "Implementation",
    "as_implementation",
    "implement",
    "load",
    "network_of",
]
