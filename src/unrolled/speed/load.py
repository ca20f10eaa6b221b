"""How busy the machine is with other things: before a run, and while it goes on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from unrolled.environment import stolen_seconds, usable_cores
from unrolled.results.codec import Count, NonNegative, require

try:
    import resource

    _USAGE: Any = (resource.getrusage, resource.RUSAGE_SELF)
except ImportError:  # not on Windows
    _USAGE = None

# Of a core that others use on average, above which timings suffer visibly.
BUSY_CORES = 0.2
# The same share of a virtual machine's time, given to others by its host.
STOLEN_TOO_MUCH = 0.01
LOOK_S = 0.25  # for which the machine is looked at before the first round
_TICKS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def preemptions() -> int:
    """How often this process had to leave a core to another one, so far; 0 where the system does not tell."""
    return _USAGE[0](_USAGE[1]).ru_nivcsw if _USAGE else 0


@dataclass(frozen=True)
class Load:
    """What happened on the cores that this process may use, over some seconds.

    `own` and `others` are in cores: 1.5 is one core and half of another one. `others` is None where the system does
    not tell, as is `load_average`, that of the last minute at the end. `stolen` is the share of all cores' time that a
    hypervisor gave away, and `preempted` how often this process had to leave a core.
    """

    seconds: NonNegative
    cores: Count
    own: NonNegative
    others: NonNegative | None
    stolen: NonNegative
    preempted: Count
    load_average: NonNegative | None

    def check(self) -> None:
        """Raise `ValueError` for what no machine shows."""
        require(self.cores >= 1 and self.stolen <= 1, "at least a core, and no more stolen than there is")
        most = 2 * self.cores + 1  # clocks tick, and so add up to more than all in a moment
        require(max(self.own, self.others or 0.0) <= most, "no more time of cores than there is")

    @property
    def is_busy(self) -> bool:
        """Whether timings suffer from it."""
        if self.others is None:
            return self.load_average is not None and self.load_average - self.own > self.cores / 2
        return self.others > BUSY_CORES or self.stolen > STOLEN_TOO_MUCH

    def __str__(self) -> str:
        """What others take, in words."""
        said = []
        if self.others is not None and self.others > BUSY_CORES:
            said.append(f"other processes take {self.others:.1f} of its {self.cores} cores")
        elif self.others is None and self.load_average is not None:
            said.append(f"its load average is {self.load_average:.1f} on {self.cores} cores")
        if self.stolen > STOLEN_TOO_MUCH:
            said.append(f"its host gives {self.stolen:.0%} of its time to other machines")
        return " and ".join(said) or "nothing else runs"


class Watch:
    """Looks at the machine from the moment on when it is made."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._own, self._preempted, self._stolen = process_time(), preemptions(), stolen_seconds()
        self._busy = _busy_seconds()

    def load(self) -> Load:
        """Of the time since."""
        seconds = max(perf_counter() - self._started, 1e-9)
        cores, own = usable_cores(), process_time() - self._own
        busy, stolen = _busy_seconds(), stolen_seconds()
        others = None
        if busy is not None and self._busy is not None:
            others = max(busy - self._busy - own, 0.0) / seconds
        given = (stolen or 0.0) - (self._stolen or 0.0)
        average = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        return Load(
            seconds=seconds,
            cores=cores,
            own=own / seconds,
            others=others,
            stolen=min(max(given, 0.0) / (seconds * (os.cpu_count() or cores)), 1.0),
            preempted=preemptions() - self._preempted,
            load_average=average,
        )


def _busy_seconds() -> float | None:
    """CPU seconds that were spent on the cores that this process may use, since boot; None where nobody tells."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    except (OSError, AttributeError):  # not Linux
        return None
    spent = 0
    for name, *fields in (line.split() for line in lines):
        if name in cores:
            ticks = dict(zip(_TICKS, map(int, fields), strict=False))
            spent += sum(n for kind, n in ticks.items() if kind not in ("idle", "iowait", "steal"))
    return spent / os.sysconf("SC_CLK_TCK")
