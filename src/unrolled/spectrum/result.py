"""One network under one drive: its Lyapunov exponents, its Jacobians' singular values, and what theory says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import nn

from unrolled.errors import NonFiniteError
from unrolled.networks.subject import Subject, their_errors
from unrolled.networks.textbook import Network
from unrolled.newton.attempt import Attempt, attempt_all, check_attempts, in_words, place_of, worst
from unrolled.observed.system import System
from unrolled.results.codec import IF_NOT_DEFAULT, Count, Size, require
from unrolled.rollout.scaled import check_logs
from unrolled.spectrum.drive import DRIVES, GIVEN, driven, first_sample, steps_of
from unrolled.spectrum.lyapunov import lyapunov_spectrum
from unrolled.spectrum.lyapunov_record import Exponents, LyapunovSpectrum, check_interval
from unrolled.spectrum.singular_record import JacobianSingularValues, SingularValues
from unrolled.spectrum.singular_values import jacobian_singular_values
from unrolled.theory import exponents_at_fixed_point, mean_field_of

DEFAULT_LAGS = (1, 2, 5, 10, 20, 50, 100, 200)
# Initialisations whose recurrent weights mean-field theory knows.
RANDOM = ("default", "orthogonal", "normal")
# Nats of growth or decay over all measured steps, a factor of 20: less than that counts as neither.
NEUTRAL = 3.0


@dataclass(frozen=True)
class Settings:
    """How spectra are measured, as `lyapunov_spectrum` and `jacobian_singular_values` take it.

    None stands for all exponents, a fifth of the steps as warm-up, and those default lags that fit into the steps.
    """

    k: Size | None = None
    warm_up: Count | None = None
    qr_every: int | str = "auto"
    lags: tuple[Size, ...] | None = None

    def check(self) -> None:
        """Raise `ValueError` for what nothing can be measured with."""
        check_interval(self.qr_every)
        if self.lags is not None:
            require(len(self.lags) > 0 and list(self.lags) == sorted(set(self.lags)), "lags that increase")

    def warm_up_for(self, steps: int) -> int:
        """The first steps of a trajectory, which do not count."""
        return steps // 5 if self.warm_up is None else self.warm_up

    def lags_for(self, steps: int) -> tuple[int, ...]:
        """The lags to take singular values at."""
        if self.lags is not None:
            return self.lags
        return tuple(lag for lag in DEFAULT_LAGS if lag <= steps)


@dataclass(frozen=True)
class Prediction:
    """The largest exponent of one system according to `theory`: `mean field` or `fixed point`."""

    system: str
    exponent: float
    theory: Literal["mean field", "fixed point"]

    def check(self) -> None:
        """Raise `ValueError` for what is no exponent."""
        check_logs(np.array([self.exponent]), 1, "exponents")


@dataclass(frozen=True, eq=False)
class SpectrumResult:
    """What was measured of one network under one drive; `problem` where it met NaN or inf.

    The singular values are those of the first sample, unless the model brought its own input. Of the running estimates
    only those of the largest exponent are kept. `attempts`: at running it in parallel over time.
    """

    network: str
    drive: str
    spectrum: LyapunovSpectrum | None = None
    singular: JacobianSingularValues | None = None
    predictions: tuple[Prediction, ...] = ()
    problem: str | None = None
    attempts: tuple[Attempt, ...] = field(default=(), metadata=IF_NOT_DEFAULT)

    def rows(self, per_system: bool) -> list[dict[str, Any]]:
        """A row for the network as a whole, or one for every layer, direction and stack."""
        labels = {"network": self.network, "drive": self.drive}
        if self.spectrum is None:
            return [{**labels, "profile": "", "problem": self.problem or ""}]
        known = {prediction.system: prediction for prediction in self.predictions}
        rows = []
        for part in self.systems(per_system):
            row = part.summary()
            prediction = known.get(part.system.label)
            rows.append(
                {
                    **labels,
                    "profile": part.system.label if per_system else "",
                    "problem": "",
                    **row,
                    "dynamics": dynamics(row["largest"], row["steps"]),
                    "theory": prediction.exponent if prediction else math.nan,
                    "difference": row["largest"] - prediction.exponent if prediction else math.nan,
                    "theory_name": prediction.theory if prediction else "",
                    "parallel": in_words(
                        worst(self._attempts_of(part.system) if per_system else self.attempts)
                    ),
                }
            )
        return rows

    def _attempts_of(self, system: System) -> list[Attempt]:
        """Of a layer and direction its own, of a stack those of all its layers."""
        if system.layer is None:
            return [each for each in self.attempts if each.system.call_of == system.call_of]
        return [each for each in self.attempts if each.system == system]

    def systems(self, per_system: bool) -> list[Exponents]:
        """All systems, or the one that stands for the network."""
        if self.spectrum is None:
            return []
        return list(self.spectrum.parts) if per_system else [self.spectrum.part()]

    def jacobians(self, per_system: bool) -> list[SingularValues]:
        """Their singular values."""
        if self.singular is None:
            return []
        return list(self.singular.parts) if per_system else [self.singular.part()]

    def label(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A table with the network's name and the drive as its first columns."""
        frame.insert(0, "network", self.network)
        frame.insert(1, "drive", self.drive)
        return frame

    def check(self) -> None:
        """Raise `ValueError` for what no network does."""
        require(self.drive in (*DRIVES, GIVEN), f"a drive, got {self.drive!r}")
        require((self.spectrum is None) == (self.problem is not None), "a spectrum, or a problem")
        if self.spectrum is None:
            require(self.singular is None and not self.predictions, "nothing but a problem")
            require(not self.attempts, "nothing tried where there is a problem")
            return
        steps = {place_of(part.system): part.warm_up + part.steps for part in self.spectrum.parts}
        check_attempts(self.attempts, steps)
        systems = [part.system.label for part in self.spectrum.parts]
        predicted = [prediction.system for prediction in self.predictions]
        require(set(predicted) <= set(systems), "predictions of systems that were measured")
        require(len(set(predicted)) == len(predicted), "one prediction of a system")


def dynamics(exponent: float, steps: int) -> str:
    """`chaotic`, `neutral` or `forgetting`, by the largest exponent over so many steps."""
    if exponent * steps > NEUTRAL:
        return "chaotic"
    return "forgetting" if exponent * steps < -NEUTRAL else "neutral"


def measure_spectrum(
    network: Subject, drive: str, settings: Settings, singular_values: bool = True
) -> SpectrumResult:
    """Run `network` once at its own length. NaN and inf that it produces are a result, not an error."""
    module = network.module()
    inputs, state = driven(network, module, drive)
    steps = steps_of(network)
    try:
        with their_errors(network, inputs):
            spectrum = lyapunov_spectrum(
                module,
                inputs,
                k=settings.k,
                state=state,
                warm_up=settings.warm_up_for(steps),
                qr_every=settings.qr_every,
                cells=network.cells,
            )
            singular = None
            if singular_values:
                lags = settings.lags_for(min(facts.seq_len for facts in spectrum.facts.values()))
                sample, start = first_sample(network, inputs, state)
                singular = jacobian_singular_values(module, sample, lags, state=start, cells=network.cells)
    except NonFiniteError as error:
        return SpectrumResult(network.name, drive, problem=str(error))
    parts = tuple(replace(part, running=part.running[..., :1]) for part in spectrum.parts)
    predictions = tuple(_predictions(network, module, drive, spectrum))
    return SpectrumResult(
        network.name,
        drive,
        replace(spectrum, parts=parts, environment=None),
        singular and replace(singular, environment=None),
        predictions,
        attempts=attempt_all(module, inputs, state, network.cells),
    )


def _predictions(
    network: Subject, module: nn.Module, drive: str, spectrum: LyapunovSpectrum
) -> Iterator[Prediction]:
    """From the fixed point where there is one without input; else from mean-field theory where weights are random."""
    if not isinstance(module, nn.RNNBase) or module.bidirectional:
        return
    at_fixed_point = False
    if drive == "zero":
        for part in spectrum.parts:
            exponents = exponents_at_fixed_point(module, layer=part.system.layer)
            if exponents is not None:
                at_fixed_point = True
                yield Prediction(part.system.label, float(exponents[0]), "fixed point")
    random = isinstance(network, Network) and network.init.kind in RANDOM
    if not at_fixed_point and random and module.mode == "RNN_TANH" and module.num_layers == 1:
        field = mean_field_of(module, 1.0 if drive == "noise" else 0.0)
        yield Prediction(spectrum.parts[0].system.label, field.exponent, "mean field")
