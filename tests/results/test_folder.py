"""A folder for results: all of a run or nothing, the run before kept, one run at a time, and no debris."""

import json
import os
import signal
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from unrolled.errors import InvalidValueError, UnrolledError
from unrolled.results import folder as folder_module
from unrolled.results.folder import ResultFolder, complete
from unrolled.results.record import Record, write_atomically


@dataclass(frozen=True)
class Number(Record):
    FORMAT = "unrolled.number"
    VERSION = 1

    value: int


def files(*names):
    """What writes files of these names, each with its own name in it."""

    def write(beside):
        for name in names:
            (beside / name).write_text(name)
        return [beside / name for name in names]

    return write


def run(out, value, *names):
    with ResultFolder(out, "number") as folder:
        return folder.finish(Number(value), files(*names))


def listing(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_files_are_readable_as_other_files_are(tmp_path):
    write_atomically(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(InvalidValueError, match="out: .*got .*file/out"),
        ResultFolder(tmp_path / "file" / "out", "x"),
    ):
        pytest.fail("it was entered")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_leaves_nothing_leaves_no_folder(tmp_path):
    with ResultFolder(tmp_path / "a" / "b", "number"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_run_before_goes_to_previous_with_all_its_files_and_the_one_before_it_is_gone(tmp_path):
    assert [path.name for path in run(tmp_path, 1, "a.svg", "b.csv")] == ["a.svg", "b.csv", "number.json"]
    run(tmp_path, 2, "b.csv")
    assert listing(tmp_path) == [
        "b.csv",
        "number.json",
        *(f"previous/{n}" for n in ("a.svg", "b.csv", "number.json")),
    ]
    assert Number.load(tmp_path / "previous" / "number.json").value == 1
    run(tmp_path, 3)
    assert listing(tmp_path) == ["number.json", "previous/b.csv", "previous/number.json"]
    assert Number.load(tmp_path / "number.json").value == 3


def test_what_fails_while_it_writes_leaves_the_run_before_and_the_record(tmp_path):
    run(tmp_path, 1, "a.svg")

    def breaks(beside):
        (beside / "a.svg").write_text("half")
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(InvalidValueError, match="No space left on device"),
        ResultFolder(tmp_path, "number") as folder,
    ):
        folder.finish(Number(2), breaks)
    assert listing(tmp_path) == ["a.svg", "number.json", "number.partial.json"]
    assert Number.load(tmp_path / "number.json").value == 1
    assert Number.load(tmp_path / "number.partial.json").value == 2


def test_a_part_is_kept_whatever_ends_the_run_and_goes_when_one_is_whole(tmp_path):
    with suppress(KeyboardInterrupt), ResultFolder(tmp_path, "number") as folder:
        folder.keep(Number(1))
        folder.keep(Number(2))  # not due yet
        assert Number.load(folder.partial).value == 1
        raise KeyboardInterrupt
    assert Number.load(tmp_path / "number.partial.json").value == 2
    assert json.loads((tmp_path / "number.partial.json").read_text())["partial"] is True
    run(tmp_path, 3)
    assert listing(tmp_path) == ["number.json"]


class Killed(BaseException):
    """The process is gone: nothing is cleaned up."""


@pytest.mark.parametrize("steps", range(14))
def test_killed_at_any_step_the_next_run_puts_all_in_place(tmp_path, monkeypatch, steps):
    """Each move, removal and new folder may be the last thing that a process does."""
    run(tmp_path, 1, "a.svg", "b.csv")
    run(tmp_path, 2, "a.svg", "b.csv")
    left = steps
    path = type(tmp_path)

    def counted(original):
        def step(*arguments, **options):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return original(*arguments, **options)

        return step

    folder = ResultFolder(tmp_path, "number")
    folder.__enter__()
    with monkeypatch.context() as patch:
        for name in ("replace", "rename", "unlink", "mkdir"):
            patch.setattr(path, name, counted(getattr(path, name)))
        with suppress(Killed):
            folder.finish(Number(3), files("b.csv", "c.csv"))
        folder._lock.release()  # as the system does for a dead process
    complete(tmp_path)
    whole = Number.load(tmp_path / "number.json").value
    before = Number.load(tmp_path / "previous" / "number.json").value
    assert (whole, before) in ((2, 1), (3, 2))
    named = json.loads((tmp_path / "number.json").read_text())["files"]
    there = {name for name in listing(tmp_path) if "/" not in name} - {".lock", "number.partial.json"}
    assert there == {*named, "number.json"}
    run(tmp_path, 4, "d.csv")
    assert listing(tmp_path)[:2] == ["d.csv", "number.json"]


def test_two_runs_at_once_are_one_too_many(tmp_path):
    with ResultFolder(tmp_path, "number"), pytest.raises(UnrolledError, match="no other run"):
        ResultFolder(tmp_path, "other").__enter__()
    run(tmp_path, 1)
    assert listing(tmp_path) == ["number.json"]


def test_records_with_files_of_one_name_do_not_mix(tmp_path):
    run(tmp_path, 1, "a.svg")
    with ResultFolder(tmp_path, "other") as folder:
        folder.finish(Number(2), files("a.svg"))
    assert listing(tmp_path) == ["a.svg", "other.json", "previous/a.svg", "previous/number.json"]


def test_plots_that_are_added_belong_to_their_record_and_to_no_other(tmp_path):
    run(tmp_path, 1)
    with ResultFolder(tmp_path, "number") as folder:
        folder.add(tmp_path / "number.json", files("a.svg"))
    assert json.loads((tmp_path / "number.json").read_text())["files"] == ["a.svg"]
    elsewhere = tmp_path / "elsewhere"
    run(elsewhere, 2)
    with (
        ResultFolder(elsewhere, "number") as folder,
        pytest.raises(UnrolledError, match="out: .*another number.json"),
    ):
        folder.add(tmp_path / "number.json", files("a.svg"))
    assert listing(elsewhere) == ["number.json"]


def test_saving_parts_takes_at_most_a_twentieth_of_the_time(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(folder_module, "monotonic", lambda: clock[0])
    saved = []

    def save(self, path, **_):
        saved.append(clock[0])
        clock[0] += 0.5  # what a large record takes

    monkeypatch.setattr(Number, "save", save)
    with ResultFolder(tmp_path, "number") as folder:
        for _ in range(400):
            folder.keep(Number(1))
            clock[0] += 0.1
    assert len(saved[:-1]) * 0.5 <= 0.05 * clock[0] + 0.5


def test_files_of_the_same_names_that_no_record_knows_go_to_previous(tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    run(tmp_path, 1, "a.csv")
    assert (tmp_path / "a.csv").read_text() == "a.csv"
    assert (tmp_path / "previous" / "a.csv").read_text() == "mine"


def test_a_run_whose_record_does_not_name_its_files_goes_to_previous_with_them(tmp_path):
    old = {"format": "unrolled.gradflow", "version": 1}
    (tmp_path / "gradflow.json").write_text(json.dumps(old))
    for name in ("flow.csv", "reach.svg", "lengths.png", "notes.svg"):
        (tmp_path / name).write_text("old")
    with ResultFolder(tmp_path, "gradflow") as folder:
        folder.finish(Number(1), files("flow.csv"))
    assert listing(tmp_path) == [
        "flow.csv",
        "gradflow.json",
        "notes.svg",
        *sorted(f"previous/{name}" for name in ("flow.csv", "gradflow.json", "lengths.png", "reach.svg")),
    ]
    assert (tmp_path / "previous" / "flow.csv").read_text() == "old"


def test_a_folder_stays_the_same_where_somebody_goes_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with ResultFolder(Path("out"), "number") as folder:
        monkeypatch.chdir(tmp_path)
        folder.finish(Number(1), files("a.csv"))
    assert listing(tmp_path) == ["here/out/a.csv", "here/out/number.json"]


def test_a_signal_that_comes_while_the_lock_is_taken_leaves_none(tmp_path, monkeypatch):
    """It comes when the file is there and the lock not yet held, as nothing that is half taken can be given back."""
    taken = []

    class Slow(FileLock):
        def acquire(self, *args, **options):
            (tmp_path / ".lock").touch()
            os.kill(os.getpid(), signal.SIGTERM)
            return super().acquire(*args, **options)

    monkeypatch.setattr(folder_module, "FileLock", Slow)
    folder = ResultFolder(tmp_path, "one")

    def end(number, frame):
        taken.append(folder._lock.is_locked)
        folder.close()

    before = signal.signal(signal.SIGTERM, end)
    try:
        with folder:
            assert taken == [True]
            assert not (tmp_path / ".lock").exists()
    finally:
        signal.signal(signal.SIGTERM, before)
