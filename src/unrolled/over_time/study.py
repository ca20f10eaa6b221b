"""Networks that are described, or somebody's own, each measured as by `unrolled.parallel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from unrolled.cells.initialisation import Init
from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.networks.subject import Subject, records_of, their_errors
from unrolled.networks.textbook import Network, described
from unrolled.networks.workload import Workload
from unrolled.over_time.measure import check_options, measure_module
from unrolled.over_time.record import Parallel
from unrolled.progress import ProgressLine
from unrolled.rollout.preserve import preserved

GAINS = (0.5, 1.0, 1.5, 2.0, 3.0)  # on both sides of the transition, which the input moves above 1


def default_networks(workload: Workload) -> tuple[Network, ...]:
    """Random tanh networks `W_ij ~ N(0, g²/H)` at several gains g, and torch's cells as they start."""
    deviation = workload.hidden_sizes[0] ** -0.5
    tanh = workload.replace(cell="rnn_tanh")
    random = (
        Network(name=f"RNN tanh, gain {gain:g}", workload=tanh, init=Init("normal", deviation), gain=gain)
        for gain in GAINS
    )
    return (*random, *(described(workload, cell) for cell in ("rnn_tanh", "gru", "lstm")))


def measure(
    networks: Sequence[Subject],
    lengths: Sequence[int],
    tolerance: float,
    limit: int | None = None,
    progress: ProgressLine | None = None,
    keep: Callable[[Parallel], None] | None = None,
) -> Parallel:
    """One after the other over its own input; `keep` is given what there is so far.

    Raises what `unrolled.parallel` does, and `InvalidValueError` where there is no network, or two have one name.
    """
    if not networks:
        raise InvalidValueError("networks: expected at least one, got none; see unrolled.networks.textbook")
    chosen = check_options(lengths, tolerance, limit)
    study = Parallel(chosen, tolerance, limit, records_of(networks), (), Environment.without_load())
    if progress:
        progress.start(len(networks))
    for network in networks:
        if progress:
            progress.show(network.name)
        module, inputs = network.module(), network.input()
        with preserved(module), their_errors(network, inputs), torch.no_grad():
            found = measure_module(network.name, module, inputs, chosen, tolerance, limit, cells=network.cells)
        study = replace(study, measured=(*study.measured, found))
        if keep:
            keep(study)
        if progress:
            progress.advance()
    return study
