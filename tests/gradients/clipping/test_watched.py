"""A clip beside a training: the figures of the clip itself, and not one bit of the training changed."""

import copy
import math
import re
from dataclasses import asdict

import pytest
import torch
from torch import nn

import unrolled
from tests.gradients.test_flow_against_autograd import KINDS, make, sequence
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients import watch
from unrolled.gradients.clipping import Clip

SPECS = ("norm:0.05", "value:0.01", "tensor:0.02", "auto:30", "zclip:1.5", "agc:0.01")


def train(model, steps=40, each=lambda: None):
    """Steps of SGD, with a spike now and then; every gradient, and the weights at the end."""
    optimizer, gradients = torch.optim.SGD(model.parameters(), lr=0.02), []
    for step in range(steps):
        optimizer.zero_grad()
        size = 30.0 if step % 13 == 12 else 1.0
        (size * model(sequence(seed=step))[0].pow(2).mean()).backward()
        each()
        gradients.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
    return gradients, list(model.parameters())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_clip_does_to_the_same_gradients_and_changes_nothing(kind, spec):
    """The oracle is the clip itself, on copies of the gradients that the training without a watch has."""
    torch.manual_seed(0)
    model = make(kind)
    twin, copied, clip, expected = copy.deepcopy(model), copy.deepcopy(model), Clip.parse(spec), []

    def on_copies():
        copied.load_state_dict(twin.state_dict())
        for mine, its in zip(copied.parameters(), twin.parameters(), strict=True):
            mine.grad = its.grad.clone()
        expected.append(clip.clip_(copied.parameters()))

    with watch(model, every=1, clip=spec) as watched:
        seen = train(model)
    leaves = torch.utils._pytree.tree_leaves
    for one, other in zip(leaves(seen), leaves(train(twin, each=on_copies)), strict=True):
        assert torch.equal(one, other)
    assert any(report.entries for report in expected)
    for backward, report in enumerate(expected, 1):
        found = asdict(watched.clip.reports[backward])
        assert found.pop("mode") == report.mode
        for name, value in found.items():
            wanted = getattr(report, name)
            assert value == (wanted and pytest.approx(wanted, rel=1e-5, abs=1e-6)), (backward, name)
        assert watched.history[backward - 1].flow.log10_norm == pytest.approx(report.log10_before, abs=1e-6)
    assert watched.clip.changed == sum(report.entries > 0 for report in expected)


@pytest.mark.parametrize("spec", SPECS)
def test_a_clip_that_remembers_sees_the_passes_between_records(spec):
    torch.manual_seed(0)
    model = make("gru")
    twin = copy.deepcopy(model)
    with watch(model, every=10, clip=spec) as some:
        train(model)
    with watch(twin, every=1, clip=spec) as every:
        train(twin)
    remembers = spec.startswith(("auto", "zclip"))
    assert list(some.clip.reports) == (list(range(1, 41)) if remembers else [1, 11, 21, 31])
    assert all(every.clip.reports[backward] == report for backward, report in some.clip.reports.items())


def test_the_clip_of_the_loop_is_not_shared():
    """Both look at the same norms; a history that both wrote to would hold each norm twice."""
    torch.manual_seed(0)
    model, clip, reports = make("lstm"), Clip("zclip", 1.5), []
    with watch(model, every=1, clip=clip) as watched:
        train(model, each=lambda: reports.append(clip.clip_(model.parameters())))
    assert any(report.entries for report in reports)
    for backward, report in enumerate(reports, 1):
        assert watched.clip.reports[backward].log10_after == pytest.approx(report.log10_after, abs=1e-6)
    assert watched.clip.clip.history == pytest.approx(clip.history, rel=1e-6)


def test_sparse_and_complex_and_missing_gradients():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 3, sparse=True)
            self.rnn = nn.GRU(3, 4)
            self.turn = nn.Parameter(torch.ones(4, dtype=torch.complex64))
            self.unused = nn.Parameter(torch.ones(2))

        def forward(self, words):
            return (self.rnn(self.embedding(words))[0] * self.turn).abs().pow(2).sum()

    torch.manual_seed(0)
    model, words = Words(), torch.tensor([[1], [2], [1]])
    with watch(model, every=1, clip="norm:0.01") as watched:
        model(words).backward()
    assert model.embedding.weight.grad.is_sparse
    assert not model.embedding.weight.grad.is_coalesced()  # left as it was: the first word came twice
    report = Clip.parse("norm:0.01").clip_(model.named_parameters())
    assert watched.clip.reports[1].log10_before == pytest.approx(report.log10_before, abs=1e-6)
    assert watched.clip.reports[1].cosine == pytest.approx(1)
    assert watched.clip.reports[1].log10_after == pytest.approx(-2, abs=1e-5)
    assert math.isclose(watched.latest().log10_norm, report.log10_before, abs_tol=1e-6)


def test_a_gradient_with_nan_is_left_out_of_what_it_remembers():
    model = make("tanh")
    with watch(model, every=1, clip="zclip:2") as watched:
        model(sequence())[0].sum().backward()
        model.zero_grad()
        (model(sequence())[0].sum() * math.nan).backward()
    assert list(watched.clip.reports) == [1]
    assert len(watched.clip.clip.history) == 1
    assert "NaN" in watched.history[1].problem or "nan" in watched.history[1].problem


@pytest.mark.parametrize(
    ("clip", "error", "message"),
    [
        (
            "step:1",
            InvalidValueError,
            r"clip: expected one that works on finished gradients, got step:1; .*norm:1",
        ),
        ("none", InvalidValueError, r"clip: .* got none; "),
        ("zclip", InvalidTypeError, r"clip: expected a number as the bound of zclip, got None"),
        ("zclpi:2", InvalidValueError, r"clip: expected one of .*zclip.*, got 'zclpi'"),
        ("agc:-1", InvalidValueError, r"clip: .* above 0 for agc"),
        (1.0, InvalidTypeError, r"clip: expected text such as norm:1, got float"),
    ],
)
def test_what_is_no_clip_beside_a_training_is_refused_before_a_hook_is_set(clip, error, message):
    model = make("gru")
    with pytest.raises(error, match=message):
        watch(model, clip=clip)
    assert not model.weight_ih_l0._post_accumulate_grad_hooks


def test_frame_and_text_and_scalars():
    torch.manual_seed(0)
    model = make("gru")
    with watch(model, every=13, clip="zclip:1.5") as watched:
        train(model)
    frame = watched.clip_frame()
    assert list(frame.columns) == [
        "backward", "clip", "mode", "bound", "log10_before", "log10_after", "entries", "tensors", "cosine",
    ]  # fmt: skip
    assert len(frame) == 40
    assert set(frame["clip"]) == {"zclip:1.5"}
    text = str(watched)
    changed = int((frame["entries"] > 0).sum())
    assert changed
    assert f"zclip:1.5 would have changed the gradient in {changed} of 40 backward passes" in text
    least = 10 ** (frame["log10_after"] - frame["log10_before"])[frame["entries"] > 0].min()
    assert f"to {least:.2g} of its norm at the least." in " ".join(text.split())
    assert re.search(r"zclip:1.5, *\n", text)  # the head of a column
    with unrolled.watch(model) as without:
        assert without.clip_frame().empty
