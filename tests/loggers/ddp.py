"""One of two processes that train together: `torchrun ... ddp.py FRAMEWORK FOLDER [watched]`."""

import os
import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, DistributedSampler

from tests.loggers.helpers import B, Sequences, model, optimizer_of
from unrolled import watch


def with_lightning(folder, watched):
    from pytorch_lightning import LightningModule, Trainer
    from pytorch_lightning.loggers import TensorBoardLogger

    from unrolled.loggers import LightningCallback

    class Trained(LightningModule):
        def __init__(self):
            super().__init__()
            self.inner = model()

        def training_step(self, batch, _):
            return self.inner(**batch)["loss"]

        def configure_optimizers(self):
            return optimizer_of(self)

    data = Sequences()
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=TensorBoardLogger(folder), max_epochs=1,
        callbacks=[LightningCallback(2)] if watched else [], use_distributed_sampler=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    module = Trained()
    rank = int(os.environ["RANK"])
    trainer.fit(module, DataLoader(data, B // 2, sampler=DistributedSampler(data, 2, rank, shuffle=False)))
    return module.inner


def with_transformers(folder, watched):
    import transformers

    from unrolled.loggers import TransformersCallback

    class InOrder(transformers.Trainer):
        def get_train_dataloader(self):
            rank = self.args.process_index
            sampler = DistributedSampler(self.train_dataset, 2, rank, shuffle=False)
            return DataLoader(self.train_dataset, B // 2, sampler=sampler)

    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tb")
    of = model()
    optimizer = optimizer_of(of)
    trainer = InOrder(
        of,
        transformers.TrainingArguments(
            folder / "out", use_cpu=True, disable_tqdm=True, per_device_train_batch_size=B // 2, num_train_epochs=1,
            logging_steps=1, report_to=["tensorboard"], save_strategy="no", max_grad_norm=0, ddp_backend="gloo",
        ),
        train_dataset=Sequences(),
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
    )  # fmt: skip
    if watched:
        trainer.add_callback(TransformersCallback(trainer, 2))
    trainer.train()
    return of


def with_a_loop(folder, watched):
    from torch.utils.tensorboard import SummaryWriter

    from unrolled.loggers import log_to_tensorboard

    torch.distributed.init_process_group("gloo")
    rank, data = torch.distributed.get_rank(), Sequences()
    of = model()
    parallel = torch.nn.parallel.DistributedDataParallel(of)
    optimizer = optimizer_of(of)
    writer = SummaryWriter(folder) if rank == 0 and watched else None
    handle = watch(of, every=2) if watched else None
    for step, batch in enumerate(
        DataLoader(data, B // 2, sampler=DistributedSampler(data, 2, rank, shuffle=False))
    ):
        parallel(**batch)["loss"].backward()
        if watched:
            assert log_to_tensorboard(writer, handle, step) == (rank == 0 and step % 2 == 0)
        optimizer.step()
        optimizer.zero_grad()
    if writer is not None:
        writer.close()
    torch.distributed.destroy_process_group()
    return of


if __name__ == "__main__":
    framework, folder, watched = sys.argv[1], Path(sys.argv[2]), len(sys.argv) > 3
    torch.set_num_threads(1)
    train = {"lightning": with_lightning, "transformers": with_transformers, "loop": with_a_loop}[framework]
    trained = train(folder, watched)
    torch.save(trained.state_dict(), folder / f"rank{os.environ['RANK']}.pt")
    # torch keeps gloo's threads to the very end, and one that asks for the interpreter as it ends aborts the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
