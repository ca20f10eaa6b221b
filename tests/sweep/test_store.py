"""The store: it goes on where it ended, joins others, keeps others out, and refuses what is none."""

import json
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.processes import ROOT, environment
from tests.sweep.jobs import COUNTED, COUNTED_2, DEADLY
from unrolled.errors import InvalidValueError, ResultFileError
from unrolled.sweep.axis import Axis
from unrolled.sweep.grid import grid_of
from unrolled.sweep.store import Store

GRID = grid_of(COUNTED, (Axis("x", (1.0, 2.0, 3.0)),), {}, seeds=2)
TASKS = list(GRID.tasks())


def row(task):
    settings = json.loads(task.settings)
    return {"value": settings["x"] / 3 + task.seed, "word": "odd" if task.seed % 2 else None, "problem": ""}


def filled(path, tasks, job=COUNTED):
    with Store(path, job) as store:
        store.plan(GRID)
        store.add([(task, row(task)) for task in tasks])


def test_what_is_there_is_not_missing_when_it_is_opened_again(tmp_path):
    path = tmp_path / "deep" / "sweep.sqlite"
    filled(path, TASKS[1:4])
    with Store(path, COUNTED) as store:
        assert store.missing() == [TASKS[0], TASKS[4], TASKS[5]]
        assert [place for place, _ in store.rows()] == [1, 2, 3]
        assert [found for _, found in store.rows()] == [row(task) for task in TASKS[1:4]]
    assert [each.name for each in path.parent.iterdir()] == ["sweep.sqlite"]


def test_numbers_come_back_bit_for_bit(tmp_path):
    values = [0.1 + 0.2, -float("inf"), float("inf"), 5e-324, 0.0, None]
    with Store(tmp_path / "s", COUNTED) as store:
        store.plan(GRID)
        store.add([(task, row(task) | {"value": value}) for task, value in zip(TASKS, values, strict=True)])
        found = [row["value"] for _, row in store.rows()]
    assert list(map(repr, found)) == list(map(repr, values))


def test_the_first_row_of_a_task_stays(tmp_path):
    with Store(tmp_path / "s", COUNTED) as store:
        store.plan(GRID)
        store.add([(TASKS[0], row(TASKS[0]))])
        store.add([(TASKS[0], row(TASKS[0]) | {"value": 99.0})])
        assert [found["value"] for _, found in store.rows()] == [row(TASKS[0])["value"]]


def test_another_grid_shares_the_points_that_it_has_in_common(tmp_path):
    filled(tmp_path / "s", TASKS)
    with Store(tmp_path / "s", COUNTED) as store:
        store.plan(grid_of(COUNTED, (Axis("x", (2, 4)),), {}, seeds=3))
        missing = [(json.loads(task.settings)["x"], task.seed) for task in store.missing()]
    assert missing == [(2.0, 2), (4.0, 0), (4.0, 1), (4.0, 2)]


def test_stores_are_merged_and_each_row_is_there_once(tmp_path):
    filled(tmp_path / "a", TASKS[:3])
    filled(tmp_path / "b", TASKS[2:5])
    before = (tmp_path / "b").read_bytes()
    with Store(tmp_path / "all", COUNTED) as store:
        store.plan(GRID)
        assert store.merge([tmp_path / "a", tmp_path / "b", tmp_path / "a"]) == 5
        assert store.missing() == TASKS[5:]
        assert [found for _, found in store.rows()] == [row(task) for task in TASKS[:5]]
    assert (tmp_path / "b").read_bytes() == before


def test_rows_can_be_asked_in_plain_sql(tmp_path):
    filled(tmp_path / "s", TASKS)
    connection = sqlite3.connect(tmp_path / "s")
    asked = "SELECT x, avg(value) FROM results WHERE seed = 1 AND x > 1 GROUP BY x ORDER BY x"
    assert connection.execute(asked).fetchall() == [(2.0, 2 / 3 + 1), (3.0, 2.0)]
    connection.close()


def test_the_frame_has_a_column_for_each_setting_and_each_result(tmp_path):
    filled(tmp_path / "s", TASKS)
    with Store(tmp_path / "s", COUNTED) as store:
        frame = store.frame()
    assert list(frame) == ["x", "wait", "tag", "seed", "value", "word", "problem"]
    assert sorted(zip(frame["x"], frame["seed"], frame["value"], strict=True)) == [
        (x, seed, x / 3 + seed) for x in (1.0, 2.0, 3.0) for seed in (0, 1)
    ]


@pytest.mark.parametrize(("job", "said"), [(COUNTED_2, "counted version 2"), (DEADLY, "deadly version 1")])
def test_a_store_of_another_job_or_version_is_refused(job, said, tmp_path):
    filled(tmp_path / "s", TASKS)
    with pytest.raises(
        ResultFileError, match=f"^store: expected {said}, got counted version 1 in .*; name another$"
    ):
        Store(tmp_path / "s", job).__enter__()
    with Store(tmp_path / "other", job) as store, pytest.raises(ResultFileError, match="got counted version 1"):
        store.merge([tmp_path / "s"])
    with Store(tmp_path / "s", COUNTED) as store:  # which nobody holds, and nobody changed
        assert store.missing() == []


def damaged(path):
    """A page in the middle is overwritten, the head is whole."""
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        damaged,
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_text("x,value\n1,2\n" * 100),
        lambda path: path.write_bytes(b"\0" * 4096),
    ],
)
def test_damage_and_what_is_no_store_is_one_line(harm, tmp_path):
    path = tmp_path / "s"
    filled(path, TASKS)
    harm(path)
    with pytest.raises(ResultFileError, match="^store: expected .*; name another$") as error:
        Store(path, COUNTED).__enter__()
    assert "\n" not in str(error.value)


def test_somebody_elses_database_is_left_alone(tmp_path):
    path = tmp_path / "theirs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE results (a, b)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ResultFileError, match="^store: expected a store of a sweep, got another database"):
        Store(path, COUNTED).__enter__()
    assert path.read_bytes() == before


def test_what_cannot_be_opened_or_merged_is_refused(tmp_path):
    with pytest.raises(InvalidValueError, match="store: expected a file that can be"):
        Store(tmp_path, COUNTED).__enter__()
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValueError, match="store: expected a file that can be written"):
        Store(tmp_path / "file" / "s", COUNTED).__enter__()
    with Store(tmp_path / "s", COUNTED) as store:
        with pytest.raises(ResultFileError, match="expected a store to merge, got .*none, which is no file"):
            store.merge([tmp_path / "none"])
        with pytest.raises(InvalidValueError, match="expected another store to merge"):
            store.merge([tmp_path / "s"])
    with pytest.raises(InvalidValueError, match="got one that is closed"):
        store.missing()


HOLD = """
import sys
from pathlib import Path
from tests.sweep.test_store import COUNTED, GRID, TASKS, Store, row
with Store(Path(sys.argv[1]), COUNTED) as store:
    store.plan(GRID)
    for task in TASKS[:4]:
        store.add([(task, row(task))])
        print("added", flush=True)
    sys.stdin.read()
"""


def test_a_process_holds_its_store_and_what_it_added_outlives_its_death(tmp_path):
    path = tmp_path / "s"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert [holder.stdout.readline() for _ in range(4)] == [b"added\n"] * 4
        with pytest.raises(
            InvalidValueError, match="^store: expected a file that no other sweep writes to, got .*; wait"
        ):
            Store(path, COUNTED).__enter__()
        holder.send_signal(signal.SIGKILL)
    with Store(path, COUNTED) as store:
        assert store.missing() == TASKS[4:]
        assert [found for _, found in store.rows()] == [row(task) for task in TASKS[:4]]
