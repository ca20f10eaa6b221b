"""Linear recurrences `d_t = A_t d_{t-1} + b_t` for all t at once, by a parallel scan over time.

Two steps in a row are one such step, `d_{t+1} = A_{t+1} A_t d_{t-1} + (A_{t+1} b_t + b_{t+1})`. Joining steps in pairs
halves the sequence until one is left, and the states in between follow on the way back: about `2 log2 T` batched
products in a row in place of T (Blelloch 1990, Prefix sums and their applications, §1.4).
"""

from __future__ import annotations

import torch
from torch import Tensor


def full(matrices: Tensor, added: Tensor) -> Tensor:
    """`d` `(T, B, S)` from `d_{-1} = 0`, for `matrices` `(T, B, S, S)` and `added` `(T, B, S)`.

    It takes T products of matrices and as many numbers again as `matrices` has. The first matrix has nothing to act on.
    """
    steps = len(added)
    if steps == 1:
        return added
    pairs = steps // 2
    odd = matrices[1::2]
    # Of the first pair only what is added counts, and of the last one nothing comes after.
    joined = torch.matmul(odd, matrices[0::2][:pairs])
    into = added[1::2] + _times(odd, added[0::2][:pairs])
    after = full(joined, into)
    rest = steps - pairs - 1  # even steps but the first
    before = added[2::2] + _times(matrices[2::2], after[:rest])
    return _alternating(torch.cat((added[:1], before)), after)


def elementwise(factors: Tensor, added: Tensor) -> Tensor:
    """The same for diagonal matrices, `factors` `(T, B, S)`."""
    steps = len(added)
    if steps == 1:
        return added
    pairs = steps // 2
    odd = factors[1::2]
    after = elementwise(odd * factors[0::2][:pairs], torch.addcmul(added[1::2], odd, added[0::2][:pairs]))
    rest = steps - pairs - 1
    before = torch.addcmul(added[2::2], factors[2::2], after[:rest])
    return _alternating(torch.cat((added[:1], before)), after)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    return torch.matmul(matrices, vectors.unsqueeze(-1)).squeeze(-1)


def _alternating(even: Tensor, odd: Tensor) -> Tensor:
    """One after the other, from the first of `even` on; `even` may have one more."""
    pairs = len(odd)
    woven = torch.stack((even[:pairs], odd), dim=1).flatten(0, 1)
    return woven if len(even) == pairs else torch.cat((woven, even[pairs:]))
