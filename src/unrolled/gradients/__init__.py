"""How far back a recurrent network can learn: the gradient's norm at every step, with and without clipping."""

from unrolled.errors import NonFiniteError
from unrolled.gradients.clipping import Clip, ClipReport
from unrolled.gradients.flow import GradientFlow, gradient_flow
from unrolled.gradients.profile import Profile
from unrolled.gradients.step_function import step_gradient_flow
from unrolled.gradients.verdict import Verdict
from unrolled.gradients.watch import Watch, watch

__all__ = [
    "Clip",
    "ClipReport",
    "GradientFlow",
    "NonFiniteError",
    "Profile",
    "Verdict",
    "Watch",
    "gradient_flow",
    "step_gradient_flow",
    "watch",
]
