"""How fast does your recurrent network run, and how far back can it learn?

The names below are loaded when they are first used, so that `import unrolled` waits for nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled import loggers, theory
    from unrolled.environment import Environment
    from unrolled.errors import UnrolledError
    from unrolled.gradients import GradientFlow, clipping, gradient_flow, step_gradient_flow, watch
    from unrolled.implementations.faster import faster
    from unrolled.networks.workload import Workload
    from unrolled.over_time.measure import parallel, step_parallel
    from unrolled.spectrum import (
        JacobianSingularValues,
        LyapunovSpectrum,
        jacobian_singular_values,
        lyapunov_spectrum,
        step_jacobian_singular_values,
        step_lyapunov_spectrum,
    )
    from unrolled.speed.race import race
    from unrolled.speed.why.measure import why
    from unrolled.speed.why.record import Why

_HOMES = {
    "Environment": "unrolled.environment",
    "GradientFlow": "unrolled.gradients",
    "JacobianSingularValues": "unrolled.spectrum",
    "LyapunovSpectrum": "unrolled.spectrum",
    "UnrolledError": "unrolled.errors",
    "Why": "unrolled.speed.why.record",
    "Workload": "unrolled.networks.workload",
    "clipping": "unrolled.gradients",
    "faster": "unrolled.implementations.faster",
    "gradient_flow": "unrolled.gradients",
    "jacobian_singular_values": "unrolled.spectrum",
    "loggers": "unrolled.loggers",
    "lyapunov_spectrum": "unrolled.spectrum",
    "parallel": "unrolled.over_time.measure",
    "race": "unrolled.speed.race",
    "step_gradient_flow": "unrolled.gradients",
    "step_jacobian_singular_values": "unrolled.spectrum",
    "step_lyapunov_spectrum": "unrolled.spectrum",
    "step_parallel": "unrolled.over_time.measure",
    "theory": "unrolled.theory",
    "watch": "unrolled.gradients",
    "why": "unrolled.speed.why.measure",
}

__all__ = [
    "Environment",
    "GradientFlow",
    "JacobianSingularValues",
    "LyapunovSpectrum",
    "UnrolledError",
    "Why",
    "Workload",
    "clipping",
    "faster",
    "gradient_flow",
    "jacobian_singular_values",
    "loggers",
    "lyapunov_spectrum",
    "parallel",
    "race",
    "step_gradient_flow",
    "step_jacobian_singular_values",
    "step_lyapunov_spectrum",
    "step_parallel",
    "theory",
    "watch",
    "why",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}; it has {', '.join(__all__)}")
    home = import_module(_HOMES[name])
    return home if _HOMES[name] == f"unrolled.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return __all__
