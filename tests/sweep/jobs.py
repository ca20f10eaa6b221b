"""Jobs whose every computation leaves a file, so that tests know what was computed, where and how often."""

import os
import signal
from pathlib import Path
from time import sleep
from uuid import uuid4

from unrolled.errors import InvalidValueError
from unrolled.sweep.jobs.job import Column, Job, Parameter

FOLDER = "TESTS_SWEEP_FOLDER"  # of the files, in the environment of the workers


def leave_a_file(settings, seed):
    name = f"{settings['x']:g}_{seed}_{os.getpid()}_{uuid4().hex[:8]}"
    (Path(os.environ[FOLDER]) / name).touch()


def computed(folder):
    """`(x, seed, process)` of each computation that was begun."""
    found = [path.name.split("_") for path in Path(folder).iterdir()]
    return [(float(x), int(seed), int(process)) for x, seed, process, _ in found]


def check(settings):
    if settings["x"] < 0:
        raise InvalidValueError(f"x: expected at least 0, got {settings['x']:g}; try 1")


def measure(settings, seed):
    leave_a_file(settings, seed)
    sleep(settings["wait"])
    return {"value": (settings["x"] + 0.1 * seed) / 3 - 1, "word": "odd" if seed % 2 else "even"}


def kill_itself(settings, seed):
    found = measure(settings, seed)
    if settings["x"] == 3 and seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return found


def run_out_of_memory(settings, seed):
    if settings["x"] == 2:
        raise MemoryError("not enough memory for this one")
    return measure(settings, seed)


def be_wrong(settings, seed):
    raise KeyError("a mistake of the job")


def job(name, measured, version=1):
    return Job(
        name=name,
        version=version,
        what="values",
        parameters=(
            Parameter("x", "number", 0.0),
            Parameter("wait", "number", 0.0),
            Parameter("tag", "word", None),
        ),
        columns=(Column("value", "value", "units", centred=True), Column("word", "word", kind="word")),
        shown="value",
        check=check,
        measure=measured,
    )


COUNTED = job("counted", measure)
COUNTED_2 = job("counted", measure, version=2)
DEADLY = job("deadly", kill_itself)
GREEDY = job("greedy", run_out_of_memory)
WRONG = job("wrong", be_wrong)
NO_JOB = "a word"
