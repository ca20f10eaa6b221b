"""The job `spectrum`: Lyapunov exponents of one network under white noise, by default the one that theory is about."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from unrolled.sweep.jobs.job import Column, Job, Parameter, Settings, Theory
from unrolled.sweep.jobs.network import CELL, FORGET_BIAS, GAIN, HIDDEN, INIT, LAYERS, network_of, workload_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unrolled.networks.textbook import Network

FEATURES = 8  # of the input of other networks, as `unrolled spectrum` has it


def is_theorys(settings: Settings) -> bool:
    """Whether it is `h_t = tanh(W h_{t-1} + σ ξ_t)`, `W_ij ~ N(0, g²/N)`: a tanh RNN for which no start was given."""
    return settings["cell"] == "rnn_tanh" and settings["init"] is None


def check(settings: Settings) -> None:
    """Raise for what cannot be measured."""
    from unrolled.errors import InvalidValueError
    from unrolled.spectrum.lyapunov import check_k, check_length

    if settings["noise"] < 0:
        raise InvalidValueError(
            f"noise: expected a standard deviation of at least 0, got {settings['noise']:g}"
        )
    if is_theorys(settings) and settings["layers"] != 1:
        raise InvalidValueError(
            f"layers: expected 1 in the random network of theory, got {settings['layers']}; set init=default"
        )
    if is_theorys(settings) and settings["input"] not in (None, settings["hidden"]):
        raise InvalidValueError(
            f"input: expected noise on each of {settings['hidden']} units of the random network of theory, got "
            f"{settings['input']} features; leave it out, or set init=default"
        )
    network = _network(settings, 0)
    network.workload.check_memory()
    if settings["warm_up"] is not None and settings["warm_up"] < 0:
        raise InvalidValueError(
            f"warm_up: expected at least 0 steps, got {settings['warm_up']}; 0 leaves none out"
        )
    check_length(network.workload.seq_len, _warm_up(settings))
    if not network.workload.is_own:
        states = 2 if settings["cell"] == "lstm" else 1
        check_k(settings["k"], states * settings["hidden"] * settings["layers"])


def measure(settings: Settings, seed: int) -> dict[str, Any]:
    """Means over the samples of the batch."""
    from unrolled.errors import NonFiniteError
    from unrolled.networks.subject import their_errors
    from unrolled.spectrum.lyapunov import lyapunov_spectrum

    network = _network(settings, seed)
    module = _module(network, settings)
    inputs, state = _driven(network, module, settings["noise"])
    try:
        with their_errors(network, inputs):
            spectrum = lyapunov_spectrum(
                module, inputs, k=settings["k"], state=state, warm_up=_warm_up(settings), cells=network.cells
            )
    except NonFiniteError as error:
        return {"problem": str(error)}
    part = spectrum.part()
    return {
        "exponent": part.largest.mean(),
        "positive": part.above_zero.mean(),
        "sum": part.sum.mean() if part.complete else None,
        "dimension": part.kaplan_yorke.mean(),
        "entropy": part.entropy_rate.mean(),
        "theory": _theory(settings),
    }


def _network(settings: Settings, seed: int) -> Network:
    from dataclasses import replace

    from unrolled.cells.initialisation import check_start
    from unrolled.spectrum.gain_curve import gaussian

    if not is_theorys(settings):
        return network_of(settings, settings["input"] or FEATURES, seed)
    network = gaussian(workload_of(settings, settings["hidden"], seed))
    check_start(settings["cell"], network.init, settings["gain"], settings["forget_bias"])
    return replace(network, gain=settings["gain"])


def _module(network: Network, settings: Settings) -> nn.Module:
    """With input weights of the unit matrix in the network of theory, so that each unit has noise of its own."""
    import torch

    module = network.module()
    if is_theorys(settings):
        weight: Any = module.weight_ih_l0
        with torch.no_grad():
            weight.copy_(torch.eye(len(weight)))
    return module


def _driven(network: Network, module: Any, noise: float) -> tuple[Tensor, Any]:
    """Normal noise of that standard deviation from rest; without noise a random start, as rest may stay at rest."""
    from unrolled.spectrum.drive import random_state

    inputs = noise * network.input()
    return inputs, None if noise else random_state(module, network, inputs)


def _warm_up(settings: Settings) -> int:
    return int(settings["length"] // 5 if settings["warm_up"] is None else settings["warm_up"])


def _theory(settings: Settings) -> float | None:
    """The largest exponent of infinitely many units."""
    from unrolled.theory import mean_field

    return mean_field(settings["gain"], settings["noise"] ** 2).exponent if is_theorys(settings) else None


def transition(settings: Settings) -> float | None:
    """The gain at which the largest exponent is 0 by mean-field theory."""
    return _transition_under(settings["noise"]) if is_theorys(settings) else None


@cache
def _transition_under(noise: float) -> float:
    from unrolled.theory import transition_gain

    return transition_gain(noise**2)


JOB = Job(
    name="spectrum",
    version=1,
    what="Lyapunov exponents",
    parameters=(
        CELL, HIDDEN, LAYERS,
        Parameter("input", "integer", None, f"features; default: a unit each, or {FEATURES} with an init"),
        INIT, GAIN, FORGET_BIAS,
        Parameter("noise", "number", 0.0, "standard deviation of the white noise at the input"),
        Parameter("length", "integer", 501, "steps, those of the warm-up included"),
        Parameter("batch", "integer", 1, "samples, of which means are taken"),
        Parameter("k", "integer", None, "how many exponents; default: all"),
        Parameter("warm_up", "integer", None, "steps left out; default: a fifth"),
    ),
    columns=(
        Column("exponent", "largest Lyapunov exponent λ₁", "nats per step", centred=True),
        Column("positive", "exponents above 0"),
        Column("sum", "sum of all exponents", "nats per step"),
        Column("dimension", "Kaplan-Yorke dimension"),
        Column("entropy", "sum of positive exponents", "nats per step"),
        Column("theory", "λ₁ by mean-field theory", "nats per step"),
    ),
    shown="exponent",
    check=check,
    measure=measure,
    theory=Theory("gain", "mean-field theory", transition),
)  # fmt: skip
