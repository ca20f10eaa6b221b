"""The job `gradflow`: how far back the gradient of one network reaches, from a loss at the last step."""

from __future__ import annotations

from typing import Any

from unrolled.sweep.jobs.job import Column, Job, Parameter, Settings
from unrolled.sweep.jobs.network import CELL, FORGET_BIAS, GAIN, HIDDEN, INIT, LAYERS, network_of


def check(settings: Settings) -> None:
    """Raise for what cannot be measured."""
    from unrolled.errors import InvalidValueError
    from unrolled.gradients.clipping import Clip

    clip = Clip.parse(settings["clip"])
    if clip.mode != "none" and not clip.works_on_states:
        raise InvalidValueError(
            f"clip: expected one that changes the gradient at each step, got {clip}; try none or step:1"
        )
    network_of(settings, settings["input"], 0).workload.check_memory()


def measure(settings: Settings, seed: int) -> dict[str, Any]:
    """The hidden state of the last layer, as the table of `unrolled gradflow` has it."""
    from unrolled.errors import NonFiniteError
    from unrolled.gradients.reach import last_layer, run_flow

    network = network_of(settings, settings["input"], seed)
    try:
        flow = run_flow(network, network.module(), network.input(), "last", settings["clip"])
    except NonFiniteError as error:
        return {"problem": str(error)}
    profile = last_layer(flow)
    verdict = profile.verdict
    return {
        "decades_per_step": verdict.decades_per_step,
        "horizon": verdict.horizon,
        "horizon_is_censored": verdict.horizon_is_censored,
        "first_norm": profile.relative(profile.steps - 1),
        "verdict": verdict.word,
    }


JOB = Job(
    name="gradflow",
    version=1,
    what="reach of the gradient",
    parameters=(
        CELL, HIDDEN, LAYERS,
        Parameter("input", "integer", 8, "features"),
        INIT, GAIN, FORGET_BIAS,
        Parameter("length", "integer", 201, "steps"),
        Parameter("batch", "integer", 8, "sequences at a time"),
        Parameter("clip", "word", "none", "none, or step:M at every step"),
    ),
    columns=(
        Column("decades_per_step", "slope of the gradient's norm over lag", "decades per step", centred=True),
        Column("horizon", "horizon: lag with 1/1000 of the norm", "steps"),
        Column("horizon_is_censored", "share of horizons beyond the length", kind="flag"),
        Column("first_norm", "norm at the first step over that at the last", "log10"),
        Column("verdict", "verdict", kind="word"),
    ),
    shown="decades_per_step",
    check=check,
    measure=measure,
)  # fmt: skip
