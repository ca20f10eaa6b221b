"""Spectra of several networks and the exponent over gain as one record, which `diagnostics.spectrum` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unrolled.environment import VOLATILE, Environment
from unrolled.errors import ResultFileError
from unrolled.networks.subject import Subject, sizes_of, units_of
from unrolled.networks.textbook import Network
from unrolled.output.files import read_json
from unrolled.progress import ProgressLine
from unrolled.spectrum.codec import Part
from unrolled.spectrum.drive import drives_for
from unrolled.spectrum.gain_curve import GainCurve, exponents_at, gain_curve
from unrolled.spectrum.result import Settings, SpectrumResult, measure_spectrum

FORMAT = "unrolled.spectrum"
VERSION = 1


@dataclass(frozen=True, eq=False)
class SpectrumStudy:
    """`results` of `networks` under their drives, `curves` over gain, and the settings, seed and machine."""

    networks: tuple[dict[str, Any], ...]
    results: tuple[SpectrumResult, ...]
    curves: tuple[GainCurve, ...]
    settings: Settings
    seed: int
    environment: Environment

    @property
    def single(self) -> bool:
        """Whether it is of one network, of which all layers are then shown."""
        return len({result.network for result in self.results}) == 1

    def table_frame(self) -> pd.DataFrame:
        """A row per network and drive, or per system of the one network: see `SpectrumResult.rows`."""
        return pd.DataFrame([row for result in self.results for row in result.rows(self.single)])

    def spectrum_frame(self) -> pd.DataFrame:
        """A row per network, drive, system, sample and exponent."""
        return _concatenated([run.label(run.spectrum.frame()) for run in self.results if run.spectrum])

    def singular_frame(self) -> pd.DataFrame:
        """A row per network, drive, system, lag, sample and singular value."""
        return _concatenated([run.label(run.singular.frame()) for run in self.results if run.singular])

    def carrying_frame(self) -> pd.DataFrame:
        """A row per network, drive, system and lag: the share that still carries 1/1000, mean over samples."""
        columns = dict.fromkeys(("log10_largest", "log10_condition", "carrying"), "mean")
        return self._of_systems(
            SpectrumResult.jacobians,
            lambda part: (
                part.summary().groupby("lag", as_index=False).agg(columns).assign(size=part.system.size)
            ),
        )

    def mean_spectrum_frame(self) -> pd.DataFrame:
        """A row per network, drive, system shown in the table, and exponent: its mean over samples."""
        return self._of_systems(
            SpectrumResult.systems,
            lambda part: pd.DataFrame(
                {"index": range(1, part.k + 1), "size": part.system.size, "exponent": part.mean}
            ),
        )

    def fan_frame(self) -> pd.DataFrame:
        """A row per network, drive, system of the table, lag and singular value: log10, mean over samples."""
        return self._of_systems(
            SpectrumResult.jacobians,
            lambda part: part.frame().groupby(["lag", "index"], as_index=False)["log10_singular_value"].mean(),
        )

    def _of_systems(
        self, parts: Callable[[SpectrumResult, bool], list[Part]], table: Callable[[Part], pd.DataFrame]
    ) -> pd.DataFrame:
        """`table` of each of the `parts` that are shown, after their network, drive and profile."""
        frames = []
        for result in self.results:
            for part in parts(result, self.single):
                frames.append(result.label(table(part)))
                frames[-1].insert(2, "profile", part.system.label if self.single else "")
        return _concatenated(frames)

    def gain_frame(self) -> pd.DataFrame:
        """A row per drive, gain, realisation and sample."""
        return _concatenated([curve.frame() for curve in self.curves])

    def gain_mean_frame(self) -> pd.DataFrame:
        """A row per drive and gain: mean, spread and theory. Its network is named with its size."""
        return _concatenated([curve.mean_frame().assign(network=self._swept_name) for curve in self.curves])

    def line_frame(self) -> pd.DataFrame:
        """The lines of mean-field theory over gain."""
        return _concatenated([curve.line() for curve in self.curves])

    def transition_frame(self) -> pd.DataFrame:
        """A row per drive: the gain at which the largest exponent crosses 0, measured and in theory."""
        return pd.DataFrame(
            [
                {
                    "network": self._swept_name,
                    "drive": curve.drive,
                    "measured": curve.crossing,
                    "theory": curve.transition,
                    "largest_difference": curve.largest_difference,
                }
                for curve in self.curves
            ],
            columns=["network", "drive", "measured", "theory", "largest_difference"],
        )

    def notes(self) -> list[str]:
        """What could not be measured, without repetitions."""
        notes = (note for result in self.results if result.spectrum for note in result.spectrum.notes)
        return list(dict.fromkeys(notes))

    @property
    def units(self) -> str:
        """The hidden units of its networks, for titles."""
        return units_of(self.networks[0])

    @property
    def _swept(self) -> dict[str, Any]:
        return {each["name"]: each for each in self.networks}[self.curves[0].network]

    @property
    def _swept_name(self) -> str:
        units = units_of(self._swept)
        return f"{self._swept['name']}, {units}" if units else self._swept["name"]

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was measured, and on what machine."""
        first = self.networks[0]
        name = f"{first['name']}, " if self.single else ""
        return self._foot(f"{name}{sizes_of(first)}")

    def describe_gains(self) -> str:
        """The same about the network that was run over gains."""
        how = f"{self.curves[0].realisations} networks at each gain"
        return self._foot(f"{sizes_of(self._swept)}, {how}")

    def _foot(self, what: str) -> str:
        measured = [part for result in self.results for part in result.systems(False)]
        steps = f", {measured[0].steps} steps after {measured[0].warm_up}" if measured else ""
        return f"{what}{steps}, seed {self.seed}\n{self.environment.describe()}"

    def to_json(self) -> str:
        """All of it, without a date, so that the same study gives the same text."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "seed": self.seed,
            "settings": asdict(self.settings),
            "environment": {k: v for k, v in self.environment.to_dict().items() if k != VOLATILE[0]},
            "networks": self.networks,
            "results": [result.to_dict() for result in self.results],
            "curves": [curve.to_dict() for curve in self.curves],
        }
        return json.dumps(content, allow_nan=False) + "\n"


def _concatenated(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def load_spectrum_study(path: Path) -> SpectrumStudy:
    """Read a `spectrum.json`: every number as it was measured.

    Raises `ResultFileError` when there is none, or it is damaged or of another version.
    """
    content = read_json(path, FORMAT, VERSION)
    try:
        settings = content["settings"]
        lags = settings["lags"]
        study = SpectrumStudy(
            tuple(content["networks"]),
            tuple(SpectrumResult.from_dict(result) for result in content["results"]),
            tuple(GainCurve.from_dict(curve) for curve in content["curves"]),
            Settings(**{**settings, "lags": None if lags is None else tuple(lags)}),
            content["seed"],
            Environment(**content["environment"], load_average=None),
        )
        if study.curves:
            study.describe_gains()
        for lay_out in (
            study.describe, study.table_frame, study.carrying_frame, study.fan_frame, study.mean_spectrum_frame,
            study.gain_frame, study.gain_mean_frame, study.line_frame, study.transition_frame,
        ):  # fmt: skip
            lay_out()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ResultFileError(
            f"results: expected what spectrum wrote in {path}, got damage ({type(error).__name__}: {error}); "
            "run it again"
        ) from error
    return study


def measure_study(
    networks: Sequence[Subject],
    *,
    drives: tuple[str, ...] | None = None,
    settings: Settings | None = None,
    swept: Network | None = None,
    gains: tuple[float, ...] = (),
    seed: int = 0,
    progress: ProgressLine | None = None,
) -> SpectrumStudy:
    """Measure every network under every drive, then the largest exponent of `swept` at every one of `gains`.

    `drives` is None for all that a network has; singular values, which cost more, are measured under the first alone.
    Raises what `lyapunov_spectrum` and `jacobian_singular_values` raise, but for NaN and inf, which are a result.
    """
    settings = settings or Settings()
    runs = [
        (network, drive, place == 0)
        for network in networks
        for place, drive in enumerate(drives_for(network, drives))
    ]
    sweeps = [(swept, drive) for drive in drives_for(swept, drives)] if swept else []
    if progress:
        progress.start(len(runs) + len(sweeps) * len(gains))
    results = []
    for network, drive, is_first in runs:
        _show(progress, f"spectrum of {network.name}, {drive}")
        results.append(measure_spectrum(network, drive, settings, singular_values=is_first))
        _advance(progress)
    curves = []
    for network, drive in sweeps:
        exponents = []
        for gain in gains:
            _show(progress, f"gain {gain:g}, {drive}")
            exponents.append(exponents_at(network, drive, gain, settings))
            _advance(progress)
        curves.append(gain_curve(network, drive, gains, exponents))
    measured = [*networks, swept] if swept else networks
    by_name = {network.name: network.to_dict() for network in measured}
    return SpectrumStudy(
        tuple(by_name.values()), tuple(results), tuple(curves), settings, seed, Environment.capture()
    )


def _show(progress: ProgressLine | None, what: str) -> None:
    if progress:
        progress.show(what)


def _advance(progress: ProgressLine | None) -> None:
    if progress:
        progress.advance()
