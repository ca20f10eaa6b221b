"""Spectra of several networks and the exponent over gain as one record, which `diagnostics.spectrum` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import pandas as pd

from unrolled.environment import Environment
from unrolled.networks.record import NetworkRecord, upgrade_network
from unrolled.networks.subject import Subject, records_of
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.observed.facts import Facts
from unrolled.progress import ProgressLine
from unrolled.results.codec import require
from unrolled.results.record import Record
from unrolled.spectrum.drive import drives_for
from unrolled.spectrum.gain_curve import GainCurve, exponents_at, gain_curve
from unrolled.spectrum.result import Settings, SpectrumResult, measure_spectrum
from unrolled.spectrum.systems_record import Part

NO_FACTS = dict.fromkeys(field.name for field in fields(Facts))  # version 1 left out what did not apply


def _upgrade(content: dict[str, Any]) -> None:
    """From version 1, where null in an array was -inf."""
    content["environment"]["load_average"] = None
    content["networks"] = [upgrade_network(network) for network in content["networks"]]
    for result in content["results"]:
        result["singular"] = result.pop("singular_values")
        for record in (result["spectrum"], result["singular"]):
            if record is not None:
                del record["version"]
                record["environment"] = None
                record["facts"] = {name: NO_FACTS | facts for name, facts in record["facts"].items()}
                record["parts"] = record.pop("systems")
                for part in record["parts"]:
                    for name in ("values", "running", "log10"):
                        if name in part:
                            part[name] = _without_null(part[name])


def _without_null(array: Any) -> Any:
    if isinstance(array, list):
        return [_without_null(item) for item in array]
    return "-inf" if array is None else array


@dataclass(frozen=True, eq=False, repr=False)
class SpectrumStudy(Record):
    """`results` of `networks` under their drives, `curves` over gain, and the settings, seed and machine.

    Or a part of them: of the last curve, the gains so far.
    """

    FORMAT, VIEW = "unrolled.spectrum", "spectrum"
    # 2: fields as the classes have them, so `singular` for `singular_values`, and `parts` for `systems`; null is None
    # and nothing else; each network has all fields of `NetworkRecord`, each module all of `Facts`.
    VERSION = 2
    UPGRADES = MappingProxyType({1: _upgrade})

    networks: tuple[NetworkRecord, ...]
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
        return self._of_systems(SpectrumResult.jacobians, lambda part: part.by_lag())

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
        return self.networks[0].units

    @property
    def _swept(self) -> NetworkRecord:
        return {each.name: each for each in self.networks}[self.curves[0].network]

    @property
    def _swept_name(self) -> str:
        swept = self._swept
        return f"{swept.name}, {swept.units}" if swept.units else swept.name

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was measured, and on what machine."""
        first = self.networks[0]
        name = f"{first.name}, " if self.single else ""
        return self._foot(f"{name}{first.sizes}")

    def describe_gains(self) -> str:
        """The same about the network that was run over gains."""
        how = f"{self.curves[0].realisations} networks at each gain"
        return self._foot(f"{self._swept.sizes}, {how}")

    def _foot(self, what: str) -> str:
        measured = [part for result in self.results for part in result.systems(False)]
        steps = f", {measured[0].steps} steps after {measured[0].warm_up}" if measured else ""
        return f"{what}{steps}, seed {self.seed}\n{self.environment.describe()}"

    def check(self) -> None:
        """Raise `ValueError` for what is not of one measurement, or a part of one."""
        networks = {network.name: network for network in self.networks}
        require(len(networks) == len(self.networks), "a name for each network")
        require(-(2**63) <= self.seed < 2**64, f"a seed of 64 bits, got {self.seed}")
        require(len(self.results) + len(self.curves) > 0, "results")
        runs = [(result.network, result.drive) for result in self.results]
        curves = [(curve.network, curve.drive) for curve in self.curves]
        require(len(set(runs)) == len(runs) and len(set(curves)) == len(curves), "each result once")
        require({name for name, _ in (*runs, *curves)} <= networks.keys(), "results of the networks")
        for result in self.results:
            self._check_result(result, networks[result.network].workload)
        for curve in self.curves:
            first = self.curves[0]
            require(curve.network == first.network, "one network over gain")
            is_last = curve is self.curves[-1]
            gains = first.gains[: len(curve.gains)] if is_last else first.gains
            require(curve.gains == gains, "the same gains under all drives")
            curve.check_network(networks[curve.network])

    def _check_result(self, result: SpectrumResult, workload: Workload | None) -> None:
        settings = self.settings
        if result.spectrum is not None:
            first = result.spectrum.parts[0]
            require(first.qr_every == settings.qr_every, f"a factorisation every {settings.qr_every} steps")
            require(settings.warm_up in (None, first.warm_up), f"{settings.warm_up} steps of warm-up")
            most = max(part.k for part in result.spectrum.parts)
            widest = max(part.system.size for part in result.spectrum.parts)
            require(most == min(settings.k or widest, widest), f"{settings.k or 'all'} exponents")
        if result.singular is not None and settings.lags is not None:
            lags = tuple(result.singular.parts[0].lags.tolist())
            require(lags == settings.lags, f"lags {settings.lags}")
        if workload is None:
            return
        for record in (result.spectrum, result.singular):
            if record is not None:
                _check_sizes(list(record.facts.values()), workload)
        if result.spectrum is not None:
            batches = {facts.batch_size for facts in result.spectrum.facts.values()}
            require(batches == {workload.batch_size}, f"{workload.batch_size} samples")
            require(first.warm_up == settings.warm_up_for(workload.seq_len), "that warm-up")
            systems = [part.system for part in result.spectrum.parts]
            same = result.singular is None or [part.system for part in result.singular.parts] == systems
            require(same, "the same systems in both records")


def _check_sizes(modules: list[Facts], workload: Workload) -> None:
    for facts in modules:
        found = (facts.seq_len, facts.dtype, facts.device.partition(":")[0])
        expected = (workload.seq_len, workload.dtype, workload.device.partition(":")[0])
        require(found == expected, f"steps, dtype and device {expected}, got {found}")
    if not workload.is_own:
        cells = {(facts.cell, facts.bidirectional) for facts in modules}
        require(cells == {(workload.cell, workload.bidirectional)}, f"a {workload.cell_name}")
        require(sum(facts.num_layers or 0 for facts in modules) == workload.layers, f"{workload.layers} layers")
        hidden = {facts.hidden_size for facts in modules}
        require(hidden == set(workload.hidden_sizes), f"{workload.hidden_size} units")
        require(modules[0].input_size == workload.input_size, f"{workload.input_size} features")


def _concatenated(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def measure_study(
    networks: Sequence[Subject],
    *,
    drives: tuple[str, ...] | None = None,
    settings: Settings | None = None,
    swept: Network | None = None,
    gains: tuple[float, ...] = (),
    seed: int = 0,
    progress: ProgressLine | None = None,
    keep: Callable[[SpectrumStudy], None] | None = None,
) -> SpectrumStudy:
    """Measure every network under every drive, then the largest exponent of `swept` at every one of `gains`.

    `drives` is None for all that a network has; singular values, which cost more, are measured under the first alone.
    `keep` is given the study so far after each drive of a network, and after each gain. Raises what `lyapunov_spectrum`
    and `jacobian_singular_values` raise, but for NaN and inf, which are a result, and `InvalidValueError` where two
    networks have one name.
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
    measured = [*networks, swept] if swept else [*networks]
    study = SpectrumStudy(records_of(measured), (), (), settings, seed, Environment.without_load())
    for network, drive, is_first in runs:
        _show(progress, f"spectrum of {network.name}, {drive}")
        result = measure_spectrum(network, drive, settings, singular_values=is_first)
        study = replace(study, results=(*study.results, result))
        _advance(progress)
        if keep:
            keep(study)
    for network, drive in sweeps:
        before, exponents = study, []
        for gain in gains:
            _show(progress, f"gain {gain:g}, {drive}")
            exponents.append(exponents_at(network, drive, gain, settings))
            curve = gain_curve(network, drive, gains[: len(exponents)], exponents)
            study = replace(before, curves=(*before.curves, curve))
            _advance(progress)
            if keep:
                keep(study)
    return study


def _show(progress: ProgressLine | None, what: str) -> None:
    if progress:
        progress.show(what)


def _advance(progress: ProgressLine | None) -> None:
    if progress:
        progress.advance()
