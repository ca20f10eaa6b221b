"""How the networks of a study started out, for the notes on its figures and tables: one "gain 1" is not another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.networks.record import NetworkRecord

# What the recurrent weights are, of each kind that somebody may have asked for.
KINDS = {
    "orthogonal": "orthogonal ×g: g times a random orthogonal matrix",
    "identity": "identity: the unit matrix",
    "normal": "Gaussian: each weight from N(0, {}²)",
    "chrono": "chrono: biases of the gates by the range of times to remember",
}


def untrained(networks: Sequence[NetworkRecord]) -> bool:
    """Whether all were described by their start; of somebody's model nothing is known."""
    return all(network.workload is not None for network in networks)


def start_note(networks: Sequence[NetworkRecord]) -> str:
    """A sentence on the weights of those that were described; nothing where none was."""
    described = [network for network in networks if network.workload is not None]
    if not described:
        return ""
    if all(network.workload is not None and network.workload.is_own for network in described):
        return "Untrained weights, as the cell itself initialises them."
    kinds = {(network.init or "").partition(":")[::2] for network in described}
    torchs = "Untrained weights, as torch initialises them"
    said = [KINDS[kind].format(_rounded(number)) for kind, number in sorted(kinds) if kind in KINDS]
    if not said:
        return f"{torchs}."
    return f"{torchs} where the name says no other ({'; '.join(said)})."


def _rounded(number: str) -> str:
    """`0.0707` for `0.0707107`."""
    return f"{float(number):.3g}" if number else ""
