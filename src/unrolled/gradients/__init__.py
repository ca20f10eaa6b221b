"""How far back a recurrent network can learn: the gradient's norm at every step, and the spectrum behind it."""

from unrolled.errors import NonFiniteError
from unrolled.gradients.clipping import Clip, ClipReport
from unrolled.gradients.flow import GradientFlow, gradient_flow
from unrolled.gradients.profile import Profile
from unrolled.gradients.spectrum.lyapunov import lyapunov_spectrum
from unrolled.gradients.spectrum.lyapunov_record import Exponents, LyapunovSpectrum
from unrolled.gradients.spectrum.singular_record import JacobianSingularValues, SingularValues
from unrolled.gradients.spectrum.singular_values import jacobian_singular_values
from unrolled.gradients.spectrum.step_spectrum import step_jacobian_singular_values, step_lyapunov_spectrum
from unrolled.gradients.step_function import step_gradient_flow
from unrolled.gradients.theory import GradientBound, gradient_bound
from unrolled.gradients.verdict import Verdict
from unrolled.gradients.watch import Watch, watch

__all__ = [
    "Clip",
    "ClipReport",
    "Exponents",
    "GradientBound",
    "GradientFlow",
    "JacobianSingularValues",
    "LyapunovSpectrum",
    "NonFiniteError",
    "Profile",
    "SingularValues",
    "Verdict",
    "Watch",
    "gradient_bound",
    "gradient_flow",
    "jacobian_singular_values",
    "lyapunov_spectrum",
    "step_gradient_flow",
    "step_jacobian_singular_values",
    "step_lyapunov_spectrum",
    "watch",
]
