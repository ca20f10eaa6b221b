"""Real worker processes: the same rows on any number of them, and what becomes of the tasks of those that die."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from time import monotonic, sleep

import pytest

from tests.processes import ROOT, environment
from tests.sweep.jobs import COUNTED, FOLDER, computed
from unrolled.errors import InvalidValueError
from unrolled.sweep.measure import measure_sweep
from unrolled.sweep.store import Store

COUNTED_AT, DEADLY_AT, GREEDY_AT, WRONG_AT = (
    f"tests.sweep.jobs:{name}" for name in ("COUNTED", "DEADLY", "GREEDY", "WRONG")
)
AXES = ["x=0,1,2,3,4"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where each computation leaves a file."""
    made = tmp_path / "computed"
    made.mkdir()
    monkeypatch.setenv(FOLDER, str(made))
    return made


def children_of(process):
    """The processes that a process started, and those that these did; `/proc` knows."""
    found = []
    for path in os.listdir("/proc"):
        if path.isdigit():
            try:
                with open(f"/proc/{path}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == process:
                found += [int(path), *children_of(int(path))]
    return found


def eventually(fact, seconds=60.0):
    until = monotonic() + seconds
    while not fact():
        assert monotonic() < until, "waited in vain"
        sleep(0.02)


@pytest.mark.slow
def test_every_row_is_computed_once_in_processes_of_their_own_and_goes_into_the_store(folder, tmp_path):
    sweep = measure_sweep(COUNTED_AT, AXES, {"tag": "a"}, seeds=3, seed=5, store=tmp_path / "s", workers=2)
    assert sweep.is_whole
    assert sweep.problems == 0
    expected = [(float(x), seed) for x in range(5) for seed in (5, 6, 7)]
    assert sorted((x, seed) for x, seed, _ in computed(folder)) == expected
    frame = sweep.frame()
    assert list(zip(frame["x"], frame["seed"], strict=True)) == expected
    assert list(frame["value"]) == [(x + 0.1 * seed) / 3 - 1 for x, seed in expected]
    processes = {process for _, _, process in computed(folder)}
    assert os.getpid() not in processes
    assert not processes & set(children_of(os.getpid()))  # they are gone
    more = measure_sweep(
        COUNTED_AT, ["x=3,4,5"], {"tag": "a"}, seeds=3, seed=5, store=tmp_path / "s", workers=1
    )
    assert more.is_whole
    assert sorted((x, seed) for x, seed, _ in computed(folder)) == [*expected, (5.0, 5), (5.0, 6), (5.0, 7)]


@pytest.mark.slow
def test_exponents_are_bit_for_bit_those_of_one_worker_of_two_and_of_none():
    axes, settings = ["gain=0.5:2:4", "noise=0,0.3"], {"hidden": 24, "length": 101}
    one, two = (measure_sweep("spectrum", axes, settings, seeds=3, workers=workers) for workers in (1, 2))
    assert one.values == two.values
    import torch

    from unrolled.sweep.jobs.spectrum import JOB

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    points = [point for point in one.grid.points() for _ in range(3)]
    rows = [JOB.row(point, place % 3) for place, point in enumerate(points)]
    torch.set_num_threads(threads)
    assert list(one.values["exponent"]) == [row["exponent"] for row in rows]
    assert list(one.values["dimension"]) == [row["dimension"] for row in rows]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_a_worker_that_is_killed_loses_its_task_alone(folder):
    settings = {"wait": 0.15}
    undisturbed = measure_sweep(COUNTED_AT, AXES, settings, seeds=4, workers=2)
    before, gone = len(computed(folder)), {process for _, _, process in computed(folder)}
    killed = []

    def kill_one():
        eventually(lambda: len(computed(folder)) >= before + 6)
        process = next(process for _, _, process in computed(folder) if process not in gone)
        os.kill(process, signal.SIGKILL)
        killed.append(process)

    killer = threading.Thread(target=kill_one)
    killer.start()
    disturbed = measure_sweep(COUNTED_AT, AXES, settings, seeds=4, workers=2)
    killer.join()
    assert len(killed) == 1
    assert disturbed.values == undisturbed.values
    assert disturbed.problems == 0
    again = len(computed(folder)) - before - disturbed.grid.size
    assert 0 <= again <= 2  # what the dead worker was at, and no more


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_a_row_with_a_problem_and_the_others_go_on(folder):
    sweep = measure_sweep(DEADLY_AT, AXES, {}, seeds=3, workers=2)
    frame = sweep.frame().set_index(["x", "seed"])
    assert sweep.is_whole
    assert frame.loc[(3.0, 1), "problem"] == "the process that measured it was killed, time and again"
    assert frame["problem"].ne("").sum() == 1
    assert frame["value"].isna().sum() == 1
    assert Counter((x, seed) for x, seed, _ in computed(folder))[3.0, 1] > 2


@pytest.mark.slow
def test_memory_that_runs_out_is_one_rows_problem_and_a_mistake_of_the_job_is_everybodys(folder, tmp_path):
    sweep = measure_sweep(GREEDY_AT, AXES, {}, seeds=1, workers=1)
    assert list(sweep.frame()["problem"]) == ["", "", "not enough memory for this one", "", ""]
    with pytest.raises(KeyError, match="a mistake of the job"):
        measure_sweep(WRONG_AT, AXES, {}, seeds=1, workers=1, store=tmp_path / "s")


def test_a_scheduler_that_is_not_there_is_one_line(folder, monkeypatch):
    monkeypatch.setattr("unrolled.sweep.workers.CONNECT_S", 0.5)
    words = (
        "^scheduler: expected the address of a dask scheduler, got tcp://127.0.0.1:9 .*; try tcp://HOST:8786"
    )
    with pytest.raises(InvalidValueError, match=words):
        measure_sweep(COUNTED_AT, AXES, {}, seeds=1, scheduler="tcp://127.0.0.1:9")
    assert computed(folder) == []


@pytest.mark.slow
def test_a_cluster_of_ones_own_does_the_same(folder, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50,
        local_directory=str(tmp_path),
    ) as cluster:  # fmt: skip
        sweep = measure_sweep(COUNTED_AT, AXES, {}, seeds=2, scheduler=cluster.scheduler_address)
    assert sweep.is_whole
    assert len(computed(folder)) == 10


SCRIPT = """
from unrolled.sweep.measure import measure_sweep
print(measure_sweep("tests.sweep.jobs:COUNTED", ["x=0,1"], seeds=1, workers=1).is_whole)
"""


@pytest.mark.slow
def test_a_script_needs_no_guard_around_its_sweep(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script], cwd=ROOT, env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        encoding="utf-8", check=False, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
    assert len(computed(folder)) == 2


def command(store, *more):
    """`python -m diagnostics.sweep` with a job that takes a while, in a process group of its own."""
    words = [
        COUNTED_AT,
        "--over",
        "x=0:9:10",
        "--set",
        "wait=0.2",
        "--seeds",
        "3",
        "--workers",
        "2",
        "--no-plots",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "diagnostics.sweep", *words, "--out", str(store.parent), *more],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        start_new_session=True,
    )  # fmt: skip


def rows_of(store):
    with Store(store, COUNTED) as opened:
        return opened.frame().to_dict("records"), len(opened.missing())


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_killed_goes_on_where_it_ended_and_comes_to_the_same(how, folder, tmp_path):
    whole = tmp_path / "whole" / "counted.sqlite"
    out, err = command(whole).communicate(timeout=120)
    assert err == ""
    assert "The value crosses 0 at x" in out
    undisturbed, missing = rows_of(whole)
    assert (len(undisturbed), missing) == (30, 0)
    for path in folder.iterdir():
        path.unlink()
    store = tmp_path / "killed" / "counted.sqlite"
    first = command(store)
    eventually(lambda: len(computed(folder)) >= 12)
    workers = children_of(first.pid)
    if how == signal.SIGINT:  # as a terminal does it, to all of them
        os.killpg(first.pid, how)
    else:
        os.kill(first.pid, how)
    out, err = first.communicate(timeout=60)
    assert out == ""
    if how == signal.SIGKILL:
        assert (first.returncode, err) == (-signal.SIGKILL, "")
    else:
        (line,) = err.splitlines()
        assert f"interrupted by {how.name}" in line
        assert f"the same command goes on from {store}" in line
        assert first.returncode == 128 + how
    eventually(lambda: not any(os.path.exists(f"/proc/{process}") for process in workers), 20)
    begun = Counter((x, seed) for x, seed, _ in computed(folder))
    kept, missing = rows_of(store)
    assert 0 < len(kept) < 30
    assert len(kept) >= len(begun) - 4
    out, err = command(store).communicate(timeout=120)
    assert err == ""
    assert rows_of(store) == (undisturbed, 0)
    counts = Counter((x, seed) for x, seed, _ in computed(folder))
    assert len(counts) == 30
    done = {(row["x"], row["seed"]) for row in kept}
    assert all(counts[task] == begun[task] for task in done)  # nothing that was there was computed again
    assert (whole.parent / "sweep.csv").read_bytes() == (store.parent / "sweep.csv").read_bytes()
