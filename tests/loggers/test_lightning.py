"""A Lightning training with the callback: what its loggers got is what autograd says, and no weight is another."""

import io
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.loggers.helpers import (
    IMAGE,
    B,
    Regressor,
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
    untouched,
)
from unrolled.errors import InvalidTypeError, InvalidValueError

lightning = pytest.importorskip("pytorch_lightning", reason="Lightning is not installed")
pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger  # noqa: E402

from unrolled.loggers import LightningCallback  # noqa: E402

pytestmark = [
    pytest.mark.slow,  # all together: Lightning takes seconds to import
    # What Lightning finds worth a warning in so small a training: no workers, no validation.
    pytest.mark.filterwarnings("ignore::lightning_fabric.utilities.warnings.PossibleUserWarning"),
    # What torch says of how Lightning calls it.
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]


class Trained(lightning.LightningModule):
    """The regressor, as one writes it for Lightning."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def training_step(self, batch, _):
        loss = self.inner(**batch)["loss"]
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.inner(**batch)["loss"])

    def configure_optimizers(self):
        return optimizer_of(self)


def fit(
    folder, *, of=Trained, every=3, inner=None, data=None, watched=True, ckpt_path=None, loggers=None, **options
):
    """Train on the CPU, without shuffling; the trainer and the module."""
    module = of(model() if inner is None else inner)
    data = Sequences() if data is None else data
    callbacks = [LightningCallback(every, image_every=2)] if watched else []
    trainer = lightning.Trainer(
        accelerator="cpu", default_root_dir=folder, logger=loggers or TensorBoardLogger(folder),
        callbacks=callbacks, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, **({"max_epochs": 1, "log_every_n_steps": 1} | options),
    )  # fmt: skip
    torch.manual_seed(5)
    validation = DataLoader(Sequences(2), batch_size=B) if "val_check_interval" in options else None
    trainer.fit(module, DataLoader(data, batch_size=B), validation, ckpt_path=ckpt_path)
    assert untouched(module)
    return trainer, module


def named(values):
    """As the names are in a module that holds the regressor as `inner`."""
    return {name.replace("flow/rnn", "flow/inner.rnn"): value for name, value in values.items()}


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_what_tensorboard_has_is_what_autograd_finds_at_the_same_steps(tmp_path, kind):
    inner = model(kind, num_layers=2)
    expected, losses, trained = by_hand(inner, Sequences())
    _, module = fit(tmp_path, inner=inner)
    scalars, _ = events_in(tmp_path)
    check(flows_in(scalars), {step: named(expected[step]) for step in (0, 3, 6, 9)})
    assert [scalars[step]["loss"] for step in range(10)] == pytest.approx(
        losses, rel=1e-6
    )  # under the same numbers
    for one, other in zip(module.inner.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_an_image_comes_with_every_second_record_and_shows_something(tmp_path):
    from PIL import Image

    fit(tmp_path)
    _, images = events_in(tmp_path)
    assert {step: list(found) for step, found in images.items()} == {0: [IMAGE], 6: [IMAGE]}
    pixels = np.asarray(Image.open(io.BytesIO(images[6][IMAGE].encoded_image_string)))
    assert pixels.shape == (440, 704, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3},
        {"val_check_interval": 2},
        {"gradient_clip_val": 0.1},
        {"precision": "bf16-mixed"},
        {"max_epochs": 2, "accumulate_grad_batches": 4, "val_check_interval": 5},
    ],
    ids=str,
)
def test_weights_are_bit_identical_with_and_without(tmp_path, options):
    ends = []
    for watched in (True, False):
        inner = model(
            dtype=torch.float32 if "precision" in options else torch.float64, num_layers=2, dropout=0.3
        )
        data = Sequences(dtype=next(inner.parameters()).dtype)
        trainer, module = fit(
            tmp_path / str(watched), inner=inner, data=data, watched=watched, every=2, **options
        )
        ends.append([*bits(module, *trainer.optimizers), torch.get_rng_state()])
    assert same(*ends)
    with_it, without = (events_in(tmp_path / str(watched))[0] for watched in (True, False))
    assert len(flows_in(with_it)) >= 2
    assert flows_in(without) == {}
    others = [{s: v for s in w for n, v in w[s].items() if "loss" in n} for w in (with_it, without)]
    assert others[0] == others[1]


def test_accumulated_gradients_are_logged_whole_under_the_step_that_takes_them(tmp_path):
    expected, _, _ = by_hand(model(), Sequences(12), accumulate=3)
    fit(tmp_path, data=Sequences(12), accumulate_grad_batches=3, every=2)
    scalars, _ = events_in(tmp_path)
    check(flows_in(scalars), {step: named(expected[step]) for step in (0, 2)})


def test_the_gradient_is_that_before_clipping(tmp_path):
    expected, _, _ = by_hand(model(), Sequences(1))
    fit(tmp_path, data=Sequences(1), gradient_clip_val=1e-3)
    check(flows_in(events_in(tmp_path)[0]), {0: named(expected[0])})


def test_a_training_that_is_resumed_logs_as_one_that_ran_through(tmp_path):
    fit(tmp_path / "through", max_epochs=2, every=4)
    trainer, _ = fit(tmp_path / "cut", max_epochs=1, every=4)
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    fit(tmp_path / "cut", max_epochs=2, every=4, ckpt_path=tmp_path / "kept.ckpt")
    through, cut = (flows_in(events_in(tmp_path / name)[0]) for name in ("through", "cut"))
    assert sorted(through) == [0, 4, 8, 12, 16]
    assert cut == through


def test_a_batch_with_nan_logs_nothing_and_says_so_once(tmp_path, caplog):
    def spoil(x, y):
        x[3 * B : 5 * B] = float("nan")

    class Careful(Trained):
        def on_before_optimizer_step(self, optimizer):
            for parameter in self.parameters():
                parameter.grad.nan_to_num_(0.0)

    with caplog.at_level(logging.WARNING, "unrolled.loggers"):
        fit(tmp_path, of=Careful, data=Sequences(change=spoil), every=1)
    scalars = {
        step: {n: v for n, v in values.items() if n != "loss"}
        for step, values in events_in(tmp_path)[0].items()
    }
    assert sorted(flows_in(scalars)) == [0, 1, 2, 5, 6, 7, 8, 9]
    assert len({tuple(sorted(values)) for values in flows_in(scalars).values()}) == 1
    (said,) = [record.getMessage() for record in caplog.records if record.name == "unrolled.loggers"]
    assert said.startswith("step 3: not logged: ")
    assert "nan" in said.lower()


def test_a_gradient_of_zero_is_left_out_and_nothing_old_stands_in_for_it(tmp_path):
    class Sometimes(Trained):
        def training_step(self, batch, number):
            return super().training_step(batch, number) * (number != 1)

    fit(tmp_path, of=Sometimes, every=1, data=Sequences(3))
    flows = flows_in(events_in(tmp_path)[0])
    assert 1 not in flows  # every norm is 0, and there is no horizon of 0
    assert set(flows) == {0, 2}


def test_weights_and_biases_gets_the_same_and_an_image(tmp_path, wandb):
    loggers = [
        TensorBoardLogger(tmp_path / "tb"),
        WandbLogger(save_dir=tmp_path, offline=True),
        CSVLogger(tmp_path / "csv"),
    ]
    fit(tmp_path, loggers=loggers)
    wandb.finish()
    rows = runs_in(tmp_path)
    found = {
        row["trainer/global_step"]: {
            n: v for n, v in row.items() if n.startswith(("flow/", "gradient/")) and n != IMAGE
        }
        for row in rows
        if "gradient/log10_norm" in row
    }
    check(flows_in(events_in(tmp_path / "tb")[0]), found)
    assert sorted(found) == [0, 3, 6, 9]
    assert [row["trainer/global_step"] for row in rows if any(n.startswith(IMAGE) for n in row)] == [0, 6]
    assert len(list(tmp_path.rglob("media/images/**/*.png"))) == 2


def test_a_loss_scale_is_taken_out_of_the_norms(tmp_path):
    from pytorch_lightning.plugins.precision import MixedPrecision

    inner, data = model(dtype=torch.float32), Sequences(1, dtype=torch.float32)
    scaled = MixedPrecision("16-mixed", device="cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10))
    trainer, _ = fit(tmp_path / "scaled", inner=inner, data=data, plugins=[scaled])
    fit(tmp_path / "plain", inner=model(dtype=torch.float32), data=data)
    one, other = (flows_in(events_in(tmp_path / name)[0]) for name in ("scaled", "plain"))
    assert sorted(one[0]) == sorted(other[0])
    for name, value in other[0].items():
        assert one[0][name] == pytest.approx(value, abs=0.05), (
            name
        )  # the rounding of float16; the scale is 3 decades
    assert trainer.precision_plugin.scaler.get_scale() == 2.0**10


class TwoLosses(lightning.LightningModule):
    """A recurrent generator, and after it a judge that sees its output cut off: as one trains a GAN by hand."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.judge = inner, nn.Linear(1, 1).double()
        self.automatic_optimization = False

    def training_step(self, batch, _):
        first, second = self.optimizers()
        result = self.inner(**batch)
        for optimizer, loss in (
            (first, lambda: result["loss"]),
            (second, lambda: self.judge(result["logits"].detach()).pow(2).mean()),
        ):
            self.manual_backward(loss())
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        return optimizer_of(self.inner), optimizer_of(self.judge)


def test_with_two_optimisers_the_pass_through_the_recurrent_layer_is_logged(tmp_path):
    expected, _, _ = by_hand(model(), Sequences())
    fit(tmp_path, of=TwoLosses, every=4)
    check(flows_in(events_in(tmp_path)[0]), {step: named(expected[step]) for step in (0, 4, 8)})


def test_without_loggers_nothing_is_watched(tmp_path, monkeypatch):
    def watch(*_, **__):
        raise AssertionError

    monkeypatch.setattr("unrolled.loggers.steps.watch", watch)
    fit(tmp_path, loggers=False)


def test_a_logger_that_fails_stops_no_training_and_is_said_once(tmp_path, caplog):
    class Full(CSVLogger):
        def log_metrics(self, metrics, step=None):
            if "gradient/log10_norm" in metrics:
                raise OSError("No space left on device")
            super().log_metrics(metrics, step)

    with caplog.at_level(logging.WARNING, "unrolled.loggers"):
        trainer, _ = fit(tmp_path, loggers=Full(tmp_path), every=1)
    assert trainer.global_step == 10
    said = [record.getMessage() for record in caplog.records if record.name == "unrolled.loggers"]
    assert said == ["step 0: No space left on device"]


def test_an_exception_goes_through_and_leaves_nothing_on_the_model(tmp_path):
    class Mistaken(Trained):
        def training_step(self, batch, number):
            if number == 3:
                raise ZeroDivisionError
            return super().training_step(batch, number)

    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, of=Mistaken)
    assert untouched(nn.Module())


def test_what_cannot_be_watched_is_refused_before_the_training():
    with pytest.raises(InvalidValueError, match=r"^every: .*got 0"):
        LightningCallback(0)
    with pytest.raises(InvalidTypeError, match=r"^image_every: .*got 2\.5"):
        LightningCallback(image_every=2.5)


def test_a_model_without_a_recurrent_layer_is_refused_before_the_training(tmp_path):
    class Straight(Regressor):
        def __init__(self):
            nn.Module.__init__(self)
            self.head = nn.Linear(3, 1)

    with pytest.raises(InvalidValueError, match=r"^model: expected an nn\.RNN.*Trained"):
        fit(tmp_path, inner=Straight())
