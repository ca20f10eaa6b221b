"""A Hugging Face training with the callback: what its integrations got is what autograd says, and no weight is another."""

import logging

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.loggers.helpers import (
    IMAGE,
    B,
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
from unrolled.errors import InvalidValueError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")
pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

from unrolled.loggers import TransformersCallback  # noqa: E402

pytestmark = pytest.mark.slow  # all together: transformers takes seconds to import
PREFIX = "train/"


class InOrder(transformers.Trainer):
    """Without shuffling, so that the same can be done by hand."""

    def get_train_dataloader(self):
        return self.accelerator.prepare(DataLoader(self.train_dataset, batch_size=B))


@pytest.fixture(autouse=True)
def _where_tensorboard_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))


def fit(folder, *, every=3, of=None, data=None, watched=True, resume=None, kind=InOrder, **options):
    """Train on the CPU, in order; the trainer."""
    of = model() if of is None else of
    optimizer = optimizer_of(of)
    settings = {
        "num_train_epochs": 1, "logging_steps": 1, "report_to": ["tensorboard"], "save_strategy": "no", "max_grad_norm": 0,
    } | options  # fmt: skip
    trainer = kind(
        of,
        transformers.TrainingArguments(
            folder, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=B, per_device_eval_batch_size=B,
            **settings,
        ),
        train_dataset=Sequences() if data is None else data,
        eval_dataset=Sequences(2),
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    if watched:
        trainer.add_callback(TransformersCallback(trainer, every, image_every=2))
    torch.manual_seed(5)
    trainer.train(resume_from_checkpoint=resume)
    assert untouched(of)
    return trainer


def events(tmp_path):
    return events_in(tmp_path / "tb")


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_what_tensorboard_has_is_what_autograd_finds_at_the_same_steps(tmp_path, kind):
    of = model(kind, num_layers=2)
    expected, losses, trained = by_hand(of, Sequences())
    trainer = fit(tmp_path, of=of)
    scalars, _ = events(tmp_path)
    check(flows_in(scalars, PREFIX), {step + 1: expected[step] for step in (0, 3, 6, 9)})
    assert [scalars[step]["train/loss"] for step in range(1, 11)] == pytest.approx(losses, rel=1e-4)
    for one, other in zip(of.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
    history = [entry["step"] for entry in trainer.state.log_history if "gradient/log10_norm" in entry]
    assert history == [1, 4, 7, 10]


def test_an_image_comes_with_every_second_record(tmp_path):
    fit(tmp_path)
    _, images = events(tmp_path)
    assert {step: list(found) for step, found in images.items()} == {1: [PREFIX + IMAGE], 7: [PREFIX + IMAGE]}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 3},
        {"eval_strategy": "steps", "eval_steps": 2},
        {"max_grad_norm": 0.1},
        {"bf16": True},
        {"num_train_epochs": 2, "gradient_accumulation_steps": 4, "eval_strategy": "epoch", "logging_steps": 2},
    ],
    ids=str,
)
def test_weights_are_bit_identical_with_and_without(tmp_path, monkeypatch, options):
    ends, logs = [], []
    for watched in (True, False):
        monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / f"tb{watched}"))
        dtype = torch.float32 if "bf16" in options else torch.float64
        of = model(dtype=dtype, num_layers=2, dropout=0.3)
        trainer = fit(tmp_path, of=of, data=Sequences(dtype=dtype), watched=watched, every=2, **options)
        ends.append([*bits(of, trainer.optimizer), torch.get_rng_state()])
        logs.append(events_in(tmp_path / f"tb{watched}")[0])
    assert same(*ends)
    assert len(flows_in(logs[0], PREFIX)) >= 2
    assert flows_in(logs[1], PREFIX) == {}
    losses = [
        {(step, name): value for step in log for name, value in log[step].items() if name.endswith("/loss")}
        for log in logs
    ]
    assert losses[0] == losses[1]  # none is lost by what is logged beside it


def test_accumulated_gradients_are_logged_whole_under_the_step_that_takes_them(tmp_path):
    expected, _, _ = by_hand(model(), Sequences(12), accumulate=3)
    fit(tmp_path, data=Sequences(12), gradient_accumulation_steps=3, every=2)
    check(flows_in(events(tmp_path)[0], PREFIX), {step + 1: expected[step] for step in (0, 2)})


def test_the_gradient_is_that_before_clipping(tmp_path):
    expected, _, _ = by_hand(model(), Sequences(1))
    fit(tmp_path, data=Sequences(1), max_grad_norm=1e-3)
    check(flows_in(events(tmp_path)[0], PREFIX), {1: expected[0]})


def test_a_training_that_is_resumed_logs_as_one_that_ran_through(tmp_path, monkeypatch):
    def run(name, **options):
        monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / name))
        fit(tmp_path / name / "out", every=4, num_train_epochs=2, **options)

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = control.should_save = state.global_step == 10

    class Cut(InOrder):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.add_callback(Stop())

    run("through")
    run("cut", kind=Cut)
    run("cut", resume=str(tmp_path / "cut" / "out" / "checkpoint-10"))
    through, cut = (flows_in(events_in(tmp_path / name)[0], PREFIX) for name in ("through", "cut"))
    assert sorted(through) == [1, 5, 9, 13, 17]
    assert cut == through


def test_a_batch_with_nan_logs_nothing_and_says_so_once(tmp_path, caplog):
    def spoil(x, y):
        x[3 * B : 5 * B] = float("nan")

    class Careful(InOrder):
        def training_step(self, model, *args, **options):
            loss = super().training_step(model, *args, **options)
            for parameter in model.parameters():
                parameter.grad.nan_to_num_(0.0)
            return loss.nan_to_num()

    with caplog.at_level(logging.WARNING, "unrolled.loggers"):
        fit(tmp_path, kind=Careful, data=Sequences(change=spoil), every=1)
    flows = flows_in(events(tmp_path)[0], PREFIX)
    assert sorted(flows) == [1, 2, 3, 6, 7, 8, 9, 10]
    assert len({tuple(sorted(values)) for values in flows.values()}) == 1
    (said,) = [record.getMessage() for record in caplog.records if record.name == "unrolled.loggers"]
    assert said.startswith("step 3: not logged: ")
    assert "nan" in said.lower()


def test_weights_and_biases_gets_the_same_and_an_image(tmp_path, wandb):
    fit(tmp_path, report_to=["tensorboard", "wandb"])
    wandb.finish()
    rows = runs_in(tmp_path)
    found = {
        row["train/global_step"]: {
            name.removeprefix(PREFIX): value
            for name, value in row.items()
            if name.startswith((PREFIX + "flow/", PREFIX + "gradient/"))
        }
        for row in rows
        if PREFIX + "gradient/log10_norm" in row
    }
    check(flows_in(events(tmp_path)[0], PREFIX), found)
    assert sorted(found) == [1, 4, 7, 10]
    assert [row["train/global_step"] for row in rows if any(n.startswith(PREFIX + IMAGE) for n in row)] == [
        1,
        7,
    ]
    assert len(list(tmp_path.rglob("media/images/**/*.png"))) == 2


def test_without_integrations_the_history_has_it(tmp_path):
    trainer = fit(tmp_path, report_to="none")
    assert [entry["step"] for entry in trainer.state.log_history if "gradient/log10_norm" in entry] == [
        1,
        4,
        7,
        10,
    ]


def test_a_loss_scale_is_taken_out_of_the_norms(tmp_path):
    class Scaled(InOrder):
        """The loss scale that accelerate sets up for float16 on a GPU, on the CPU."""

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    expected, _, _ = by_hand(model(), Sequences(1))
    fit(tmp_path, kind=Scaled, data=Sequences(1))
    check(flows_in(events(tmp_path)[0], PREFIX), {1: expected[0]})


def test_a_training_after_one_that_was_cut_off_starts_afresh(tmp_path):
    class Mistaken(InOrder):
        def training_step(self, *args, **options):
            if self.state.global_step == 3 and self.state.epoch < 1 and not self.tried:
                self.tried = True
                raise ZeroDivisionError
            return super().training_step(*args, **options)

    Mistaken.tried = False
    of = model()
    optimizer = optimizer_of(of)
    trainer = Mistaken(
        of,
        transformers.TrainingArguments(
            tmp_path, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=B, num_train_epochs=1,
            report_to="none", save_strategy="no",
        ),
        train_dataset=Sequences(),
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(TransformersCallback(trainer, 3))
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    trainer.train()
    assert untouched(of)


def test_a_model_without_a_recurrent_layer_is_refused_before_the_training(tmp_path):
    with pytest.raises(InvalidValueError, match=r"^model: expected an nn\.RNN.*Linear"):
        fit(tmp_path, of=nn.Linear(3, 1))
