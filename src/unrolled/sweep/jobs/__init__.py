"""What can be swept: one file for a job, and the registry, which loads a job when it is asked for."""

from __future__ import annotations

from importlib import import_module

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.plugins import resolve
from unrolled.sweep.jobs.job import Job

# Name -> where its `Job` is. The modules import torch when they measure, and not before.
JOBS = {
    "gradflow": "unrolled.sweep.jobs.gradflow:JOB",
    "spectrum": "unrolled.sweep.jobs.spectrum:JOB",
    "learn": "unrolled.sweep.jobs.learn:JOB",
}
ONE_AT_A_TIME = "bench"  # a command that is no job


def check_job(name: str) -> None:
    """Raise `InvalidValueError` for what is neither a job nor the path of one."""
    if name == ONE_AT_A_TIME:
        raise InvalidValueError(
            f"job: expected one of {', '.join(JOBS)}, got bench: timings never run side by side; give unrolled bench a "
            "grid of its own, such as --hidden 8,16,32, which it times one at a time"
        )
    if name not in JOBS and ":" not in name:
        raise InvalidValueError(
            f"job: expected one of {', '.join(JOBS)}, or package.module:NAME of a job of your own, got {name!r}"
        )


def job_named(name: str) -> Job:
    """The job of that name, or at that path. Raises `InvalidValueError` or what `resolve` raises."""
    check_job(name)
    if name in JOBS:  # without torch, which a path of somebody's own waits for
        module, _, constant = JOBS[name].partition(":")
        found = getattr(import_module(module), constant)
    else:
        found = resolve(name, "job")
    if not isinstance(found, Job):
        raise InvalidTypeError(
            f"job {name}: expected a Job, got {type(found).__name__}; see unrolled.sweep.jobs"
        )
    return found
