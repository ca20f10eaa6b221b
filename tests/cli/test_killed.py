"""Killed at any moment: what was there stays, what is new is whole, absent, or says that it is a part."""

import os
import random
import signal
import time

import pytest

from tests.processes import python
from unrolled.render.saved import RECORDS, load

# So many, or as many as this many seconds allow: some commands take ten times as long as others.
KILLS, FEWEST, SECONDS = 30, 6, 20
LONG = {
    "why": "--cell gru --hidden 8 --input 3 --batch 2 --length 8 --budget 1",
    "gradflow": "--cell gru,lstm --hidden 8 --input 3 --batch 2 --length 41 --lengths 5,40",
    "spectrum": "--cell gru,lstm --hidden 8 --input 3 --batch 2 --length 61 --lags 1,20 --no-plots",
    "forecast": "--iterations 60 --length 12 --warm-up 3 --seeds 2 --no-plots",
    "learn": "--cell rnn_tanh,lstm --hidden 4 --delays 2,3 --seeds 2 --iterations 25 --batch 4 --no-plots",
    "advise": "--cell lstm --delay 4 --hidden 4 --seeds 2 --iterations 25 --batch 4 --init normal:0.1 --no-plots",
    "parallel": "--cell rnn_tanh,gru --hidden 4 --lengths 20,40 --no-plots",
    "shapes": "--cell gru --hidden 4 --length 3",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("command", LONG)
def test_killed_at_random_moments_nothing_is_lost_or_half_there(warm, place, command, name):
    number, out = getattr(signal, name), place / "out"
    arguments = [*LONG[command].split(), "--quiet", "--out", out]

    def run(seed, delay=None):
        pid, files = warm.start(command, *arguments, "--seed", seed, cwd=place)
        if delay is not None:
            time.sleep(delay)
            os.kill(pid, number)
        return warm.end(pid, files)

    began = time.monotonic()
    assert run(0).status == 0
    takes = time.monotonic() - began
    draw = random.Random(f"{command} {name}")
    expected = -number if name == "SIGKILL" else 128 + number
    ends, began = set(), time.monotonic()
    for seed in range(1, KILLS + 1):
        if seed > FEWEST and expected in ends and time.monotonic() - began > SECONDS:
            break
        done = run(seed, draw.uniform(0, 1.3 * takes))
        ends.add(done.status)
        assert done.status in (0, expected, -number), done  # before it hears, a signal does what it always does
        assert len(done.err.splitlines()) == (0 if done.status <= 0 else 1), done
        if name != "SIGKILL":
            assert_whole(command, out)
            assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert run(1000).status == 0
    assert_whole(command, out)
    assert {path.name for path in out.iterdir()} == {*files_of(command, out), f"{command}.json", "previous"}
    assert expected in ends  # some were killed when they heard, and had something to keep


def files_of(command, folder):
    import json

    return json.loads((folder / f"{command}.json").read_text())["files"]


def assert_whole(command, folder):
    """The record can be read, its files are there, and so are those of a part, and of the run before."""
    assert load(folder, f"unrolled.{command}")
    assert all((folder / name).exists() for name in files_of(command, folder))
    part = folder / f"{command}.partial.json"
    if part.exists():
        assert load(part)
    if (folder / "previous").exists():
        assert load(folder / "previous", f"unrolled.{command}")
        assert all((folder / "previous" / name).exists() for name in files_of(command, folder / "previous"))


def test_the_long_commands_are_all_that_leave_a_record():
    """A benchmark is killed in tests/bench, a sweep, which has workers, in tests/sweep."""
    assert {*LONG, "bench", "sweep"} == set(RECORDS)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_before_a_command_hears_is_one_line_and_its_status(name):
    program = (
        f"import os, signal, sys; sys.argv[0] = '-m'; import diagnostics;os.kill(os.getpid(), signal.{name})"
    )
    done = python("-c", program)
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stderr == f"python -m diagnostics: interrupted by {name}\n"


def test_signals_after_all_is_done_do_not_change_the_status():
    program = (
        "import atexit, os, signal, sys; sys.argv[0] = '-m';"
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM); import diagnostics"
    )
    done = python("-c", program)
    assert (done.returncode, done.stderr) == (0, "")
