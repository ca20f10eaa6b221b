"""A study that is read back has every number of the one that was measured, and what no training leaves is refused."""

import io
import json
import math
import re
from functools import reduce

import numpy as np
import pytest
from rich.console import Console

from tests.processes import ROOT
from unrolled.errors import ResultFileError
from unrolled.forecast.autonomous import autonomous_spectrum, driven_with
from unrolled.forecast.presets import explode
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import Study, measure
from unrolled.forecast.suggestion import FIRST, suggestions
from unrolled.forecast.training import Training
from unrolled.render.forecast_exponents import exponents_table, exponents_words
from unrolled.render.forecast_exponents_plot import draw_exponents
from unrolled.render.forecast_plots import draw_forecast
from unrolled.render.forecast_summary import summary
from unrolled.render.forecast_tables import gradient_table, suggestion_table, training_table

SMALL = Setting(iterations=110, length=12, warm_up=3)
STOPS = SMALL.replace(
    cell="rnn_relu", init_std=None, init="identity", gain=40.0, length=40, optimizer="sgd", lr=1.0
)
STUDIES = {
    "every clip": [
        SMALL.replace(clip=clip)
        for clip in ("none", "norm:10", "norm:0.1", "value:0.01", "tensor:0.1", "auto:20")
    ],
    "cells": [
        SMALL.replace(cell=cell, iterations=20, num_layers=2, batch_size=3)
        for cell in ("gru", "lstm", "rnn_relu")
    ],
    "seeds": [
        SMALL.replace(seed=seed, clip=clip, iterations=5) for seed in (3, 4) for clip in ("none", "norm:1")
    ],
    "at every step": [SMALL.replace(clip="step:0.05", iterations=4)],
    "chaos": [SMALL.replace(signal="henon", cell="gru", hidden_size=3, iterations=20)],
    "recall": [Setting(signal="recall:3", length=6, init_std=None, iterations=30, batch_size=4)],
    "stopped at once": [STOPS.replace(clip=clip) for clip in ("none", "auto:10", "step:1")],
    "stopped later": [setting.replace(iterations=60) for setting in explode()],
}
FRAMES = ("runs_frame", "history_frame", "loop_frame", "reach_frame", "exponents_frame")


@pytest.fixture(scope="module")
def measured():
    """Each study, measured once when it is asked for, with what was kept of it on the way."""
    found = {}

    def of(name):
        if name not in found:
            kept = []
            found[name] = measure(STUDIES[name], keep=kept.append), kept
        return found[name]

    return of


def shown(study, tmp_path):
    """All that the command prints and draws; the time of a training is not in the file."""
    table = study.table_frame().drop(columns="seconds").assign(seconds=np.nan)
    screen = Console(width=120, record=True, file=io.StringIO())
    screen.print(training_table(table, 120), gradient_table(table))
    screen.print(suggestion_table(suggestions(study.history_frame()), FIRST))
    screen.print(summary(table, study.runs_frame(), study.reach_frame(), explain=True))
    exponents = study.exponents_frame()
    if len(exponents):
        screen.print(exponents_table(exponents, study.truth, 120), *exponents_words(exponents, study.truth))
    tmp_path.mkdir()
    foot = f"{study.runs[0].setting.describe()}\n{study.environment.describe()}"
    frames = (study.runs_frame(), study.history_frame(), study.loop_frame(), study.reach_frame())
    drawn = draw_forecast(*frames, tmp_path, foot)
    if len(exponents):
        drawn += draw_exponents(*frames[:2], exponents, study.truth, tmp_path, foot)
    return screen.export_text(), {path.name: path.read_bytes() for path in drawn}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_what_is_loaded_is_tabled_and_drawn_as_what_was_measured_byte_for_byte(measured, tmp_path, name):
    study, _ = measured(name)
    study.save(tmp_path / "forecast.json")
    again = Study.load(tmp_path / "forecast.json")
    assert again.text() == study.text()
    for frame in FRAMES:
        before, after = getattr(study, frame)(), getattr(again, frame)()
        assert after.equals(before)
        assert list(after.dtypes) == list(before.dtypes)
    assert shown(again, tmp_path / "again") == shown(study, tmp_path / "first")
    assert np.isnan(again.table_frame()["seconds"]).all()


@pytest.mark.slow
def test_what_was_kept_after_each_run_is_a_part_that_is_tabled_and_drawn(measured, tmp_path):
    study, kept = measured("every clip")
    assert [len(part.runs) for part in kept] == list(range(1, 7))
    kept[1].save(tmp_path / "forecast.partial.json", partial=True)
    part = Study.load(tmp_path / "forecast.partial.json")
    assert part.runs_frame().equals(study.runs_frame()[:2])
    text, drawn = shown(part, tmp_path / "drawn")
    assert "norm:10" in text
    assert {"loss.svg", "norm.svg", "prediction.svg", "reach.svg"} <= drawn.keys()


def test_exponents_are_in_the_file_where_they_were_measured_and_a_file_without_them_is_as_it_was(contents):
    assert all("autonomous" in run for run in contents["chaos"]["runs"])
    for name in ("every clip", "recall", "stopped later"):
        assert not any("autonomous" in run for run in contents[name]["runs"])
    kept = ROOT / "docs/results/cpu/forecast/forecast.json"  # committed before there were any
    study = Study.load(kept)
    assert all(run.autonomous is None for run in study.runs)
    assert study.exponents_frame().empty
    assert (study.exponents, study.truth) == (0, None)
    before = json.loads(kept.read_text(encoding="utf-8"))
    assert json.loads(study.text()) == before | {"files": []}  # the plots are not drawn here


def test_exponents_of_a_study_are_those_of_its_networks_per_unit_of_time_beside_the_truth(measured):
    study, _ = measured("chaos")
    training = Training(study.runs[0].setting)
    training.run()
    found = autonomous_spectrum(training.model, driven_with(training.task), k=3)
    np.testing.assert_array_equal(study.runs[0].autonomous.values, found.values)  # the same operations
    frame = study.exponents_frame()
    assert len(frame) == 16 * 3
    assert (study.exponents, study.truth.name) == (3, "Hénon map")
    assert frame["per_time"].equals(frame["exponent"])  # a step of the map is its unit of time
    first = frame[frame["loop"] == 1]
    assert first["exponent"].tolist() == found.values[0].tolist()
    assert first["true_per_time"].tolist()[:2] == [0.41922, -1.62319]
    assert math.isnan(first["true_per_time"].tolist()[2])


def test_a_file_of_version_1_has_no_curves_and_is_refused_in_one_line(tmp_path):
    path = tmp_path / "forecast.json"
    path.write_text(json.dumps({"format": "unrolled.forecast", "version": 1, "environment": {}, "runs": []}))
    with pytest.raises(
        ResultFileError, match=r"version 2 of unrolled\.forecast, got 1 .*measure it again"
    ) as raised:
        Study.load(path)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def contents(measured):
    return {
        name: json.loads(measured(name)[0].text())
        for name in ("every clip", "recall", "stopped later", "chaos")
    }


@pytest.mark.parametrize(
    ("study", "place", "value", "said"),
    [
        ("every clip", "runs", [], "runs"),
        ("every clip", "runs.1.setting.clip", "none", "no clip"),
        ("every clip", "runs.0.setting.signal", "cosine", "signal"),
        ("every clip", "runs.0.setting.cell", "gru", "network"),
        ("every clip", "runs.0.setting.iterations", 109, "iterations"),
        ("every clip", "runs.0.setting.warm_up", 11, "warm_up"),
        ("every clip", "runs.0.setting.hidden_size", 2**40, "sizes"),
        ("every clip", "runs.0.setting.device", "tpu", "device"),
        ("every clip", "runs.0.setting.num_layers", 2, "layers"),
        ("every clip", "runs.0.setting.length", 13, "steps"),
        ("every clip", "runs.0.network", "LSTM", "network"),
        ("every clip", "runs.0.history.5", [1.0] * 5, "history"),
        ("every clip", "runs.0.history.5.0", -1e-9, "losses"),
        ("every clip", "runs.0.history.5.0", "nan", "losses"),
        ("every clip", "runs.0.history.5.1", "nan", "norms"),
        ("every clip", "runs.0.history.5.1", 1e308, "norms"),
        ("every clip", "runs.0.history.5.2", 3.0, "same norm"),
        ("every clip", "runs.2.history.5.2", 3.0, "larger"),
        ("every clip", "runs.2.history.5.3", 1.5, "shares"),
        ("every clip", "runs.2.history.5.4", -1.5, "cosines"),
        ("every clip", "runs.2.history.5.5", 0.2, "bound 0.1"),
        ("every clip", "runs.0.history.5.5", 0.2, "no clip"),
        ("every clip", "runs.0.marks", [], "marks"),
        ("every clip", "runs.0.marks.1.iteration", 99, "marks"),
        ("every clip", "runs.0.marks.1.problem", "no", "flow"),
        ("every clip", "runs.0.marks.1.flow", None, "flow"),
        ("every clip", "runs.0.marks.1.flow.profiles.0.layer", 1, "layers"),
        ("every clip", "runs.0.marks.1.flow.profiles.0.log2_norm", [0.0], "steps"),
        ("every clip", "runs.0.marks.1.flow.parameters", {}, "parameters"),
        ("every clip", "runs.0.constant_loss", 0.0, "constant_loss"),
        ("every clip", "runs.0.problem", "iteration 111: late", "iteration 110"),
        ("every clip", "runs.0.weights", "123", "fingerprint"),
        ("every clip", "runs.0.weights", "g" * 16, "fingerprint"),
        ("every clip", "runs.0.window", None, "points"),
        ("every clip", "runs.0.window.3", "inf", "series"),
        ("every clip", "runs.0.predictions", [0.0] * 10, "points"),
        ("every clip", "runs.0.accuracy", 0.5, "accuracy"),
        ("recall", "runs.0.accuracy", 1.5, "share"),
        ("recall", "runs.0.window", [0.0] * 6, "closed loop"),
        ("recall", "runs.0.constant_loss", 1.0, "log 3"),
        ("recall", "runs.0.setting.signal", "recall:4", "loss"),
        ("stopped later", "runs.0.problem", "iteration 3: it broke", "problem"),
        ("stopped later", "runs.0.problem", "", "norms"),
        ("stopped later", "environment.cores", 0, "core"),
        ("chaos", "runs.0.setting.hidden_size", 2, "at most 2 exponents"),
        ("chaos", "runs.0.setting.signal", "lorenz", "the lorenz"),
        ("chaos", "runs.0.autonomous", None, "autonomous"),
        ("chaos", "runs.0.autonomous.values", [], "loops"),
        ("chaos", "runs.0.autonomous.values.0", [-1.0, 0.5, 0.2], "from the largest down"),
        ("chaos", "runs.0.autonomous.values.0", ["nan", 0.5, 0.2], "all exponents of a loop, or none"),
        ("chaos", "runs.0.autonomous.values.0", ["nan", "nan", "nan"], "blows up"),
        ("chaos", "runs.0.autonomous.values.0.0", "inf", "exponents"),
        ("chaos", "runs.0.autonomous.ranges.0", -1.0, "ranges"),
        ("chaos", "runs.0.autonomous.ranges", [1.0], "a range for each loop"),
        ("chaos", "runs.0.autonomous.scale", -1.0, "scale"),
        ("chaos", "runs.0.autonomous.steps", 0, "steps"),
    ],
)
def test_what_no_training_leaves_is_refused_in_one_line(tmp_path, contents, study, place, value, said):
    damaged = json.loads(json.dumps(contents[study]))
    *above, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    reduce(lambda part, key: part[key], above, damaged)[last] = value
    path = tmp_path / "forecast.json"
    path.write_text(json.dumps(damaged))
    with pytest.raises(ResultFileError, match=re.escape(said)) as raised:
        Study.load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
