"""Other networks stand in a block of their own, with what each is beside its time, and without a verdict."""

import dataclasses
import math

import pytest

from tests.render.runs import MACHINE, race, run
from tests.render.test_output import printed, said
from unrolled import Workload
from unrolled.render import bench
from unrolled.render.network_tables import network_lines
from unrolled.render.race import answer
from unrolled.render.report.commands import command_of
from unrolled.speed.network import Horizon, Network

NETWORKS = {
    "fused": Network("lstm", 99_328, 1.6e8, Horizon(31, False)),
    "network:gru": Network("gru", 74_496, 1.2e8, Horizon(199, True)),
    "network:examples.cells.min_gru:MinGRU": Network(
        "examples.cells.min_gru:MinGRU", 16_640, math.nan, Horizon(None, False)
    ),
}


def beside(ratios=None, batches=(1, 16), **how):
    ratios = ratios or {"fused": 1.0, "cells": 2.0, **dict.fromkeys(list(NETWORKS)[1:], 0.75)}
    return run(
        [
            dataclasses.replace(each, network=NETWORKS.get(each.implementation) if each.timed else None)
            for batch in batches
            for each in race(ratios, Workload(batch_size=batch), **how)
        ]
    )


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_block_has_what_each_network_is(width):
    shown = printed(beside(), width=width)
    assert all(len(line.rstrip()) <= width for line in shown.splitlines())
    block = shown[shown.index("another network · lstm") :]
    for word in (
        "parameters",
        "operations",
        "horizon",
        "99,328",
        "74,496",
        "160 MFLOP",
        "≥ 199",
        "MinGRU",
        "× lstm",
    ):
        assert word in block, word
    assert not {"faster", "slower", "same"} & set(block[: block.index("Against the fused")].split())


def test_the_other_tables_and_plots_know_nothing_of_it(tmp_path):
    shown = said(beside())
    before = shown[: shown.index("another network")]
    assert "gru" not in before
    assert set(bench.frames(beside())["bench"]["implementation"]) == {"fused", "cells"}
    for path in bench.draw(beside(), tmp_path):
        if path.suffix == ".svg":
            assert "network" not in path.read_text(encoding="utf-8")


def test_its_line_has_a_ratio_and_no_verdict():
    lines = network_lines(beside().network_frame())
    assert lines == [
        "Another network: gru took 0.75 times as long as lstm, with 0.75 times its parameters, over 2 workloads.",
        "Another network: MinGRU took 0.75 times as long as lstm, with 0.17 times its parameters, over 2 workloads.",
    ]
    assert "gru was 1.33 times as fast as lstm" in network_lines(beside().network_frame(), "speedup")[0]


def test_what_got_no_time_is_said():
    of = beside(wrong=("network:gru",), batches=(1,))
    assert "Another network: gru got no time: wrong, output differs by 0.5." in said(of)
    assert "WRONG" in printed(of)


def test_a_race_of_its_own_says_what_it_is():
    (result,) = race({"network:gru": 0.75})
    assert answer(dataclasses.replace(result, network=NETWORKS["network:gru"])) == (
        "network gru took 0.750 times as long as fused (0.744 to 0.756, 99 %): another network."
    )


def test_the_command_that_measures_it_again_names_it():
    command = command_of(beside())
    assert "--against gru,examples.cells.min_gru:MinGRU" in command
    assert "--implementation fused,cells" in command
    assert MACHINE.cpu not in command
