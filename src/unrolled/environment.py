"""What machine and which library versions produced a number."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

# These change from run to run on one machine: recorded, but no reason to distrust a comparison.
VOLATILE = ("load_average", "git_commit")


@dataclass(frozen=True)
class Environment:
    """Everything about a machine that moves a timing. `None` where a thing is absent."""

    cpu: str
    cores: int
    threads: int
    os: str
    python: str
    torch: str
    onednn: str | None
    mkl: str | None
    cuda: str | None
    cudnn: str | None
    gpu: str | None
    matmul_tf32: bool
    cudnn_tf32: bool
    matmul_precision: str
    load_average: float | None
    git_commit: str | None

    @classmethod
    def capture(cls) -> Environment:
        """Look at this machine, now."""
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        return replace(cls.without_load(), load_average=load)

    @classmethod
    def without_load(cls) -> Environment:
        """This machine, but for its load, which moves no number that is no time and would make each file another."""
        import torch

        return cls(
            **_machine(),
            cores=usable_cores(),
            threads=torch.get_num_threads(),
            matmul_tf32=torch.backends.cuda.matmul.allow_tf32,
            cudnn_tf32=torch.backends.cudnn.allow_tf32,
            matmul_precision=torch.get_float32_matmul_precision(),
            load_average=None,
        )

    def check(self) -> None:
        """Raise `ValueError` for what no machine has."""
        if min(self.cores, self.threads) < 1 or max(self.cores, self.threads) >= 2**31:
            raise ValueError(f"expected at least one core and thread, got {self.cores} and {self.threads}")
        if self.matmul_precision not in ("highest", "high", "medium"):
            raise ValueError(f"expected a precision of torch, got {self.matmul_precision!r}")
        if self.load_average is not None and not 0 <= self.load_average < 2**31:
            raise ValueError(f"expected a load of at least 0, got {self.load_average}")

    def differences(self, other: Environment) -> dict[str, tuple[Any, Any]]:
        """The fields that make timings of the two incomparable: name -> (here, there)."""
        here, there = asdict(self), asdict(other)
        return {
            name: (here[name], there[name])
            for name in here
            if name not in VOLATILE and here[name] != there[name]
        }

    def describe(self) -> str:
        """One line for the foot of a table or a plot."""
        place = self.gpu or f"{self.cpu}, {self.cores} cores"
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return f"{place}, {threads}, torch {self.torch}, Python {self.python}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


@cache
def _machine() -> dict[str, Any]:
    """What stays as it is while a process runs. Looking it up takes a hundredth of a small network's gradient flow."""
    import torch

    build = torch.__config__.show()
    cuda = torch.cuda.is_available()
    cudnn = torch.backends.cudnn.version() if cuda else None  # type: ignore[no-untyped-call]
    return {
        "cpu": _cpu_model(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "onednn": _first_match(r"MKL-DNN v(\S+)", build),
        "mkl": _first_match(r"Math Kernel Library Version (\S+)", build),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": str(cudnn) if cudnn else None,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "git_commit": _git_commit(),
    }


def stolen_seconds() -> float | None:
    """CPU seconds that a hypervisor has given to others since boot; `None` where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:  # not Linux
        return None
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else None


@cache
def memory_bytes() -> int | None:
    """Bytes of memory that this process may have: the machine's, or fewer where its control group has a limit.

    `None` where the system does not tell.
    """
    return min([*_physical_memory(), *_control_group_limits(Path("/"))], default=None)


def _physical_memory() -> Iterator[int]:
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return


def _control_group_limits(root: Path) -> Iterator[int]:
    """The memory limits of this process's control group and of those above it, of Linux's versions 1 and 2."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for _, controllers, path in (group.split(":", 2) for group in groups):
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        folder = mount / path.lstrip("/")
        for each in (folder, *folder.parents):
            try:
                limit = (each / name).read_text().strip()
            except OSError:
                limit = ""
            if limit.isdigit():  # and not `max`
                yield int(limit)
            if each == mount:
                break


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:  # not Linux
        pass
    if platform.system() == "Darwin":
        return _output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _git_commit() -> str | None:
    """The commit of the checkout that this file is in, with `-dirty` when it was changed since."""
    folder = str(Path(__file__).parent)
    return _output_of("git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _output_of(*command: str) -> str | None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


def _first_match(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None
