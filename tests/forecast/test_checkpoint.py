"""An interrupted training goes on and ends where an uninterrupted one does; other people's files are refused."""

import pickle

import numpy as np
import pytest
import torch

from tests.forecast.helpers import same_weights
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
    kept._runs[0]["optimizer"] = Training(SMALL).optimizer.state_dict()
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
        ([SMALL.replace(iterations=200)], "checkpoint: .*200 iterations .*110"),
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
    assert not (tmp_path / "evil").exists()
