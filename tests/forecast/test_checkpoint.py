"""An interrupted training goes on and ends where an uninterrupted one does; other people's files are refused."""

import copy
import math
import os
import pickle
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.forecast.helpers import same_weights
from tests.results.mutations import mutations, places, written
from unrolled.errors import InvalidValueError
from unrolled.forecast import checkpoint as module
from unrolled.forecast.checkpoint import Checkpoint
from unrolled.forecast.setting import Setting
from unrolled.forecast.study import measure
from unrolled.forecast.training import Training

SMALL = Setting(iterations=110, length=12, warm_up=3)


def trained(setting):
    training = Training(setting)
    training.run()
    return training


@pytest.mark.parametrize(
    "setting",
    [
        SMALL.replace(cell="lstm", clip="auto:30"),
        SMALL.replace(clip="norm:0.2"),
        SMALL.replace(optimizer="sgd", num_layers=2, cell="gru"),
        SMALL.replace(signal="recall:3", batch_size=4, init_std=None),
        SMALL.replace(clip="step:0.05", iterations=6),
    ],
    ids=lambda setting: f"{setting.cell}-{setting.clip}-{setting.signal}",
)
def test_a_run_that_goes_on_ends_bit_for_bit_where_one_without_a_break_does(tmp_path, setting):
    begun = Training(setting)
    begun.run(until=setting.iterations // 2)
    Checkpoint(tmp_path / "file.pt", [setting]).save(0, begun)
    resumed = Training(setting)
    Checkpoint(tmp_path / "file.pt", [setting]).restore(0, resumed)
    assert resumed.iteration == begun.iteration
    resumed.run()
    whole = trained(setting)
    assert same_weights(resumed.model, whole.model)
    np.testing.assert_array_equal(resumed.history, whole.history)  # as the weights are
    assert [mark.iteration for mark in resumed.marks] == [mark.iteration for mark in whole.marks]
    for one, other in zip(resumed.marks, whole.marks, strict=True):
        assert one.flow.frame().equals(other.flow.frame())


def test_without_the_optimizers_state_it_would_end_elsewhere(tmp_path):
    """The check above can fail: this is what a checkpoint of weights alone would do."""
    begun = Training(SMALL)
    begun.run(until=60)
    resumed = Training(SMALL)
    Checkpoint(tmp_path / "file.pt", [SMALL]).save(0, begun)
    kept = Checkpoint(tmp_path / "file.pt", [SMALL])
    for state in kept._runs[0]["optimizer"].values():
        state["exp_avg"].zero_()
    kept.restore(0, resumed)
    resumed.run()
    assert not same_weights(resumed.model, trained(SMALL).model)


def test_a_finished_run_is_prolonged_and_keeps_no_mark_of_its_old_end(tmp_path):
    short = SMALL.replace(iterations=105)
    Checkpoint(tmp_path / "file.pt", [short]).save(0, trained(short))
    resumed = Training(SMALL)
    Checkpoint(tmp_path / "file.pt", [SMALL]).restore(0, resumed)
    resumed.run()
    assert same_weights(resumed.model, trained(SMALL).model)
    assert [mark.iteration for mark in resumed.marks] == [0, 100, 110]


def test_an_interrupted_study_goes_on_with_the_same_figures(tmp_path, monkeypatch):
    short = SMALL.replace(iterations=30)
    settings = [short, short.replace(clip="norm:0.1"), short.replace(seed=1)]
    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    iterate, done = Training._iterate, []

    def interrupted(training):
        done.append(None)
        if len(done) == 50:  # in the second run
            raise KeyboardInterrupt
        iterate(training)

    monkeypatch.setattr(Training, "_iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(settings, checkpoint=Checkpoint(tmp_path / "file.pt", settings))
    resumed = measure(settings, checkpoint=Checkpoint(tmp_path / "file.pt", settings))
    assert len(done) == 50 + 3 * 30 - 49
    whole = measure(settings)  # the same operations in one process and one thread: the same bits
    assert resumed.text() == whole.text()
    assert resumed.history_frame().equals(whole.history_frame())


def test_the_file_holds_tensors_and_plain_values_only(tmp_path):
    Checkpoint(tmp_path / "file.pt", [SMALL]).save(0, trained(SMALL.replace(cell="lstm")))
    content = torch.load(tmp_path / "file.pt", weights_only=True)
    kinds = {type(leaf) for leaf in torch.utils._pytree.tree_leaves(content)}
    assert kinds <= {torch.Tensor, int, float, str, bool, type(None)}


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            [SMALL.replace(lr=0.02)],
            r"checkpoint: .*lr 0\.02 .*0\.01 in .*file\.pt",
        ),
        ([SMALL.replace(cell="gru")], "checkpoint: .*cell gru .*rnn_tanh"),
        ([SMALL, SMALL.replace(clip="norm:1")], r"checkpoint: .*2 runs .*1\b"),
        ([SMALL.replace(iterations=200)], r"checkpoint: .*110 iterations .*\b200\b"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused_and_left_alone(tmp_path, others, message):
    path = tmp_path / "file.pt"
    Checkpoint(path, others).save(0, trained(others[0]))
    before = path.read_bytes()
    with pytest.raises(InvalidValueError, match=message) as raised:
        Checkpoint(path, [SMALL])
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == before


class Evil:
    def __reduce__(self):
        return (open, ("evil", "w"))


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps([1]), "state dict", "evil", "folder"])
def test_a_file_that_is_none_of_ours_is_refused_and_no_code_in_it_runs(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pt"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"weight": torch.zeros(2)} if content == "state dict" else {"weight": Evil()}, path)
    with pytest.raises(InvalidValueError, match=r"checkpoint: .*got .*file\.pt"):
        Checkpoint(path, [SMALL])
    assert {left.name for left in tmp_path.iterdir()} == {"file.pt"}


def test_a_checkpoint_goes_on_only_with_the_series_that_it_was_trained_on(tmp_path):
    def series(name, values):
        (tmp_path / name).write_text("day,units\n" + "".join(f"{k},{v}\n" for k, v in enumerate(values)))
        return SMALL.replace(iterations=20, signal=f"csv:{tmp_path / name}:units")

    values = [math.sin(k / 3) for k in range(60)]
    begun = Training(setting := series("sales.csv", values))
    begun.run(until=10)
    with Checkpoint(tmp_path / "file.pt", [setting]) as kept:
        kept.save(0, begun)
    for other in ([*values, 0.5], [*values[:-1], values[-1] + 1e-9], values[1:]):
        series("sales.csv", other)
        with pytest.raises(
            InvalidValueError, match=r"checkpoint: .*another series than csv:.*sales\.csv.*"
        ) as raised:
            Checkpoint(tmp_path / "file.pt", [setting])
        assert "\n" not in str(raised.value)
    # Under another name it is the same training.
    moved = Training(renamed := series("moved.csv", values))
    with Checkpoint(tmp_path / "file.pt", [renamed]) as kept:
        kept.restore(0, moved)
    assert moved.iteration == 10
    assert same_weights(moved.model, begun.model)
    with pytest.raises(InvalidValueError, match="checkpoint: .*signal csv:.*in place of sine"):
        Checkpoint(tmp_path / "file.pt", [setting.replace(signal="sine")])


def test_of_two_trainings_on_one_checkpoint_the_second_is_refused_and_no_file_is_left(tmp_path):
    path = tmp_path / "file.pt"
    with Checkpoint(path, [SMALL]) as kept:
        kept.save(0, trained(SMALL))
        before = path.read_bytes()
        with pytest.raises(InvalidValueError, match=r"checkpoint: .*no other training.*got .*file\.pt"):
            Checkpoint(path, [SMALL])
        assert path.read_bytes() == before
    with Checkpoint(path, [SMALL]):
        pass
    assert [left.name for left in tmp_path.iterdir()] == ["file.pt"]


def test_what_a_killed_training_left_is_swept_by_the_next_and_nothing_of_others(tmp_path):
    for name in (".file.pt.x8y.unrolled", ".file.pt.lock", ".other.unrolled", ".file.ptz.unrolled"):
        (tmp_path / name).touch()
    with Checkpoint(tmp_path / "file.pt", [SMALL]):
        pass
    assert {left.name for left in tmp_path.iterdir()} == {".other.unrolled", ".file.ptz.unrolled"}


@pytest.mark.parametrize("name", ["x" * 300, "no/where.pt", "file/x.pt", "/dev/null", "fifo", ".", "a\0b"])
def test_a_path_that_can_be_no_file_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidValueError, match="checkpoint: .*got ") as raised:
        Checkpoint(Path(name), [SMALL])
    assert "\n" not in str(raised.value)
    assert {left.name for left in tmp_path.iterdir()} == {"file", "fifo"}


def test_a_name_of_250_characters_is_a_file_like_any_other(tmp_path):
    path = tmp_path / ("x" * 250)
    for _ in range(2):
        with Checkpoint(path, [SMALL]) as kept:
            kept.save(0, trained(SMALL))
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


# One thing of the file changed


SETTINGS = [
    SMALL.replace(cell="lstm", clip="auto:30", iterations=5),
    SMALL.replace(optimizer="sgd", iterations=5),
    SMALL.replace(signal="recall:3", init_std=None, iterations=5),
]
TENSORS = {
    "NaN": lambda value: torch.full_like(value, math.nan),
    "longer": lambda value: torch.cat([value.flatten(), value.flatten()]),
    "flat": lambda value: value.flatten()[: value.numel() // 2],
    "one more dimension": lambda value: value[None],
    "whole numbers": lambda value: value.long(),
    "half precision": lambda value: value.half(),
    "complex": lambda value: value.to(torch.complex64),
    "sparse": lambda value: value.to_sparse(),
    "a list": lambda value: value.tolist(),
}
VALUES = [None, True, -1, 10**400, math.nan, "word", "", [], {}, "[" * 5000, torch.tensor(0.5)]
FREE = [
    r"\$\.runs\[0\]: None",  # a run that was not begun
    r"\$\.asked: \$\.settings\[0\]\.iterations: .*",
    r".*\.flow\.(parameters|profiles)\b.*",
]


def changes(content):
    """Where, what and the content with one thing changed: of tensors, of values, of keys, and of the text of JSON."""
    for path, value in places(content):
        others = {repr(other)[:20]: other for other in VALUES}
        if isinstance(value, torch.Tensor):
            others |= {what: change(value) for what, change in TENSORS.items()}
        elif isinstance(value, dict):
            for key in value:
                others[f"without {key}"] = {name: item for name, item in value.items() if name != key}
            others["an unknown key"] = value | {"colour": "blue"}
        elif isinstance(value, list):
            others |= {"shorter": value[:-1], "longer": [*value, *value[-1:]]}
        elif isinstance(value, str) and value.startswith(("{", "[")):
            others |= {f"{where}: {what}": text for where, what, text in islice(mutations(value), 0, None, 11)}
        elif isinstance(value, int):
            others |= {"one more": value + 1, "one less": value - 1}
        for what, other in others.items():
            if repr(other) != repr(value):
                yield written(path), what, put(content, path, other)


def put(content, path, value):
    if not path:
        return value
    key, *rest = path
    whole = copy.copy(content)
    whole[key] = put(content[key], rest, value)
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting.optimizer}-{setting.signal}")
def test_a_checkpoint_with_one_thing_changed_is_refused_in_one_line_or_goes_on(tmp_path, setting):
    path = tmp_path / "file.pt"
    training = Training(setting)
    training.run(until=3)
    with Checkpoint(path, [setting]) as kept:
        kept.save(0, training)
    refusals, taken = [], []
    for where, what, changed in changes(torch.load(path, weights_only=True)):
        torch.save(changed, path)
        try:
            with Checkpoint(path, [setting]) as found:
                found.restore(0, Training(setting))
            taken.append(f"{where}: {what}")
        except InvalidValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert all(said.startswith("checkpoint: ") and "\n" not in said for said in refusals)
    unexplained = [one for one in taken if not any(re.fullmatch(pattern, one) for pattern in FREE)]
    assert not unexplained, "\n".join(unexplained)
    assert [left.name for left in tmp_path.iterdir()] == ["file.pt"]
