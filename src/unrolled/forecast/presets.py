"""Settings worth a look, each found by measuring: what they show, and how they were found, is said at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unrolled.forecast.setting import Setting


def classic() -> tuple[Setting, ...]:
    """The sine-wave forecaster as people meet it, without a clip and with one at 10 that never fires.

    One `nn.RNN(1, 16)`, recurrent weights and biases from N(0, 0.001²), Adam at 0.01, 6000 windows of 50
    points.
    """
    return tuple(Setting(clip=clip) for clip in ("none", "norm:10"))


PRESETS: dict[str, Callable[[], tuple[Setting, ...]]] = {"classic": classic}


def variants(preset: str, changes: dict[str, Any], clips: Sequence[str] | None, seeds: int) -> list[Setting]:
    """The settings of a preset with some fields changed, each network under each of `clips`, for so many seeds.

    Without `clips` each network has those of the preset. The seeds count from `changes["seed"]` on.
    """
    chosen = [setting.replace(**changes) for setting in PRESETS[preset]()]
    if clips is not None:
        networks = dict.fromkeys(setting.replace(clip="none") for setting in chosen)
        chosen = [network.replace(clip=clip) for network in networks for clip in clips]
    chosen = list(dict.fromkeys(chosen))
    return [setting.replace(seed=setting.seed + k) for k in range(seeds) for setting in chosen]
