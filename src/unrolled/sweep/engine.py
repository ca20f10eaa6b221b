"""The tasks of a sweep on many processes, by dask: each on one thread, and what is done comes back as it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from unrolled.environment import usable_cores
from unrolled.errors import ImplementationError, InvalidValueError, OutOfMemoryError, is_out_of_memory
from unrolled.sweep.chunks import Chunks
from unrolled.sweep.grid import Task
from unrolled.sweep.jobs import job_named
from unrolled.sweep.jobs.job import Job, Row, failed
from unrolled.sweep.workers import client_of, dask_distributed

WINDOW = 4  # chunks for each worker that dask has at a time: more keep none busier, and cost memory
LEAST_WINDOW = 16  # for somebody's cluster that starts small
Done = tuple[Task, Row]


def compute(job: str, tasks: Sequence[Task]) -> tuple[list[Row], float]:
    """Measurements, in a worker, and the seconds that they took.

    On one thread, so that sums are taken in one order wherever it runs.
    """
    import torch

    torch.set_num_threads(1)
    made = job_named(job)
    began = monotonic()
    return [_row(made, task) for task in tasks], monotonic() - began


def _row(made: Job, task: Task) -> Row:
    try:
        return made.row(json.loads(task[0]), task[1])
    except Exception as error:  # memory is one task's affair; all else is everybody's
        if not (isinstance(error, OutOfMemoryError) or is_out_of_memory(error)):
            raise
        return failed(made, str(error) or "out of memory")


def computed(
    job: Job,
    name: str,
    tasks: Sequence[Task],
    scratch: Path,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Generator[list[Done], None, None]:
    """The rows of all tasks as they are done, some at a time; `name` is that of the job, or its path.

    `workers` processes, by default one for each core, or those of the `scheduler` at that address. A worker that dies
    loses what it was at, the work of a quarter of a second or one longer task, which another does again. Tasks beside
    which workers died time and again are tried once more, each alone; one that goes on killing them gives a row with a
    `problem`.
    """
    if not tasks:
        return
    with client_of(scratch, workers or usable_cores(), scheduler) as client:
        suspects: list[Task] = []
        yield from _run(client, name, tasks, suspects.extend)
        guilty: list[Task] = []
        for task in suspects:
            yield from _run(client, name, [task], guilty.extend)
        for task in guilty:
            yield [(task, failed(job, "the process that measured it was killed, time and again"))]


def _run(
    client: Any, name: str, tasks: Iterable[Task], suspect: Callable[[list[Task]], None]
) -> Iterator[list[Done]]:
    """The rows as they arrive; `suspect` is given the tasks that lost too many workers."""
    distributed = dask_distributed()
    batch = uuid4().hex  # others may use the same scheduler
    workers = len(client.nthreads())
    chunks = Chunks(tasks, workers)
    under_way: dict[Any, list[Task]] = {}
    arriving = distributed.as_completed(loop=client.loop, raise_errors=False)
    window = max(WINDOW * workers, LEAST_WINDOW)
    while chunks.waiting or under_way:
        while chunks.waiting and len(under_way) < window:
            chunk = chunks.next()
            future = client.submit(compute, name, chunk, key=f"sweep-{batch}-{len(chunks.waiting)}", pure=False)
            under_way[future] = chunk
            arriving.add(future)
        done: list[Done] = []
        for future in arriving.next_batch():
            if future.status in ("lost", "pending"):
                arriving.add(future)  # its worker died with the result, and another computes it again
                continue
            chunk = under_way.pop(future)
            try:
                rows, seconds = future.result()
            except distributed.KilledWorker:
                suspect(chunk)
                continue
            except ModuleNotFoundError as error:
                raise ImplementationError(
                    f"workers: expected the packages of this process in each of them, got no {error.name}; install it "
                    "there"
                ) from error
            except (CancelledError, OSError) as error:
                raise InvalidValueError(
                    f"scheduler: expected one that stays until all is done, got a task that is {future.status}; start "
                    "it again"
                ) from error
            chunks.took(seconds, len(chunk))
            done += zip(chunk, rows, strict=True)
        yield done
