"""Rounds: who runs when, what is inside the clock, and what is not."""

import gc
from collections import Counter
from itertools import pairwise

from unrolled.speed.rounds import time_rounds, timed


class FakeStep:
    """Takes a fixed time on a fake clock and writes down what happens to it."""

    def __init__(self, name, seconds, world):
        self.name, self.seconds, self.world = name, seconds, world

    def __call__(self):
        self.world.now += self.seconds
        self.world.log.append(self.name)
        self.world.collects.add(gc.isenabled())

    def reset(self):
        self.world.now += 100.0  # were it inside a clock, it would show
        self.world.log.append(f"reset {self.name}")


class World:
    def __init__(self):
        self.now, self.log, self.collects = 0.0, [], set()

    def timer(self):
        return self.now

    def steps(self):
        return [
            FakeStep(name, seconds, self) for name, seconds in (("fused", 2.0), ("mine", 3.0), ("theirs", 5.0))
        ]


def rounds(count, seed=0):
    world = World()
    return time_rounds(world.steps(), count, seed=seed, timer=world.timer), world


def orders(world):
    calls = [name for name in world.log if not name.startswith("reset")]
    return [tuple(calls[k : k + 3]) for k in range(0, len(calls), 3)]


def test_each_call_is_timed_alone_and_reset_outside_the_clock():
    seconds, world = rounds(20)
    assert seconds == [[2.0] * 20, [3.0] * 20, [5.0] * 20]  # the fake clock shows whole numbers
    for before, after in pairwise(world.log):
        if after in ("fused", "mine", "theirs"):
            assert before == f"reset {after}"


def test_everybody_runs_once_in_each_round():
    assert all(sorted(order) == ["fused", "mine", "theirs"] for order in orders(rounds(31)[1]))


def test_the_order_within_a_round_is_drawn_anew_each_time_from_the_seed():
    found = [orders(rounds(600, seed)[1]) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    counts = Counter(found[0])
    assert len(counts) == 6
    # Each of the 6 orders is expected 100 times of 600, with a standard deviation of 9.
    assert all(60 < count < 140 for count in counts.values())


def test_no_garbage_is_collected_in_a_round_and_it_is_again_afterwards():
    assert gc.isenabled()
    _, world = rounds(3)
    assert world.collects == {False}
    assert gc.isenabled()


def test_a_process_that_had_to_leave_its_core_in_a_call_is_noticed(monkeypatch):
    counts = iter([7, 9])
    monkeypatch.setattr("unrolled.speed.rounds.preemptions", lambda: next(counts))
    world = World()
    call = timed(world.steps()[0], world.timer)
    assert (call.seconds, call.preempted) == (2.0, 2)
