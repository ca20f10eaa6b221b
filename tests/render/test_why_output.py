"""Words, tables and the waterfall of an explanation."""

import re

import pytest
from matplotlib.figure import Figure

from tests.render.runs import BUSY, race, run
from tests.speed.why.test_ladder import RATIOS, made
from tests.speed.why.test_model import ABOUT, points
from unrolled import Workload
from unrolled.render import why as view
from unrolled.render.why_words import summary
from unrolled.speed.why.model import fit
from unrolled.speed.why.record import Floor


def explained(**fields):
    return made(race(RATIOS, Workload(batch_size=1), "training"), **fields)


def test_the_answer_is_the_share_of_dispatch_and_what_it_is_made_of():
    """40 ms of 50 steps are 800 µs a step; 20 ms of them are dispatch, of 5 operations a step."""
    assert view.answer(explained()) == (
        "At batch 1, 50% of a loop's 800 µs a step is dispatch: 5 operations of 80.0 µs."
    )


def test_dispatch_is_never_more_than_all():
    assert "At batch 1, 100% of" in view.answer(explained(floors=(Floor("dispatch of cells", 9.0),)))


def test_without_floors_or_operations_the_answer_is_shorter():
    assert view.answer(explained(floors=())) == "At batch 1 a loop of cells took 800 µs a step."
    assert view.answer(explained(operations=())).endswith("a step is dispatch.")


def test_a_loop_without_a_time_is_said():
    why = made(race(RATIOS, phase="training", wrong=("cells",)))
    assert view.answer(why) == "Nothing can be told: the loop of cells got no time (output differs by 0.5)."
    assert summary(why)[-1] == "cells got no time: wrong, output differs by 0.5."
    assert str(why)


def test_the_summary_says_what_saves_most_and_what_helps_besides():
    said = summary(explained())
    assert said[1].startswith("A loop of lstm cells took 4.00 times as long as fused (")
    assert "What saves most: the loop in C++, 600 µs a step." in said
    assert any(line.startswith("Tried, and it helped: the implementation bptt, ") for line in said)


def test_where_nothing_helped_one_line_says_so():
    results = race(RATIOS | {"bptt": 1.2, "flushed": 1.0}, Workload(batch_size=1), "training")
    assert "None of 2 things that were tried made fused faster here." in summary(made(results))


def test_where_a_loop_gets_cheap_is_said_with_its_bounds():
    model = fit(points(noise=0.05), ABOUT)
    (said,) = [line for line in summary(explained(model=model)) if "1.2 times" in line]
    assert re.search(r"from B = \d+ on( \(\d+ to (over )?\d+, 90 %\))?", said)
    assert "at no T up to 4096" in said
    assert "by a model of 12 sizes whose median error is" in said


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("model", [None, fit(points(noise=0.05), ABOUT)], ids=["alone", "with sizes"])
def test_tables_fit(width, model, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = str(explained(model=model))
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert "−" in shown  # what costs
    for words in ("a loop of cells", "input projection of all steps at once", "recurrent products", "× before"):
        assert words in shown


@pytest.mark.parametrize("width", [80, 120])
def test_a_grid_with_its_rungs_ends_with_what_each_saves(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    gru = {name: ratio for name, ratio in RATIOS.items() if name != "in_cpp"}
    results = [each for b in (1, 16) for each in race(RATIOS, Workload(batch_size=b), "training")]
    results += race(gru, Workload(cell="gru"), "training")
    shown = str(run(results))
    assert max(map(len, shown.splitlines())) <= width
    assert "lstm · training · cpu float32 · what each change saves of a step" in shown
    assert "gru · training · cpu float32 · what each change saves of a step" in shown
    table = shown[
        shown.index("lstm · training · cpu float32 · what") : shown.index("gru · training · cpu float32 · what")
    ]
    rows = " ".join(
        line for line in table.splitlines() if " 16 " in line
    )  # in two tables where there is less room
    saved = [float(number.replace("−", "-")) for number in re.findall(r"(−?[\d.]+) µs", rows)]
    assert saved == pytest.approx([800, -400, 200, 600, 200], rel=0.01)
    assert "what each change saves" not in str(run(race({"fused": 1.0, "cells": 2.0})))


def test_the_waterfall_is_drawn_with_every_rung(tmp_path):
    paths = view.draw(explained(), tmp_path)
    assert {path.name for path in paths} == {"waterfall.png", "waterfall.svg"}
    drawn = explained().plot(Figure().subplots())
    names = [label.get_text().replace("\n", " ") for label in drawn.get_xticklabels()]
    assert names == [
        "a loop of cells", "each operation called from Python", "input projection of all steps at once",
        "the loop in C++", "one kernel of oneDNN, with packed weights", "the fused module",
    ]  # fmt: skip
    heights = [bar.get_height() for bar in drawn.patches]
    assert heights == pytest.approx([800, 400, 200, 600, 200, 200], rel=1e-2)


@pytest.mark.parametrize("wrong", ["cells", "written_out", "projected", "in_cpp"])
def test_without_one_of_the_rungs_all_but_the_waterfall_is_shown(wrong, tmp_path):
    results = race(RATIOS, phase="training", wrong=(wrong,))
    why = made(results)
    assert view.draw(why, tmp_path) == []
    assert not why.plot(Figure().subplots()).patches
    assert f"{wrong} got no time" in str(why)
    assert str(run(results))


def test_a_busy_machine_is_told():
    assert not any("busy" in line for line in summary(explained()))
    assert summary(explained(during=BUSY))[-1].startswith("The machine was busy during the ladder: ")


def test_frames_have_a_row_for_each():
    frames = view.frames(explained(model=fit(points(), ABOUT)))
    assert {name: len(frame) for name, frame in frames.items()} == {
        "rungs": 5, "floors": 2, "operations": 2, "sizes": 12, "tries": 1,
    }  # fmt: skip
