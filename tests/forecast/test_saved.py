"""A forecast.json with one thing wrong is refused in one line, or is one of trainings that could have been."""

import pytest

from tests.results.mutations import ANYWHERE, NUMBER, TEXT, accepted, unexplained
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import Study, measure
from unrolled.forecast.suggestion import FIRST, suggestions
from unrolled.render.forecast_exponents import exponents_table, exponents_words
from unrolled.render.forecast_summary import summary
from unrolled.render.forecast_tables import gradient_table, suggestion_table, training_table

SMALL = Setting(iterations=3, length=12, warm_up=3)
STOPS = SMALL.replace(
    cell="rnn_relu",
    init_std=None,
    init="identity",
    gain=40.0,
    length=40,
    optimizer="sgd",
    lr=1.0,
    clip="auto:10",
)
RECALL = Setting(signal="recall:3", length=6, init_std=None, iterations=2, batch_size=4, cell="lstm")
HENON = SMALL.replace(signal="henon", cell="gru", hidden_size=4)
VALUE = "(-inf|inf|nan|null|huge|" + NUMBER[1:]
# What the training decides about, and what no figure in the file depends on.
FREE = [
    *ANYWHERE,
    r"\$\.runs: (shorter|swapped)",
    r".*\.setting\.(hidden_size|batch_size|warm_up|seed): (half|one more|ten times)",
    r".*\.setting\.(lr|init_std): (null|huge|half|one more|ten times)",
    r".*\.history(\[\d+\])?: swapped",
    rf".*\.history\[\d+\]\[0\]: {VALUE}",  # the loss; no other column is free
    rf".*\.flow\.parameters\.[\w.]+: {VALUE}",
    r".*\.flow\.parameters: [\w.]+ and [\w.]+ swapped",
    r".*\.flow\.profiles: swapped",
    rf".*\.flow\.profiles\[\d+\]\.log2_\w+(\[\d+\])?: {VALUE}",
    rf".*\.(predictions|warmed)(\[\d+\])?: (swapped|{VALUE[1:]}",
    r".*: predictions and warmed swapped",
    r".*\.accuracy: zero",
    r".*\.autonomous\.(scale|steps|transient): .*",
    rf".*\.autonomous\.(values|ranges)(\[\d+\])*: (swapped|{VALUE[1:]}",
    rf".*\.problem: {TEXT}",
]


def show(study):
    table = study.table_frame()
    training_table(table, 120)
    gradient_table(table)
    suggestion_table(suggestions(study.history_frame()), FIRST)
    summary(table, study.runs_frame(), study.reach_frame(), explain=True)
    study.loop_frame()
    if len(exponents := study.exponents_frame()):
        exponents_table(exponents, study.truth, 120)
        exponents_words(exponents, study.truth)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [SMALL.replace(clip="norm:0.1"), STOPS, RECALL, HENON],
    ids=["sine", "stopped", "recall", "henon"],
)
def test_of_a_file_with_one_thing_wrong_only_what_could_have_been_measured_is_taken(tmp_path, setting):
    text = measure([setting]).text()
    taken, count = accepted(Study, text, tmp_path / "forecast.json", show, every=3)
    assert count > 250
    assert unexplained(taken, FREE) == []
