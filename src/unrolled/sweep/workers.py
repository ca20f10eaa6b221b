"""Who computes: worker processes of our own, which say nothing and leave nothing behind, or somebody's dask cluster."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from types import ModuleType
from typing import Any

from unrolled.errors import InvalidValueError
from unrolled.extras import need

DEATHS = 2  # workers that one task may lose before it is suspected, and then again before it is given up
NO_PORT = (
    "127.0.0.1:0"  # of its pages, which nobody looks at: whichever is free, as several may run side by side
)
CONNECT_S = 10.0  # to somebody's own scheduler
# Ours alone: no memory to spill, since rows are small, and one word of dask's to nobody.
CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.nanny.pre-spawn-environ": {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        "DASK_LOGGING__DISTRIBUTED": "critical",
        "DASK_LOGGING__TORNADO": "critical",
    },
}


def dask_distributed() -> Any:
    """The package."""
    return need("distributed", extra="sweep", why="sweeps")


@contextmanager
def client_of(scratch: Path, workers: int, scheduler: str | None) -> Iterator[Any]:
    """Of workers of our own, or of somebody's."""
    distributed = (
        dask_distributed()
    )  # first, as its import sets the levels of its loggers and the defaults of dask
    import dask

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(CONFIG))
        stack.enter_context(_quiet("distributed", "distributed.client", "tornado", "asyncio"))
        if scheduler is not None:
            try:
                client = distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                raise InvalidValueError(
                    f"scheduler: expected the address of a dask scheduler, got {scheduler} ({type(error).__name__}); "
                    "try tcp://HOST:8786, or leave it out"
                ) from error
            yield stack.enter_context(client)
            return
        stack.enter_context(_no_main())
        _start_tracker()
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=NO_PORT, memory_limit=None,
            local_directory=str(scratch), silence_logs=logging.CRITICAL, host="127.0.0.1",
        )  # fmt: skip
        stack.enter_context(cluster)
        yield stack.enter_context(distributed.Client(cluster, set_as_default=False))


def _start_tracker() -> None:
    """The process that Python starts for what others leave behind; it is to say nothing where a sweep is ended."""
    if os.name != "posix":
        return
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(
        [*([before] if before else []), "ignore:resource_tracker:UserWarning"]
    )
    try:
        ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """No words of these loggers: what they would say of a worker that is gone, we say."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _no_main() -> Iterator[None]:
    """Processes that are spawned meanwhile do not run the caller's script again: it has nothing that they need.

    Otherwise a script without `if __name__ == "__main__":` would start a sweep in every worker.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
