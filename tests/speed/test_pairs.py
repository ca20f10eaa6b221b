"""Paired rounds: who runs when, what is inside the clock, and what is not."""

from collections import Counter
from itertools import pairwise

import pytest

from unrolled.speed.pairs import PairedRounds, time_pairs


class FakeStep:
    """Takes a fixed time on a fake clock and writes down what happens to it."""

    def __init__(self, name, seconds, world):
        self.name, self.seconds, self.world = name, seconds, world

    def __call__(self):
        self.world.now += self.seconds
        self.world.log.append(self.name)

    def reset(self):
        self.world.now += 100.0  # were it inside a clock, it would show
        self.world.log.append(f"reset {self.name}")

    def note_event(self):
        self.world.now += 100.0


class World:
    def __init__(self):
        self.now, self.log = 0.0, []

    def timer(self):
        return self.now


def paired(rounds, seed=0):
    world = World()
    fused, mine = FakeStep("fused", 2.0, world), FakeStep("mine", 3.0, world)
    pairs = PairedRounds(fused, mine, rounds, seed=seed, timer=world.timer)
    return pairs, time_pairs(pairs), world


def test_each_call_is_timed_alone_and_gradients_are_reset_outside_the_clock():
    pairs, seconds, world = paired(20)
    assert seconds == [3.0] * 20  # the fake clock shows whole numbers
    assert pairs.reference_seconds == [2.0] * 20
    for before, after in pairwise(world.log):
        if after in ("fused", "mine"):
            assert before == f"reset {after}"


def test_the_two_calls_of_a_round_stand_beside_each_other_in_the_order_recorded():
    pairs, _, world = paired(31)
    calls = [name for name in world.log if not name.startswith("reset")]
    rounds = [tuple(calls[k : k + 2]) for k in range(0, len(calls), 2)]
    expected = [("fused", "mine") if first else ("mine", "fused") for first in pairs.reference_first]
    assert rounds == expected


@pytest.mark.parametrize("rounds", [9, 10, 201])
def test_the_reference_goes_first_in_half_of_the_rounds_in_random_order(rounds):
    orders = [paired(rounds, seed)[0].reference_first for seed in range(5)]
    assert all(abs(2 * sum(order) - rounds) <= 1 for order in orders)
    assert len(Counter(map(tuple, orders))) == 5


def test_a_call_beyond_the_last_round_is_not_paired():
    pairs, _, _ = paired(9)
    pairs.setup()
    pairs.contender()
    pairs.teardown()
    assert len(pairs.reference_seconds) == 9
