"""What results say of the networks that they are of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unrolled.cells.initialisation import Init, check_start
from unrolled.networks.workload import Workload
from unrolled.results.codec import Size, require


@dataclass(frozen=True, kw_only=True)
class NetworkRecord:
    """A network as it stands in results: what was described, or what is known of somebody's model.

    What was described has a `workload` and how its weights started, `init`, `gain` and `forget_bias`. Of somebody's
    model there are the name of its class, `model`, and either the sizes of the input that was made for it or the shape
    of the `input` that it brought (the name of its type, where that is no tensor).
    """

    name: str
    seed: int
    workload: Workload | None = None
    init: str | None = None
    gain: float | None = None
    forget_bias: float | None = None
    model: str | None = None
    batch_size: Size | None = None
    seq_len: Size | None = None
    input: tuple[Size, ...] | str | None = None

    @property
    def sizes(self) -> str:
        """For the foot of a plot."""
        if (w := self.workload) is not None:
            return (
                f"{w.layers} layer{'s' * (w.layers > 1)}{', both ways' * w.bidirectional}, input {w.input_size}, "
                f"hidden {w.hidden_size}, batch {w.batch_size}, {w.dtype}, {w.device}"
            )
        if self.input is None:
            return f"input made, T = {self.seq_len}, batch {self.batch_size}"
        return f"input given, {self.input}"

    @property
    def units(self) -> str:
        """`64 hidden units`, for the title of a table; nothing where only the model knows."""
        if self.workload is None:
            return ""
        sizes = self.workload.hidden_size
        each = dict.fromkeys(sizes if isinstance(sizes, tuple) else (sizes,))
        return f"{', '.join(map(str, each))} hidden units"

    def check(self) -> None:
        """Raise `ValueError` for what is no network."""
        require(-(2**63) <= self.seed < 2**64, f"a seed of 64 bits, got {self.seed}")
        start, sizes = (self.init, self.gain, self.forget_bias), (self.batch_size, self.seq_len)
        if (w := self.workload) is None:
            require(self.model is not None and start == (None, None, None), "a workload, or a model")
            require(self.input != (), "an input with a shape")
            made = None not in sizes and self.input is None
            require(
                made or (sizes == (None, None) and self.input is not None), "sizes of an input, or an input"
            )
            return
        require((self.model, *sizes, self.input) == (None,) * 4, "a workload, or a model")
        init = Init.parse(self.init or "")
        check_start(w.cell, init, self.gain or 0.0, self.forget_bias)
        require(self.init == str(init) and self.seed == w.seed, "one start and one seed")
        widest = max(w.hidden_size) if isinstance(w.hidden_size, tuple) else w.hidden_size
        numbers = math.prod((w.layers, w.tokens, max(widest, w.input_size), widest))
        require(numbers < 2**63, "sizes that a machine can hold")


def upgrade_network(content: dict[str, Any]) -> dict[str, Any]:
    """From the versions 1 of results, where each kind of network had fields of its own."""
    workload = content.get("workload")
    empty = dict.fromkeys(
        ("workload", "init", "gain", "forget_bias", "model", "batch_size", "seq_len", "input")
    )
    return {**empty, **({"seed": workload["seed"]} if workload else {}), **content}
