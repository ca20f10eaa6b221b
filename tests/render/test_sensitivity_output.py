"""The weights table and its plot: what is named, what fits, and what is left out."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.gradients.study import Study, measure
from unrolled.networks.textbook import Network
from unrolled.render import gradflow as view
from unrolled.render.sensitivity import hard_to_train, sensitivity_figure, sensitivity_title

SIZES = {"input_size": 3, "hidden_size": 24, "batch_size": 4, "seq_len": 60}


@pytest.fixture(scope="module")
def study():
    networks = [
        Network(name="LSTM", workload=Workload(cell="lstm", **SIZES)),
        Network(name="identity", workload=Workload(cell="rnn_relu", **SIZES), init=Init("identity")),
        Network(name="GRU", workload=Workload(cell="gru", num_layers=2, bidirectional=True, **SIZES)),
    ]
    return measure(networks, [], lengths=[], clips=["none"])


def test_a_row_for_each_network_and_for_each_layer_of_one(study):
    rows = study.sensitivity_rows()
    assert list(rows["network"]) == ["LSTM", "identity", "GRU"]
    assert list(rows["layer"]) == ["", "", ""]
    assert {"step 1", "step 10", "step 50", "step 60"} <= set(rows)
    (one,) = [reach for reach in study.reaches if reach.network == "GRU"]
    single = Study((study.networks[2],), (one,), (), "last", 0, study.environment)
    layers = list(single.sensitivity_rows()["layer"])
    assert layers == ["GRU.l0", "GRU.l0.reverse", "GRU.l1", "GRU.l1.reverse"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_names_what_is_hard_to_train(study, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = str(study)
    assert max(map(len, shown.splitlines())) <= width
    assert "Weights: log10 of |d h_t / d theta| after t steps" in shown
    (said,) = hard_to_train(study.sensitivity_rows())
    assert said.startswith("identity is steady and yet hard to train: a change of its weights moves h_60 ")
    assert " ".join(said.split()) in " ".join(shown.split())


def test_what_grows_and_does_not_come_back_over_lags_is_not_named(study):
    rows = study.sensitivity_rows()
    assert hard_to_train(rows.assign(verdict="exploding")) == []
    assert hard_to_train(rows.assign(growth=0.9, verdict="steady")) == []
    assert hard_to_train(pd.DataFrame()) == []


def test_the_frame_has_every_step_with_its_interval(study, tmp_path):
    frame = view.frames(study)["sensitivity"]
    assert len(frame) == 60 * (1 + 1 + 4)
    assert (frame["log10_low"] <= frame["log10_norm"]).all()
    assert (frame["log10_norm"] <= frame["log10_high"]).all()
    study.save(tmp_path / "gradflow.json")
    again = Study.load(tmp_path / "gradflow.json").sensitivity_frame()
    pd.testing.assert_frame_equal(again, study.sensitivity_frame())


def test_the_plot_has_a_line_for_each_network(study, tmp_path):
    figure = sensitivity_figure(study.sensitivity_frame(), "foot")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.get_lines()] == ["LSTM", "identity", "GRU"]
    assert axes.get_xscale() == "log"
    assert {"sensitivity.png", "sensitivity.svg"} <= {path.name for path in view.draw(study, tmp_path)}


def test_the_title_says_what_grows_most_and_least():
    steps = np.arange(1, 4)
    parts = [
        pd.DataFrame(
            {"network": name, "layer": 0, "direction": "forward", "step": steps, "log10_norm": slope * steps}
        )
        for name, slope in (("one", 0.5), ("two", 0.0), ("three", 30.0))
    ]
    assert sensitivity_title(pd.concat(parts)) == (
        "From the first step to the last, what a change of the weights does to the state grows 10^60 times in three and "
        "1.00 times in two"
    )
    assert sensitivity_title(parts[0]).endswith("grows 10.0 times in layer 0")
