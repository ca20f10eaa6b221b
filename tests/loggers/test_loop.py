"""Loops of one's own: each record is sent once, under its step, and nothing else is."""

import math

import pytest
import torch

from tests.loggers.helpers import (
    IMAGE,
    Sequences,
    bits,
    by_hand,
    check,
    events_in,
    flows_in,
    model,
    optimizer_of,
    runs_in,
    same,
)
from unrolled import watch
from unrolled.errors import MissingPackageError
from unrolled.loggers import log_to_tensorboard, log_to_wandb


class Writer:
    """Keeps what a SummaryWriter would get."""

    def __init__(self):
        self.scalars, self.images = {}, {}

    def add_scalar(self, name, value, step):
        assert name not in self.scalars.setdefault(step, {})
        self.scalars[step][name] = value

    def add_image(self, name, image, step, dataformats):
        assert dataformats == "HWC"
        self.images[step] = (name, image.shape, image.dtype)


def loop(of, data, log, accumulate=1):
    """A training with Adam; `log(step)` after each backward pass of a whole step."""
    optimizer = optimizer_of(of)
    for number, (x, y) in enumerate(data.batches()):
        (of(x, y)["loss"] / accumulate).backward()
        if (number + 1) % accumulate:
            continue
        log(number // accumulate)
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def test_each_record_is_sent_once_under_its_step():
    of, writer = model(num_layers=2), Writer()
    expected, _, _ = by_hand(of, Sequences())
    sent = []
    with watch(of, every=4) as watched:
        loop(of, Sequences(), lambda step: sent.append(log_to_tensorboard(writer, watched, step)))
        assert log_to_tensorboard(writer, watched, 99) is False
    assert [step for step, was in enumerate(sent) if was] == [0, 4, 8]
    check(flows_in(writer.scalars), {step: expected[step] for step in (0, 4, 8)})
    assert writer.images == {0: (IMAGE, (440, 704, 3), "uint8")}


def test_two_writers_each_get_all_of_it():
    of, writers = model(), (Writer(), Writer())
    with watch(of, every=3) as watched:
        loop(
            of, Sequences(), lambda step: [log_to_tensorboard(w, watched, step, image_every=2) for w in writers]
        )
    assert writers[0].scalars == writers[1].scalars
    assert sorted(writers[0].images) == sorted(writers[1].images) == [0, 6]


def test_of_accumulated_gradients_the_last_record_is_sent():
    of, writer = model(), Writer()
    expected, _, _ = by_hand(of, Sequences(12), accumulate=3)
    with watch(of, every=1) as watched:
        loop(
            of,
            Sequences(12),
            lambda step: log_to_tensorboard(writer, watched, step, image_every=0),
            accumulate=3,
        )
    check(writer.scalars, dict(enumerate(expected)))
    assert writer.images == {}


def test_a_record_without_a_flow_sends_nothing():
    def spoil(x, y):
        x[4] = float("nan")  # the second batch, which no later one hears of

    of, writer = model(), Writer()
    optimizer = torch.optim.SGD(of.parameters(), lr=0.1)
    with watch(of, every=1) as watched:
        for step, (x, y) in enumerate(Sequences(3, change=spoil).batches()):
            optimizer.zero_grad()
            of(x, y)["loss"].backward()
            log_to_tensorboard(writer, watched, step)
            if step != 1:
                optimizer.step()
    assert watched.history[1].problem is not None
    assert sorted(flows_in(writer.scalars)) == [0, 2]


def test_a_loss_scale_is_taken_out_of_the_norms():
    of, plain, scaled = model(), Writer(), Writer()
    ((x, y),) = Sequences(1).batches()
    for writer, scale in ((plain, 1.0), (scaled, 2.0**16)):
        with watch(of, every=1) as watched:
            (of(x, y)["loss"] * scale).backward()
            log_to_tensorboard(writer, watched, 0, image_every=0, loss_scale=scale)
        of.zero_grad()
    check(scaled.scalars, plain.scalars)


def test_the_real_writer_takes_it_and_weights_are_bit_identical(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from torch.utils.tensorboard import SummaryWriter

    expected, _, _ = by_hand(model(), Sequences())
    ends = []
    for watched in (True, False):
        of = model()
        if watched:
            with watch(of, every=5) as handle, SummaryWriter(tmp_path) as writer:
                optimizer = loop(of, Sequences(), lambda step: log_to_tensorboard(writer, handle, step))
        else:
            optimizer = loop(of, Sequences(), lambda step: None)
        ends.append(bits(of, optimizer))
    assert same(*ends)
    scalars, images = events_in(tmp_path)
    check(scalars, {step: expected[step] for step in (0, 5)})
    assert list(images) == [0]


def test_weights_and_biases_takes_it(tmp_path, wandb):
    of = model()
    expected, _, _ = by_hand(of, Sequences())
    with wandb.init(project="test") as run, watch(of, every=5) as watched:
        loop(of, Sequences(), lambda step: log_to_wandb(run, watched, step))
    rows = {row["_step"]: row for row in runs_in(tmp_path)}
    found = {
        step: {n: v for n, v in row.items() if not n.startswith(("_", IMAGE))} for step, row in rows.items()
    }
    check(found, {step: expected[step] for step in (0, 5)})
    assert len(list(tmp_path.rglob("media/images/**/*.png"))) == 1


def test_ranks_other_than_0_send_nothing(monkeypatch):
    of, writer = model(), Writer()
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    with watch(of, every=1) as watched:
        loop(of, Sequences(2), lambda step: log_to_tensorboard(writer, watched, step))
        assert writer.scalars == {}
        monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
        assert log_to_tensorboard(writer, watched, 2)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("LightningCallback", "lightning"), ("TransformersCallback", "transformers")],
)
def test_a_package_that_is_missing_is_said_in_one_line(monkeypatch, name, missing):
    import sys

    import unrolled.loggers

    for module in [
        m for m in sys.modules if m.startswith(("unrolled.loggers.lightning", "unrolled.loggers.transf"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    for package in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingPackageError, match=rf"^expected {missing} for {name}.*pip install 'unrolled\[loggers\]'$"
    ):
        getattr(unrolled.loggers, name)


def test_a_misspelt_name_is_answered_with_the_right_ones():
    import unrolled.loggers

    with pytest.raises(AttributeError, match="LightningCallback.*log_to_wandb"):
        unrolled.loggers.lightning_callback  # noqa: B018
    assert dir(unrolled.loggers) == unrolled.loggers.__all__


def test_what_a_clip_would_have_done_is_sent_beside_its_record():
    of, writer = model(), Writer()
    with watch(of, every=4, clip="norm:1e-3") as watched:
        loop(of, Sequences(), lambda step: log_to_tensorboard(writer, watched, step, loss_scale=8.0))
    assert set(writer.scalars) == {0, 4, 8}
    for values in writer.scalars.values():
        assert values["clip/log10_after"] == pytest.approx(-3 - math.log10(8.0), abs=1e-6)
        assert values["clip/entries"] == 1.0
        assert values["clip/cosine"] == pytest.approx(1.0)
