"""Whether a recurrence forgets how it began, which the exponent of one trajectory cannot say."""

from __future__ import annotations

import torch

from unrolled.newton.recurrence import in_a_row
from unrolled.newton.systems import Followed

STARTS = 8  # trajectories from elsewhere
APART = 0.1  # of the size of states: farther than that at the end it has not been forgotten


@torch.no_grad()
def forgets(followed: Followed) -> bool:
    """Whether trajectories that begin elsewhere, under the same input, come to the one that was followed.

    That is the echo state property (Jaeger 2001), of the first sample and as far as the steps show. Where there are
    several ways to go on, each of them may be stable, its largest exponent below 0; a guess of all states at once is
    then about another one, and corrected from the first step on. The starts are normal, as large as the states are.
    """
    states, recurrence = followed.states[:, 0], followed.recurrence
    size = states.square().mean(0).sqrt()
    size = size if bool(size.any()) else torch.ones_like(size)
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(STARTS, recurrence.size, generator=generator, dtype=torch.float64).to(size)
    inputs = recurrence.inputs[:, :1].expand(-1, STARTS, *recurrence.inputs.shape[2:])
    ends = in_a_row(recurrence.over(inputs), size * normal)[-1]
    return bool((ends - states[-1]).abs().max() <= APART * size.max())
