"""How fast does your recurrent network run, and how far back can it learn?

The names below are loaded when they are first used, so that `import unrolled` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from unrolled.environment import Environment
from unrolled.errors import UnrolledError
from unrolled.workload import Workload

if TYPE_CHECKING:
    from unrolled.gradients import GradientFlow, clipping, gradient_flow, step_gradient_flow, theory, watch
    from unrolled.speed.race import race

_HOMES = {
    "GradientFlow": "unrolled.gradients",
    "clipping": "unrolled.gradients",
    "gradient_flow": "unrolled.gradients",
    "race": "unrolled.speed.race",
    "step_gradient_flow": "unrolled.gradients",
    "theory": "unrolled.gradients",
    "watch": "unrolled.gradients",
}

__all__ = [
    "Environment",
    "GradientFlow",
    "UnrolledError",
    "Workload",
    "clipping",
    "gradient_flow",
    "race",
    "step_gradient_flow",
    "theory",
    "watch",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
