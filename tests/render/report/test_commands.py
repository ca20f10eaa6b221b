"""The command that a page gives measures the same again: nothing of a record is left to a default."""

import json
import shlex

import pytest

from diagnostics import advise, forecast, gradflow, learn, shapes, spectrum
from tests.render.report.pages import ROOT
from tests.render.runs import race, run
from unrolled import Workload
from unrolled.render.report.commands import command_of, options_of
from unrolled.render.saved import load
from unrolled.speed.settings import LIST_OPTIONS, Settings

COMMANDS = {
    "advise": advise,
    "gradflow": gradflow,
    "spectrum": spectrum,
    "forecast": forecast,
    "learn": learn,
    "shapes": shapes,
}
TINY = "--hidden 4 --input 3 --batch 2"
LINES = {
    "the textbook": ("gradflow", f"{TINY} --length 9 --lengths 5,8"),
    "one network": (
        "gradflow",
        f"{TINY} --cell lstm --layers 2 --bidirectional --init orthogonal --gain 1.3 --forget-bias 2.5 --length 9 "
        "--lengths 5 --clip value:0.5 --clip step:1 --loss mean --seed 3 --dtype float64",
    ),
    "two cells": ("gradflow", f"{TINY} --cell gru,rnn_relu --init identity --length 7 --lengths 4"),
    "spectra": ("spectrum", f"{TINY} --length 41 --gains 0.5,1.25 --warm-up 7 --lags 1,5 --qr-every 2"),
    "gains of another size": ("spectrum", "--input 3 --batch 2 --length 11 --gains 1,2 --drive zero --lags 1 --k 2"),
    "one spectrum": ("spectrum", f"{TINY} --cell gru --length 31 --k 3 --lags 1,10 --drive noise --seed 5"),
    "no gains": ("spectrum", f"{TINY} --length 21 --gains none --lags 1"),
    "a preset": ("forecast", "--preset vanish --length 8 --iterations 3 --seeds 2"),
    "trainings": (
        "forecast",
        "--cell gru,lstm --clip none --clip norm:0.1 --length 12 --warm-up 3 --iterations 4 --hidden 3 --batch 2 "
        "--init orthogonal --gain 1.25 --optimizer sgd --lr 0.05 --signal sum --seed 4 --seeds 2",
    ),
    "a closed loop": (
        "forecast", "--signal henon --cell gru --hidden 4 --length 8 --warm-up 3 --iterations 3 --exponents 2"
    ),
    "recall": ("forecast", "--signal recall:4 --length 8 --iterations 3 --init-std 0.01 --clip auto:10"),
    "the textbook, learning": ("learn", "--delays 2,3 --seeds 1 --iterations 2 --hidden 4 --batch 3"),
    "a network, learning": (
        "learn",
        "--task xor --cell lstm,gru --init chrono:5 --gain 1.5 --delays 2,4 --seeds 2 --iterations 3 --every-delay "
        "--hidden 4 --layers 2 --bidirectional --batch 3 --lr 0.02 --clip agc:0.1 --seed 3 --dtype float64",
    ),
    "advice on a task": (
        "advise", "--task copy --delay 3 --cell gru --init normal:0.1 --gain 0.5 --hidden 4 --seeds 1 --iterations 2 --seed 4"
    ),
    "advice on a training": ("advise", "--preset explode --iterations 3 --seeds 1 --lr 0.1"),
    "the walkthrough": ("shapes", "--seed 2"),
    "shapes": ("shapes", "--cell lstm --hidden 7+5 --proj-size 2 --batch-first --no-bias --bidirectional --length 4"),
    "one sequence": ("shapes", "--cell gru --unbatched --input 3 --hidden 4 --length 5 --dtype float64"),
}  # fmt: skip


def measured(name, words, folder):
    assert COMMANDS[name].main([*words, "--out", str(folder), "--quiet", "--no-plots"]) == 0
    return json.loads((folder / f"{name}.json").read_text())


SLOW = {"a closed loop"}
EACH = [pytest.param(*line, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, line in LINES.items()]


@pytest.mark.parametrize(("name", "line"), EACH)
def test_what_is_typed_again_gives_the_same_record(name, line, tmp_path, capsys):
    first = measured(name, line.split(), tmp_path / "first")
    command = command_of(load(tmp_path / "first" / f"{name}.json"))
    program, subcommand, *words = shlex.split(command)
    assert (program, subcommand) == ("unrolled", name)
    assert measured(name, words, tmp_path / "again") == first


@pytest.mark.parametrize("sizes", [False, True], ids=["alone", "with sizes"])
def test_an_explanation_is_measured_again_by_all_that_it_says(sizes):
    from tests.speed.why.test_ladder import RATIOS, made
    from tests.speed.why.test_model import ABOUT, points
    from unrolled.cli.command import Command
    from unrolled.speed.why.model import fit

    workload = Workload(
        cell="gru", input_size=3, hidden_size=5, num_layers=2, batch_size=4, seq_len=7, bidirectional=True, dtype="float64",
        seed=9,
    )  # fmt: skip
    why = made(race(RATIOS, workload, "forward"), model=fit(points(), ABOUT) if sizes else None)
    program, subcommand, *words = shlex.split(command_of(why))
    assert (program, subcommand) == ("unrolled", "why")
    options = Command("why", "unrolled why").parser.parse_args(words)
    assert (options.cell, options.phase, options.threads, options.no_sizes) == ("gru", "forward", 2, not sizes)
    assert (options.input, options.hidden, options.layers, options.batch, options.length) == (3, 5, 2, 4, 7)
    assert (options.bidirectional, options.dtype, options.device, options.seed) == (True, "float64", "cpu", 9)


@pytest.mark.parametrize("preset", ["classic", "explode", "vanish"])
def test_a_preset_as_it_is_has_its_name_or_all_of_its_settings(preset):
    from unrolled.forecast.presets import variants
    from unrolled.forecast.study import Study

    settings = variants(preset, {"seed": 2}, None, 3)

    class Trained:
        FORMAT = Study.FORMAT
        runs = tuple(type("Run", (), {"setting": setting}) for setting in settings)
        environment = type("Machine", (), {"threads": 1})
        exponents, truth = 0, None

    options = dict(options_of(Trained))
    assert (options["--seed"], options["--seeds"]) == ("2", "3")
    assert options.get("--preset") == (preset if preset == "vanish" else None)


def cases_of(options):
    lists = {
        option.flag: [dict(options)[option.flag]] for option in LIST_OPTIONS if option.flag in dict(options)
    }
    return Settings.read(lists, dict(options).get("--grid", "quick"), 1.0, ROOT, ("cpu",)).cases


def test_the_committed_benchmark_is_asked_for_case_by_case():
    record = load(ROOT / "docs" / "results" / "cpu" / "bench.json")
    asked = {(case.workload, case.phase, case.implementation) for case in cases_of(options_of(record))}
    assert asked == {(each.workload, each.phase, each.implementation) for each in record.results}
    assert ("--passes", "5") in options_of(record)


@pytest.mark.parametrize(
    "workloads",
    [
        [Workload(cell="gru", num_layers=n, hidden_size=h, batch_size=3, bidirectional=True) for n in (1, 2) for h in (8, 16)],
        [Workload(cell="lstm", hidden_size=(30, 20), dtype=dtype) for dtype in ("float32", "float64")],
    ],
)  # fmt: skip
def test_a_benchmark_of_other_sizes_is_asked_for_case_by_case(workloads):
    results = [each for work in workloads for each in race({"fused": 1, "cells": 2}, work)]
    asked = cases_of(options_of(run(results)))
    assert {(case.workload, case.implementation) for case in asked} == {
        (r.workload, r.implementation) for r in results
    }


def test_a_model_that_is_known_by_its_class_alone_has_no_command(tmp_path):
    from torch import nn

    from unrolled.gradients.study import measure
    from unrolled.networks.model import UserModel

    model = UserModel(name="mine", model=nn.GRU(3, 4), batch_size=2, seq_len=6, seed=0)
    record = measure([model], [model], lengths=[4], clips=["none"])
    assert (command_of(record), options_of(record)) == ("", None)
