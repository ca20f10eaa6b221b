"""Checkpoints as people save them fill the model; whatever else is in a file is said in one line."""

import argparse
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from unrolled.errors import InvalidValueError
from unrolled.networks.checkpoint import load_checkpoint


class Forecaster(nn.Module):
    """A model whose names have a point in them."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4)
        self.head = nn.Linear(4, 1)


class Holder(nn.Module):
    """A model inside another, under a name."""

    def __init__(self, name, inner):
        super().__init__()
        self.add_module(name, inner)


def trained(make=Forecaster):
    """A model with other weights than any new one."""
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float(torch.rand(())))
    return model


def same(one, other):
    """Whether two models have the same numbers in the same order; nothing is computed."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "key", ["state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "policy"]
)
def test_a_state_dict_is_found_under_any_key_beside_an_optimizer(tmp_path, key):
    model = trained()
    adam = torch.optim.Adam(model.parameters())
    model.head(model.rnn(torch.randn(5, 2, 3))[0]).sum().backward()
    adam.step()
    content = {"epoch": 3, "loss": torch.tensor(0.5), "optimizer": adam.state_dict(), "best": [0.1, None]}
    torch.save(content | {key: model.state_dict()}, tmp_path / "c.pt")
    loaded = Forecaster()
    load_checkpoint(loaded, tmp_path / "c.pt")
    assert same(loaded, model)


def test_a_state_dict_is_found_at_the_top_and_deep_inside_and_beside_other_values(tmp_path):
    model = trained()
    state = model.state_dict()
    for content in (state, {"run": {"model": state}}, {**state, "epoch": 3}, {"model": state, 1: "one"}):
        torch.save(content, tmp_path / "c.pt")
        loaded = Forecaster()
        load_checkpoint(loaded, tmp_path / "c.pt")
        assert same(loaded, model)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "model.",
        "net.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.module.",
        "a.b.",
    ],
)
def test_a_prefix_that_all_names_have_is_taken_off_on_either_side(tmp_path, prefix):
    model = trained()
    torch.save({"state_dict": prefixed(model.state_dict(), prefix)}, tmp_path / "wrapped.pt")
    loaded = Forecaster()
    load_checkpoint(loaded, tmp_path / "wrapped.pt")
    assert same(loaded, model)

    torch.save(model.state_dict(), tmp_path / "bare.pt")
    wrapped = Forecaster()
    for name in reversed(prefix.split(".")[:-1]):
        wrapped = Holder(name, wrapped)
    load_checkpoint(wrapped, tmp_path / "bare.pt")
    assert same(wrapped, model)


def test_wrappers_of_single_layers_and_those_of_torch_itself_are_left_out(tmp_path):
    model = trained()
    state = {name.replace("rnn.", "rnn._orig_mod."): value for name, value in model.state_dict().items()}
    for content in (state, nn.DataParallel(model).state_dict()):
        torch.save(content, tmp_path / "c.pt")
        loaded = Forecaster()
        load_checkpoint(loaded, tmp_path / "c.pt")
        assert same(loaded, model)


def test_a_model_with_wrapper_words_in_its_own_names_is_filled_by_them(tmp_path):
    """`module.weight` and `weight` would both be `weight` without wrappers."""

    class Both(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.module = nn.Linear(2, 2)

    model = trained(Both)
    torch.save(model.state_dict(), tmp_path / "c.pt")
    loaded = Both()
    load_checkpoint(loaded, tmp_path / "c.pt")
    assert same(loaded, model)


def test_state_that_is_no_tensor_is_left_as_it_is(tmp_path):
    class Counting(nn.Linear):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    model, loaded = trained(lambda: Counting(2, 2)), Counting(2, 2)
    torch.save(model.state_dict(), tmp_path / "c.pt")
    load_checkpoint(loaded, tmp_path / "c.pt")
    assert torch.equal(loaded.weight, model.weight)


def gru(hidden=4):
    return nn.GRU(3, hidden).state_dict()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": gru(), "ema": gru()}, "got 2 that fit in .*, under model and ema;"),
        ({"model": gru(5)}, r"got weight_ih_l0 of shape \(15, 3\) for \(12, 3\) under model in .*c\.pt;"),
        (
            {"module." + name: value for name, value in gru(5).items()},
            r"got weight_ih_l0 of shape \(15, 3\) for",
        ),
        ({"a": gru(5), "b": gru(6)}, r"weight_ih_l0 of shape \(15, 3\) .* under a .*under b fit"),
        ({"loss": torch.zeros(1), "net": gru(5)}, "under net .*under the top of the file fit"),
        ({**gru(), "head.weight": torch.zeros(1)}, "got head.weight, which it does not have"),
        (nn.GRU(3, 4, bias=False).state_dict(), "got no bias_ih_l0 in"),
        ({"epoch": 3, "optimizer": {"state": {}}}, "got no named tensors in"),
        ([1, 2], "got no named tensors in"),
        ({}, "got no named tensors in"),
        (torch.zeros(3), "got no named tensors in"),
        ({"args": argparse.Namespace(hidden=3), "model": gru()}, r"got argparse\.Namespace in"),
        ({"path": Path("a"), "model": gru()}, "got pathlib[._a-zA-Z]*Path in"),
        (nn.GRU(3, 4), r"got .*torch\.nn\.modules\.rnn\.GRU.* in"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_and_changes_nothing(tmp_path, content, message):
    torch.save(content, tmp_path / "c.pt")
    model = nn.GRU(3, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidValueError, match=f"checkpoint: .*{message}") as raised:
        load_checkpoint(model, tmp_path / "c.pt")
    assert re.search(r"c\.pt", str(raised.value))
    assert "\n" not in str(raised.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_file_of_another_kind_and_none_at_all_are_said(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("text.pt", "empty.pt", "missing.pt", "."):
        with pytest.raises(InvalidValueError, match="checkpoint: ") as raised:
            load_checkpoint(nn.GRU(3, 4), tmp_path / name)
        assert str(tmp_path / name) in str(raised.value)
        assert "\n" not in str(raised.value)
