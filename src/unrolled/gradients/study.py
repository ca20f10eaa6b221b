"""Reach and length of several networks, as one record: what `diagnostics.gradflow` measures and keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby, pairwise
from types import MappingProxyType
from typing import Any

import pandas as pd

from unrolled.cells import cell_named
from unrolled.environment import Environment
from unrolled.errors import InvalidValueError
from unrolled.gradients.clipping import Clip
from unrolled.gradients.clipping.report import agree
from unrolled.gradients.flow import GradientFlow
from unrolled.gradients.lengths import LengthResult, measure_lengths
from unrolled.gradients.profile import STATISTICS
from unrolled.gradients.reach import LOSSES, Reach, measure_reach
from unrolled.networks.record import NetworkRecord, upgrade_network
from unrolled.networks.subject import Subject, records_of
from unrolled.networks.workload import Workload
from unrolled.progress import ProgressLine
from unrolled.results.codec import require
from unrolled.results.record import Record
from unrolled.theory import GradientBound

WEIGHTS = 4  # of a layer and direction: two matrices and their biases
FLOAT32 = ("float32_parameters", "float32_first")


def _upgrade(content: dict[str, Any]) -> None:
    """From version 1, where null was a norm of 0, and verdicts stood beside the profiles."""
    content["environment"]["load_average"] = None
    content["networks"] = [upgrade_network(network) for network in content["networks"]]
    content["reaches"] = content.pop("reach")
    for reach in content["reaches"]:
        del reach["verdicts"]
        if (flow := reach["flow"]) is not None:
            del flow["version"]
            flow["environment"] = None
            for profile in flow["profiles"]:
                for name in STATISTICS:
                    profile[name] = ["-inf" if norm is None else norm for norm in profile[name]]


@dataclass(frozen=True, eq=False, repr=False)
class Study(Record):
    """`reaches` and `lengths` of `networks`, with the loss, the seed and the machine; or a part of them."""

    FORMAT, VIEW = "unrolled.gradflow", "gradflow"
    # 2: fields as the classes have them, so `reaches` for `reach`, and no verdicts, which follow from the profiles;
    # null is None and nothing else; each network has all fields of `NetworkRecord`.
    VERSION = 2
    UPGRADES = MappingProxyType({1: _upgrade})

    networks: tuple[NetworkRecord, ...]
    reaches: tuple[Reach, ...]
    lengths: tuple[LengthResult, ...]
    loss: str
    seed: int
    environment: Environment

    @property
    def single(self) -> bool:
        """Whether one network was looked at, and so every profile of it is of interest."""
        return len({reach.network for reach in self.reaches}) == 1

    def reach_frame(self) -> pd.DataFrame:
        """A row per network, or per profile of the one network, with verdict and norms at some lags."""
        frame = pd.DataFrame([row for reach in self.reaches for row in reach.rows(self.single)])
        if "horizon" in frame:
            frame["horizon"] = frame["horizon"].astype(float)  # NaN where there is none
        return frame

    def flow_frame(self) -> pd.DataFrame:
        """A row per network, profile and step."""
        frames = [reach.frame() for reach in self.reaches if reach.flow is not None]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def sensitivity_frame(self) -> pd.DataFrame:
        """A row per network, layer, direction and step; without columns where none was measured."""
        frames = [frame for reach in self.reaches if len(frame := reach.sensitivity_frame())]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def sensitivity_rows(self) -> pd.DataFrame:
        """A row per network, or per layer of the one network, with norms at some steps."""
        return pd.DataFrame([row for reach in self.reaches for row in reach.sensitivity_rows(self.single)])

    def lengths_frame(self) -> pd.DataFrame:
        """A row per network, length and way of clipping; `on_states` where that changes the profile itself."""
        frame = pd.DataFrame(
            [asdict(result) for result in self.lengths],
            columns=[field.name for field in fields(LengthResult)],
        )
        frame["problem"] = [result.problem or "" for result in self.lengths]
        frame["on_states"] = [Clip.parse(result.clip).works_on_states for result in self.lengths]
        for name in FLOAT32:  # a NaN that float32 reported is something else than no report
            frame[f"has_{name}"] = [getattr(result, name) is not None for result in self.lengths]
            frame[name] = frame[name].astype(float)
        return frame

    def lengths_table(self) -> pd.DataFrame:
        """`lengths_frame` as it goes to a file: empty where torch has no such clipping in float32."""
        frame = self.lengths_frame().drop(columns="on_states")
        for name in FLOAT32:
            frame[name] = frame[name].astype(object).where(frame.pop(f"has_{name}"), "")
        return frame

    @property
    def units(self) -> str:
        """The hidden units of its networks, for titles."""
        return self.networks[0].units

    def describe(self) -> str:
        """Two lines for the foot of a plot: what was measured, and on what machine."""
        first = self.networks[0]
        name = f"{first.name}, " if self.single else ""
        loss = f"loss at {'the last step' if self.loss == 'last' else 'every step'}"
        return f"{name}{first.sizes}, {loss}, seed {self.seed}\n{self.environment.describe()}"

    def check(self) -> None:
        """Raise `ValueError` for what is not of one measurement, or a part of one."""
        networks = {network.name: network for network in self.networks}
        require(len(networks) == len(self.networks), "a name for each network")
        require(-(2**63) <= self.seed < 2**64, f"a seed of 64 bits, got {self.seed}")
        require(self.loss in LOSSES and len(self.reaches) > 0, "a loss, and reaches")
        reaches = [(reach.network, reach.clip) for reach in self.reaches]
        require(len(set(reaches)) == len(reaches), "each reach once")
        names = {name for name, _ in reaches} | {result.network for result in self.lengths}
        require(names <= networks.keys(), "results of the networks")
        for reach in self.reaches:
            require(reach.bound is None or self.loss == "last", "no bound for a loss at every step")
            workload = networks[reach.network].workload
            if reach.flow is not None and workload is not None:
                _check_sizes(reach.flow, workload)
                _check_bound(reach.bound, workload, self.loss)
        self._check_lengths()

    def _check_lengths(self) -> None:
        groups = [list(group) for _, group in groupby(self.lengths, key=lambda r: (r.network, r.length))]
        lengths: dict[str, list[int]] = {}
        for results in groups:
            lengths.setdefault(results[0].network, []).append(results[0].length)
            require([r.clip for r in results] == [r.clip for r in groups[0]], "the same clips at every length")
            _check_agreement(results)
        order = [results[0].network for results in groups]
        require(order == sorted(order, key=list(lengths).index), "one network after the other")
        for each in lengths.values():
            first, is_last = next(iter(lengths.values())), each is list(lengths.values())[-1]
            require(each == sorted(set(each)), "lengths that increase")
            require(
                each == first or (is_last and each == first[: len(each)]), "the same lengths for all networks"
            )


def _check_sizes(flow: GradientFlow, workload: Workload) -> None:
    each = workload.layers * workload.directions
    count = len(flow.profiles)
    require(count % each == 0, "profiles of all layers and directions")
    if not workload.is_own:
        require(count == each * len(cell_named(workload.cell).paths), "profiles of all parts of the state")
        require(len(flow.parameters) == each * WEIGHTS, "norms of all weights")
    kept = [(found.layer, found.parameters) for found in flow.sensitivities]
    require(len(kept) in (0, each), "what moves with the weights of all layers and directions, or of none")
    if not workload.is_own:
        sizes = list(zip(workload.layer_input_sizes, workload.hidden_sizes, strict=True))
        for layer, count in kept:
            require(layer < workload.layers, f"a layer below {workload.layers}")
            one = workload.replace(input_size=sizes[layer][0], hidden_size=sizes[layer][1], num_layers=1)
            require(count * workload.directions == one.parameter_count, f"the weights of layer {layer}")
    for profile in flow:
        require(
            profile.steps == workload.seq_len and profile.call == 0, f"{workload.seq_len} steps in one call"
        )
        require(profile.layer < workload.layers, f"a layer below {workload.layers}")
        require(workload.bidirectional or profile.direction == "forward", "one direction")
        profile.check_batch(workload.batch_size)


def _check_bound(bound: GradientBound | None, workload: Workload, loss: str) -> None:
    slope = None if workload.is_own else cell_named(workload.cell).largest_slope
    one_module = isinstance(workload.hidden_size, int) and not workload.bidirectional
    wanted = slope if loss == "last" and one_module else None
    require((bound.slope if bound else None) == wanted, f"a bound with slope {wanted}")


def _check_agreement(results: list[LengthResult]) -> None:
    """Of one network at one length: clips of finished gradients, which take no run of their own, see one gradient."""
    finished = [result for result in results if not Clip.parse(result.clip).works_on_states]
    for one, other in pairwise(result for result in finished if result.problem is None):
        require(
            agree(one.log10_unclipped, other.log10_unclipped), "one gradient for all clips of finished ones"
        )
    ends = {(result.problem, str(result.log10_first), str(result.float32_first)) for result in finished}
    require(len(ends) < 2, "one profile for all clips of finished gradients")
    require(len({result.clip for result in results}) == len(results), "each clip once")


def measure(
    networks: Sequence[Subject],
    length_networks: Sequence[Subject],
    *,
    lengths: Sequence[int],
    clips: Sequence[str],
    loss: str = "last",
    seed: int = 0,
    progress: ProgressLine | None = None,
    keep: Callable[[Study], None] | None = None,
) -> Study:
    """Run every network at its own length, then those of `length_networks` at every one of `lengths`.

    A clip that works on states changes the profile itself, so with it each network is run once more. `keep` is given
    the study so far after each network, and after each length. Raises `InvalidValueError` where there is no network, or
    two have one name.
    """
    if not networks:
        raise InvalidValueError("networks: expected at least one, got none; see unrolled.networks.textbook")
    reach_clips = ["none", *(clip for clip in clips if Clip.parse(clip).works_on_states)]
    if progress:
        progress.start(len(networks) * len(reach_clips) + len(length_networks) * len(lengths))
    described = records_of((*networks, *length_networks))
    study = Study(described, (), (), loss, seed, Environment.without_load())
    for network in networks:
        for clip in reach_clips:
            _say(progress, f"reach of {network.name}")
            study = replace(study, reaches=(*study.reaches, measure_reach(network, loss, clip)))
            _advance(progress)
        if keep:
            keep(study)
    for network in length_networks:
        results = measure_lengths(network, lengths, clips, loss)
        for length in lengths:
            _say(progress, f"{network.name} at T = {length}")
            study = replace(study, lengths=(*study.lengths, *next(results)))
            _advance(progress)
            if keep:
                keep(study)
    return study


def _say(progress: ProgressLine | None, what: str) -> None:
    if progress:
        progress.show(what)


def _advance(progress: ProgressLine | None) -> None:
    if progress:
        progress.advance()
