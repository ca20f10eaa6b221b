"""How busy a machine is: from what the system counts, on constructed counts and on this machine."""

import sys

import pytest

from unrolled.speed import load
from unrolled.speed.load import Load, Watch, preemptions

STAT = "cpu  9 9 9 9 9 9 9 9\ncpu0 {0} 0 100 900 50 0 0 {1} 0 0\ncpu1 100 0 0 900 0 0 0 0 0 0\ncpu2 {2} 0 0 0 0 0 0 0 0 0\n"


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """`counted(user, stolen, elsewhere)`: what /proc/stat shows of three cores, of which this process may use two."""
    path = tmp_path / "stat"
    monkeypatch.setattr(load, "Path", lambda name: path)
    monkeypatch.setattr("unrolled.environment.Path", lambda name: path)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr("os.sysconf", lambda name: 100)

    def write(user, stolen=0, elsewhere=0):
        path.write_text(
            STAT.format(user, stolen, elsewhere).replace("cpu  9 9 9 9 9 9 9 9", f"cpu 0 0 0 0 0 0 0 {stolen}")
        )

    return write


@pytest.fixture
def clock(monkeypatch):
    """Wall-clock time and CPU time of this process, in seconds, as one sets them."""
    now = {"wall": 0.0, "own": 0.0}
    monkeypatch.setattr(load, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(load, "process_time", lambda: now["own"])
    return now


def test_what_others_take_is_what_its_cores_did_less_its_own(counted, clock):
    counted(1000, elsewhere=0)
    watch = Watch()
    clock |= {"wall": 10.0, "own": 4.0}
    counted(2000, elsewhere=5000)  # ten seconds on a core of its own, fifty on one that it may not use
    found = watch.load()
    assert (found.own, found.others) == pytest.approx((0.4, 0.6))
    assert found.is_busy
    assert str(found) == "other processes take 0.6 of its 2 cores"
    found.check()


def test_a_process_by_itself_is_not_disturbed_by_itself(counted, clock):
    counted(1000)
    watch = Watch()
    clock |= {"wall": 10.0, "own": 10.0}
    counted(2000)
    found = watch.load()
    assert found.others == 0
    assert not found.is_busy
    assert str(found) == "nothing else runs"


def test_time_that_a_host_gives_away_is_told(counted, clock, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    counted(1000, stolen=0)
    watch = Watch()
    clock |= {"wall": 10.0, "own": 10.0}
    counted(2000, stolen=200)
    found = watch.load()
    assert found.stolen == pytest.approx(0.1)
    assert str(found) == "its host gives 10% of its time to other machines"


def test_where_the_system_does_not_tell_the_load_average_stands_in(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "_busy_seconds", lambda: None)
    monkeypatch.setattr("os.getloadavg", lambda: (7.0, 0.0, 0.0), raising=False)
    found = Watch().load()
    assert found.others is None
    assert found.is_busy
    assert str(found).startswith("its load average is 7.0 on ")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others count elsewhere")
def test_this_machine_tells():
    found = Watch().load()
    found.check()
    assert found.others is not None
    assert preemptions() >= found.preempted >= 0


@pytest.mark.parametrize("wrong", [{"cores": 0}, {"stolen": 1.5}, {"others": 1e9}, {"own": 100.0}])
def test_what_no_machine_shows_is_refused(wrong):
    fields = {
        "seconds": 1.0,
        "cores": 2,
        "own": 1.0,
        "others": 0.5,
        "stolen": 0.0,
        "preempted": 3,
        "load_average": 1.0,
    }
    Load(**fields).check()
    with pytest.raises(ValueError, match="expected"):
        Load(**fields | wrong).check()
