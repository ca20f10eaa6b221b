"""Code that hangs is stopped, however much it catches; the alarm of somebody else still rings."""

import signal
import sys
import threading
import time

import pytest
import torch

from unrolled import time_limit as module
from unrolled.errors import TimeLimitError, UnrolledError
from unrolled.time_limit import time_limit

LIMIT = 0.2
PATIENCE = 20  # seconds in which the busiest machine stops a loop


def sleeps(until):
    while time.monotonic() < until:
        time.sleep(0.01)


def computes(until):
    weight = torch.ones(4, 4)
    while time.monotonic() < until:
        weight = weight @ weight * 0


def catches_exceptions(until):
    while time.monotonic() < until:
        try:
            sleeps(until)
        except Exception:
            continue


def catches_everything(until):
    while time.monotonic() < until:
        try:  # noqa: SIM105
            sleeps(until)
        except:  # noqa: E722
            pass


def catches_everything_within_one_that_does(until):
    try:
        catches_everything(until)
    except BaseException:
        sleeps(until)


def cleans_up_for_ever(until):
    try:
        sleeps(until)
    finally:
        sleeps(until)


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        sleeps(Backward.until)
        return gradient


def hangs_in_backward(until):
    Backward.until = until
    Backward.apply(torch.ones(1, requires_grad=True)).sum().backward()


HANGS = [
    sleeps,
    computes,
    catches_exceptions,
    catches_everything,
    catches_everything_within_one_that_does,
    cleans_up_for_ever,
    hangs_in_backward,
]


def stopped(hang, limit=LIMIT):
    """Whether it was stopped before it gave up by itself."""
    until = time.monotonic() + PATIENCE
    with pytest.raises(TimeLimitError) as raised, time_limit(limit, "lstm-L1"):
        hang(until)
    assert isinstance(raised.value, UnrolledError)
    assert isinstance(raised.value, TimeoutError)
    assert str(raised.value).startswith("lstm-L1: ")
    assert f"{limit:g} s" in str(raised.value)
    assert "\n" not in str(raised.value)
    return time.monotonic() < until


@pytest.mark.parametrize("hang", HANGS)
def test_code_that_hangs_is_stopped(hang):
    trace = sys.gettrace()
    assert stopped(hang)
    assert sys.gettrace() is trace


@pytest.mark.parametrize("hang", [sleeps, computes, catches_exceptions, hangs_in_backward])
def test_without_signals_a_thread_stops_it(hang, monkeypatch):
    monkeypatch.delattr(module.signal, "setitimer")
    assert stopped(hang)


def test_in_a_thread_that_is_not_the_main_one_it_is_stopped_there():
    found = []
    thread = threading.Thread(target=lambda: found.append(stopped(sleeps)))
    thread.start()
    thread.join()
    assert found == [True]


@pytest.mark.parametrize("by_signal", [True, False])
def test_what_ends_in_time_is_left_alone(by_signal, monkeypatch):
    if not by_signal:
        monkeypatch.delattr(module.signal, "setitimer")
    with time_limit(PATIENCE, "x"):
        pass
    with pytest.raises(ZeroDivisionError), time_limit(PATIENCE, "x"):
        1 / 0  # noqa: B018
    with pytest.raises(KeyboardInterrupt), time_limit(PATIENCE, "x"):
        raise KeyboardInterrupt
    with time_limit(None, "x"):
        time.sleep(0.01)


@pytest.mark.parametrize("seconds", [1e-6, 1e-5, 1e-4, 1e-3])
def test_nothing_but_its_own_error_comes_out_however_late_or_early_it_rings(seconds):
    for _ in range(300):
        try:
            with time_limit(seconds, "x"):
                sum(range(300))
        except TimeLimitError:
            pass


@pytest.fixture
def alarms():
    """The times at which somebody else's alarm rang."""
    rang = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(time.monotonic()))
    yield rang
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("limit", [0.01, PATIENCE])
def test_the_alarm_of_somebody_else_rings_when_it_was_to(alarms, limit):
    handler, due = signal.getsignal(signal.SIGALRM), time.monotonic() + 0.3
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with time_limit(limit, "x"):
            sleeps(time.monotonic() + 0.05)
    except TimeLimitError:
        pass
    assert signal.getsignal(signal.SIGALRM) is handler
    sleeps(due + 0.2)
    assert len(alarms) == 1
    assert alarms[0] > due - 0.01  # the clock of signals may differ


def test_no_alarm_is_left_behind():
    before = signal.getsignal(signal.SIGALRM)
    assert stopped(sleeps)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_of_two_limits_the_one_that_was_passed_is_named():
    until = time.monotonic() + PATIENCE
    with (
        pytest.raises(TimeLimitError, match="inner: "),
        time_limit(PATIENCE, "outer"),
        time_limit(LIMIT, "inner"),
    ):
        sleeps(until)


def test_a_limit_within_another_one_that_is_not_reached_changes_nothing():
    def hang(until):
        with time_limit(PATIENCE, "inner"):
            pass
        sleeps(until)

    assert stopped(hang)
