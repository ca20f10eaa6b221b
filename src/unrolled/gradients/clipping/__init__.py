"""Ways of keeping a gradient in bounds, and what each of them does to it.

    none        nothing
    norm:M      one factor for all parameters, so that the global L2 norm is at most M (Pascanu et al. 2013)
    value:V     each entry between -V and V
    tensor:M    each parameter's own L2 norm at most M
    auto:P      like norm, at the P-th percentile of all norms so far, this one included (Seetharaman et al. 2020)
    zclip:Z     like norm, where the norm is Z deviations above the mean of those so far (Kumar et al. 2025)
    agc:L       the gradient of each unit at most L times as large as its weights (Brock et al. 2021)
    step:M      the cotangent of the state at most M at every step of the backward pass

Each is a file of its own, listed in `registry`. Unlike `torch.nn.utils`, nothing here overflows near 1e20,
multiplies by 0 or turns signs; what is not finite is named and left alone.
"""

from unrolled.gradients.clipping.clip import Clip
from unrolled.gradients.clipping.report import ClipReport, check_finite, compare

__all__ = ["Clip", "ClipReport", "check_finite", "compare"]
