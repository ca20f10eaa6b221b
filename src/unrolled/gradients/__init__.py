"""How far back a recurrent network can learn: the gradient's norm at every step."""

from unrolled.gradients.clipping import Clip, ClipReport
from unrolled.gradients.flow import GradientFlow, gradient_flow
from unrolled.gradients.nonfinite import NonFiniteError
from unrolled.gradients.profile import Profile
from unrolled.gradients.theory import GradientBound, gradient_bound
from unrolled.gradients.verdict import Verdict

__all__ = [
    "Clip",
    "ClipReport",
    "GradientBound",
    "GradientFlow",
    "NonFiniteError",
    "Profile",
    "Verdict",
    "gradient_bound",
    "gradient_flow",
]
