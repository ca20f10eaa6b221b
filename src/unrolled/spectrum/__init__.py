"""What every direction does: Lyapunov exponents, and singular values of Jacobians over many steps."""

from unrolled.spectrum.lyapunov import lyapunov_spectrum
from unrolled.spectrum.lyapunov_record import Exponents, LyapunovSpectrum
from unrolled.spectrum.singular_record import JacobianSingularValues, SingularValues
from unrolled.spectrum.singular_values import jacobian_singular_values
from unrolled.spectrum.step_spectrum import step_jacobian_singular_values, step_lyapunov_spectrum

__all__ = [
    "Exponents",
    "JacobianSingularValues",
    "LyapunovSpectrum",
    "SingularValues",
    "jacobian_singular_values",
    "lyapunov_spectrum",
    "step_jacobian_singular_values",
    "step_lyapunov_spectrum",
]
