"""`fused`: the module as it is. One call runs every step: cuDNN on CUDA, oneDNN or ATen on the CPU."""

from torch import nn


def build(reference: nn.Module) -> nn.Module:
    """The reference itself; raced against itself, it measures the noise floor."""
    return reference
