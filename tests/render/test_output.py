"""Tables in terminals of fixed width, plots that are reproducible, files that are written whole, numbers read well."""

import io
import math

import pytest
from rich.console import Console

from tests.render.runs import BUSY, race, run
from unrolled import Workload
from unrolled.render import bench, text
from unrolled.render.speed_axes import places
from unrolled.render.speed_reading import LONGEST, read, short_names
from unrolled.render.speed_summary import summary
from unrolled.render.speed_tables import best_of

PLUG_INS = (
    "company.research.kernels.recurrent.lstm_cuda_fast:build",
    "company.research.kernels.recurrent.lstm_triton_fast:build",
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1.5, "1.50 s"), (0.0123456, "12.3 ms"), (5.904e-4, "590 µs"), (9.996e-3, "10.0 ms"), (3e-8, "30.0 ns"),
     (0.99999, "1.00 s"), (math.nan, "–")],
)  # fmt: skip
def test_seconds_have_three_digits_and_a_unit(seconds, shown):
    assert text.seconds(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [((353_122.0,), "353 k"), ((1_536.0, "B", 1024), "1.50 KiB"), ((108_003_328.0, "B", 1024), "103 MiB"), ((12.0,), "12")],
)  # fmt: skip
def test_amounts_have_three_digits_and_a_prefix(amount, shown):
    assert text.amount(*amount) == shown


def grid():
    ratios = {"fused": 1.0, "cells": 12.345, "hoisted": 0.5}
    made = [
        each
        for phase in ("forward", "training")
        for batch in (1, 64)
        for each in race(ratios, Workload(batch_size=batch), phase)
    ]
    return run([*made, *race({"mine": 1.0}, Workload(batch_size=1), wrong=("mine",))])


def printed(of, width=120, as_="ratio", explain=False):
    console = Console(width=width, file=io.StringIO(), record=True)
    bench.show(of, console, as_, explain)
    return console.export_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"packed": True}, " · packed"),
        ({"bias": False, "batch_first": True}, " · no biases · batch first"),
        ({"num_layers": 2, "dropout": 0.25}, " · dropout 0.25"),
        ({"proj_size": 8}, " · projected to 8"),
    ],
)
def test_a_title_says_the_options_that_all_rows_have(options, words):
    shown = printed(run(race({"fused": 1.0, "cells": 2.0}, Workload(**options))))
    assert f"lstm · forward · cpu float32{words}\n" in "\n".join(map(str.rstrip, shown.splitlines())) + "\n"


def said(of, **how):
    """Everything printed, as one line."""
    return " ".join(printed(of, **how).split())


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_their_terminal_and_cut_nothing(width):
    shown = printed(grid(), width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert "lstm · forward · cpu float32" in shown
    assert "lstm · training · cpu float32" in shown
    for word in ("12.3", "0.500", "slower", "faster", "WRONG", "tokens/s", "GFLOP/s", "keeps 1000 B"):
        assert word in shown


@pytest.mark.parametrize("width", [60, 80, 100])
def test_names_that_are_long_stay_apart_and_fit(width):
    shown = printed(run(race({"fused": 1.0, "cells": 2.0} | dict.fromkeys(PLUG_INS, 0.5))), width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…cuda_fast:build" in shown
    assert "…triton_fast:build" in shown


@pytest.mark.parametrize(
    "names",
    [
        PLUG_INS,
        [f"a.very.long.package.of.mine{k}.with.one.name:build" for k in range(12)],
        [f"{'x' * 40}{k}{'y' * 40}" for k in (1, 2)],
        [f"{letter}{'-' * 60}{end}" for letter in "ab" for end in "cd"],
        [f"p{'-' * k}q{'-' * 60}" for k in range(1, 9)],
    ],
)
def test_short_names_are_short_and_distinct(names):
    short = short_names(names)
    assert list(short) == list(names)
    assert len(set(short.values())) == len(names)
    assert max(map(len, short.values())) <= LONGEST


def test_numbers_come_in_the_order_of_numbers_and_those_of_single_layers_last():
    sizes = (128, (30, 20), 16, 8, (8, 16), 64, 32)
    made = [each for size in sizes for each in race({"fused": 1.0}, Workload(hidden_size=size))]
    assert [place[0] for place in places(run(made).frame(), ["hidden_size"])] == [
        8,
        16,
        32,
        64,
        128,
        "8+16",
        "30+20",
    ]
    rows = [line.split()[2] for line in printed(run(made)).splitlines() if " ms " in line]
    assert rows == ["8", "16", "32", "64", "128", "8+16", "30+20"]


def test_the_best_is_marked_and_fused_is_best_where_nothing_is_faster():
    lines = printed(grid()).splitlines()
    assert all("★ 5.00 ms" in line for line in lines if "5.00 ms" in line)  # hoisted takes half the time
    assert sum("★" in line for line in lines) == 4
    assert "★ 10.0 ms" in printed(run(race({"fused": 1.0, "cells": 2.0})))


def rows(**verdicts):
    """Of one workload: ratio and verdict by name, each known to 10 %."""
    return {
        name: {
            "rounds": 25, "median_s": ratio, "ratio": ratio, "ratio_low": ratio / 1.1, "ratio_high": ratio * 1.1,
            "verdict": verdict, "told": True,
        }
        for name, (ratio, verdict) in verdicts.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raced", "best"),
    [
        (rows(fused=(1, "same"), cells=(2, "slower"), mine=(1, "same")), "fused"),
        (rows(fused=(1, "same"), cells=(2, "slower"), mine=(0.5, "faster")), "mine"),
        (rows(a=(0.4, "faster"), b=(0.5, "faster")), "a"),
        (rows(fused=(1, "same"), cells=(2, "slower"), mine=(0.95, "unclear")), None),
        (rows(a=(0.9, "faster"), b=(0.95, "unclear")), None),  # b may be as fast as a
        (rows(a=(0.5, "faster"), b=(0.95, "unclear")), "a"),  # b is not
        (rows(fused=(1, "same")), None),  # against nobody
    ],
)
def test_a_winner_is_marked_only_where_that_is_decided(raced, best):
    assert best_of(raced, "fused") == best


def test_an_interval_that_tells_nothing_is_a_question_mark_and_in_no_mean():
    made = race({"cells": 2.0, "hoisted": 0.4}, wide=("hoisted",))
    shown = said(run(made))
    assert "★" not in shown
    assert "? unclear" in shown
    assert "lstm: nothing can be told about hoisted." in shown
    other = race({"cells": 2.0, "hoisted": 0.4}, Workload(batch_size=1))
    third = race({"cells": 8.0, "hoisted": 0.1}, Workload(batch_size=2))
    shown = said(run([*made, *other, *third]))
    assert (
        "lstm: hoisted took 0.20 times as long, 0.10 to 0.40 over the 2 of 3 workloads that can be told"
        in shown
    )
    assert (
        "lstm: cells took 3.17 times as long, 2.00 to 8.00 over 3 workloads: slower in 3" in shown
    )  # 32 ** (1 / 3)


def test_the_first_line_of_the_words_is_the_answer():
    first, *lines = summary(grid().frame()).splitlines()
    assert first == "Against the fused module, cells took 12.34 times as long and hoisted 0.50 times."
    assert [line.split(" took ")[0] for line in lines] == [
        "lstm: cells",
        "lstm: hoisted",
        "1 got no time, the first mine on lstm L1 B1 forward (wrong: output differs by 0.5).",
    ]
    assert summary(grid().frame(), as_="speedup").startswith(
        "Against the fused module, cells was 0.08 times as fast and hoisted 2.00 times."
    )


def test_columns_are_named_in_words_that_a_newcomer_knows():
    made = [
        each
        for size in (8, 16)
        for each in race({"fused": 1.0, "cells": 2.0}, Workload(hidden_size=size, seq_len=size))
    ]
    head = next(line for line in printed(run(made)).splitlines() if "noise" in line)
    assert head.split()[:4] == ["layers", "batch", "steps", "hidden"]


def test_a_busy_machine_is_named_and_no_budget_is_recommended_there():
    made = race({"fused": 1.0, "hoisted": 1.0}, wide=("hoisted",))
    quiet, busy = (said(run(made, load), explain=True) for load in (None, BUSY))
    assert "1 of 1 comparisons are unclear at this noise; --until-decided SECONDS decides more" in quiet
    assert "The machine was busy during the run: other processes take 1.9 of its 2 cores" in busy
    assert "--until-decided" not in busy
    assert "--budget" not in busy + quiet
    assert "until-decided" not in said(run(race({"fused": 1.0, "hoisted": 2.0})), explain=True)


def test_rounds_left_out_and_results_not_checked_again_are_counted():
    made = race({"fused": 1.0, "cells": 2.0}, preempted=(0, 7), recheck_error=math.nan)
    shown = said(run(made), explain=True)
    assert "4 of 50 rounds were left out, since the process was pre-empted in them." in shown
    assert "1 result was not checked again after the clock" in shown
    shown = said(run(race({"fused": 1.0, "cells": 2.0}, passes=1, recheck_error=math.nan)))
    assert "left out" not in shown
    assert "not checked again" not in shown


def test_times_are_in_the_order_of_ratios_also_where_each_contender_met_another_reference():
    slow, fast = race({"cells": 1.2}, base=0.009, passes=1), race({"hoisted": 1.1}, base=0.012, passes=1)
    frame = read(run([*slow, *fast]).frame())
    times = dict(zip(frame["implementation"], frame["median_s"], strict=True))
    assert times["cells"] > times["hoisted"] > frame["reference_median_s"].iloc[0]
    assert frame["reference_median_s"].nunique() == 1


def test_a_speedup_is_the_ratio_turned_round_with_its_interval():
    ratio, speedup = (read(grid().frame(), as_) for as_ in ("ratio", "speedup"))
    for name, other in (("ratio", "ratio"), ("ratio_low", "ratio_high"), ("ratio_high", "ratio_low")):
        assert speedup[name].dropna().tolist() == pytest.approx((1 / ratio[other]).dropna().tolist())
    assert speedup["verdict"].tolist() == ratio["verdict"].tolist()
    shown = said(grid(), as_="speedup")
    assert "hoisted was 2.00 times as fast" in shown
    assert "2.00 (" in shown
    assert shown.count("★") == 4


def test_threads_are_rows_and_have_a_table_against_the_first():
    made = [
        each
        for threads in (1, 2, 4)
        for each in race({"fused": 1.0, "cells": 2.0}, base=0.01 / threads, threads=threads)
    ]
    shown = printed(run(made))
    assert "lstm · forward · cpu float32 · time by threads, against 1 thread" in shown
    lines = [line.split() for line in shown.splitlines() if line.endswith("faster")]
    assert [(line[2], line[5], line[8]) for line in lines] == [
        ("fused", "0.500", "0.250"),
        ("cells", "0.500", "0.250"),
    ]
    assert "2.00 (" in printed(run(made), as_="speedup")


def test_dtypes_are_held_against_the_first_in_the_order_given():
    made = [
        each
        for dtype, base in (("float32", 0.010), ("bfloat16", 0.005))
        for each in race({"fused": 1.0}, Workload(dtype=dtype), base=base)
    ]
    shown = printed(run(made))
    assert "fused lstm · forward · cpu · time in bfloat16, against float32" in shown
    assert shown.index("cpu float32") < shown.index("cpu bfloat16")
    assert "0.500" in shown
