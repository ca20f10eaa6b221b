"""Where is the transition? Newton's iterations over the gain of a random network, D = 100, up to T = 3000.

python examples/parallel_transition.py [folder]

It is the set-up of Gonzalez et al. 2025 (arXiv 2508.16817): `h_t = tanh(W h_{t-1} + ξ_t)`, `W_ij ~ N(0, g²/D)`, here
with normal `ξ` of standard deviation 0.3, to a residual of 1e-10. Below the transition K hardly depends on T; above it
K grows with T, and is given up at 300. It takes about five minutes on two cores.
"""

import sys
from pathlib import Path

from unrolled.cells.initialisation import Init
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.over_time.record import Parallel
from unrolled.over_time.study import measure
from unrolled.progress import ProgressLine

UNITS, NOISE = 100, 0.3
GAINS = (0.5, 0.7, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 2.0)
LENGTHS = (100, 300, 1000, 3000)
TOLERANCE = 1e-10


def network(gain: float, steps: int) -> Network:
    """Torch draws input weights between ±1/sqrt(D), so 3 D NOISE² inputs add up to noise of that size."""
    workload = Workload(
        cell="rnn_tanh", input_size=round(3 * UNITS * NOISE**2), hidden_size=UNITS, num_layers=1, batch_size=1,
        seq_len=steps, bias=False,
    )  # fmt: skip
    return Network(name=f"gain {gain:g}", workload=workload, init=Init("normal", UNITS**-0.5), gain=gain)


def run(gains: tuple[float, ...] = GAINS, lengths: tuple[int, ...] = LENGTHS) -> Parallel:
    """All gains, each for a tenth of the longest length at most."""
    networks, progress = [network(gain, lengths[-1]) for gain in gains], ProgressLine(sys.stderr)
    try:
        return measure(networks, lengths, TOLERANCE, limit=lengths[-1] // 10, progress=progress)
    finally:
        progress.stop()


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/transition")
    folder.mkdir(parents=True, exist_ok=True)
    found = run()
    found.save(folder / "parallel.json")
    print(found)
