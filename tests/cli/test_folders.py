"""What lies in --out belongs together: one run at a time, the run before in previous/, plots of its own data alone."""

import json
import os
import shutil
import signal
import time

import pytest

from tests.cli.wrong_lines import SMALL
from unrolled.render.saved import load

SIZES = "--hidden 4 --input 3 --batch 2 --length 5 --lengths 3,5"


def listing(folder):
    return {path.name for path in folder.iterdir()}


def test_the_plots_of_another_run_go_with_its_data(warm, place):
    out = place / "out"
    assert warm.run("gradflow", *SIZES.split(), "--cell", "gru", "--out", out, cwd=place).status == 0
    first = listing(out)
    assert "reach.svg" in first
    assert (
        warm.run("gradflow", *SIZES.split(), "--cell", "lstm", "--no-plots", "--out", out, cwd=place).status
        == 0
    )
    assert listing(out) == {"gradflow.json", "flow.csv", "sensitivity.csv", "lengths.csv", "previous"}
    assert listing(out / "previous") == first
    assert load(out / "previous", "unrolled.gradflow").reaches[0].network == "GRU"
    assert load(out, "unrolled.gradflow").reaches[0].network == "LSTM"


@pytest.mark.slow
def test_plots_drawn_later_belong_to_the_record_too(warm, place):
    out = place / "out"
    assert warm.run("gradflow", *SIZES.split(), "--no-plots", "--out", out, cwd=place).status == 0
    assert warm.run("plots", out, cwd=place).status == 0
    assert "reach.svg" in listing(out)
    assert warm.run("gradflow", *SIZES.split(), "--no-plots", "--out", out, cwd=place).status == 0
    assert "reach.svg" not in listing(out)
    assert "reach.svg" in listing(out / "previous")


def test_plots_are_not_put_beside_the_data_of_another_run(warm, place):
    for name, cell in (("one", "gru"), ("two", "lstm")):
        arguments = [*SIZES.split(), "--cell", cell, "--out", place / name]
        assert warm.run("gradflow", *arguments, cwd=place).status == 0
    before = {path.name: path.read_bytes() for path in (place / "two").iterdir()}
    done = warm.run("plots", place / "one", "--out", place / "two", cwd=place)
    assert done.status == 2
    assert str(place / "two") in done.err
    assert {path.name: path.read_bytes() for path in (place / "two").iterdir()} == before


def test_files_of_somebody_else_are_left_alone(warm, place):
    out = place / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "data.json").write_text("[1")
    for _ in range(2):
        assert warm.run("gradflow", *SMALL["gradflow"].split(), "--out", out, cwd=place).status == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "data.json").read_text() == "[1"


@pytest.mark.slow
def test_two_commands_with_files_of_one_name_do_not_mix(warm, place):
    out = place / "out"
    assert warm.run("gradflow", *SIZES.split(), "--out", out, cwd=place).status == 0
    forecast = SMALL["forecast"].replace("--no-plots", "").split()
    assert warm.run("forecast", *forecast, "--out", out, cwd=place).status == 0
    assert "gradflow.json" not in listing(out), "its reach.svg was replaced"
    assert {"gradflow.json", "reach.svg"} <= listing(out / "previous")


def test_a_second_run_with_one_folder_is_refused_and_the_first_goes_on(warm, place):
    out = place / "out"
    slow = ["--iterations", "100000", "--length", "12", "--warm-up", "3", "--quiet", "--out", out]
    pid, files = warm.start("forecast", *slow, cwd=place)
    deadline = time.monotonic() + 30
    while not (out / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    done = warm.run("forecast", *SMALL["forecast"].split(), "--out", out, cwd=place)
    assert done.status == 2
    assert "no other run" in done.err
    os.kill(pid, signal.SIGTERM)
    assert warm.end(pid, files).status == 143
    assert warm.run("forecast", *SMALL["forecast"].split(), "--out", out, cwd=place).status == 0, (
        "nobody holds it"
    )


def test_a_lock_that_a_dead_process_left_holds_nobody(warm, place):
    out = place / "out"
    slow = ["--iterations", "100000", "--length", "12", "--warm-up", "3", "--quiet", "--out", out]
    pid, files = warm.start("forecast", *slow, cwd=place)
    deadline = time.monotonic() + 30
    while not (out / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert warm.end(pid, files).status == -signal.SIGKILL
    assert (out / ".lock").exists()
    assert warm.run("forecast", *SMALL["forecast"].split(), "--out", out, cwd=place).status == 0
    assert ".lock" not in listing(out)


def test_a_folder_removed_midway_loses_nothing(warm, place):
    out = place / "out"
    arguments = [
        "--cell",
        "gru",
        "--hidden",
        "200",
        "--batch",
        "16",
        "--length",
        "801",
        "--lengths",
        "400,800",
        "--quiet",
        "--no-plots",
    ]
    pid, files = warm.start("gradflow", *arguments, "--out", out, cwd=place)
    deadline = time.monotonic() + 30
    while not (out / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    shutil.rmtree(out)
    done = warm.end(pid, files)
    assert done.status == 0, done
    assert load(out, "unrolled.gradflow")


@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGINT", "SIGHUP"))]
)
def test_an_interrupted_run_keeps_its_part_which_can_be_drawn(warm, place, name):
    out = place / "out"
    arguments = ["--hidden", "300", "--batch", "16", "--length", "1201", "--lengths", "10,1200", "--quiet"]
    pid, files = warm.start("gradflow", *arguments, "--out", out, cwd=place)
    deadline = time.monotonic() + 40
    part = out / "gradflow.partial.json"
    while not part.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, getattr(signal, name))
    done = warm.end(pid, files)
    assert done.status == 128 + getattr(signal, name)
    (line,) = done.err.splitlines()
    assert name in line
    assert str(part) in line
    assert listing(out) == {"gradflow.partial.json"}
    assert json.loads(part.read_text())["partial"] is True
    drawn = warm.run("plots", out, cwd=place)
    assert drawn.status == 0, drawn.err
    assert "reach.svg" in listing(out)
    assert warm.run("gradflow", *SMALL["gradflow"].split(), "--out", out, cwd=place).status == 0
    assert not {"reach.svg", "gradflow.partial.json"} & listing(out)


def test_a_full_disk_costs_the_files_and_not_the_tables(warm, place):
    arguments = ["--hidden", "4", "--length", "201", "--lengths", "3,5", "--out"]
    done = warm.run("gradflow", *arguments, place / "out", cwd=place, limit=60_000)
    assert done.status == 1
    (line,) = done.err.splitlines()
    assert "out: expected a folder" in line
    assert "Reach" in done.out
    assert listing(place / "out") <= {"gradflow.partial.json"}


HANGS = "import time\n\ndef hangs():\n    while True:\n        try:\n            time.sleep(1)\n        except BaseException:\n            pass\n"


def test_a_model_that_hangs_is_ended_in_time_and_named(warm, place):
    (place / "their.py").write_text(HANGS)
    done = warm.run("gradflow", "--model", "their:hangs", "--timeout", "0.5", "--out", place / "out", cwd=place)
    assert done.status == 124
    (line,) = done.err.splitlines()
    assert "within 0.5 s, as their:hangs was loaded" in line
    assert not (place / "out").exists()


def test_a_measurement_that_takes_too_long_keeps_what_it_has(warm, place):
    out = place / "out"
    arguments = [
        "--hidden",
        "200",
        "--batch",
        "16",
        "--length",
        "1201",
        "--lengths",
        "10,1200",
        "--quiet",
        "--timeout",
        "3",
    ]
    done = warm.run("gradflow", *arguments, "--out", out, cwd=place)
    assert done.status == 124
    (line,) = done.err.splitlines()
    assert "within 3 s during " in line
    assert str(out / "gradflow.partial.json") in line
    assert listing(out) == {"gradflow.partial.json"}
