"""How far back does the gradient reach while a GRU learns to remember? With Lightning, in TensorBoard.

    python examples/watch_lightning.py [FOLDER]
    tensorboard --logdir FOLDER

The first of 40 symbols is to be named at the end, so a network that learns it has a horizon of 39 steps. Watch
`flow/rnn.l0/horizon`.
"""

import sys

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unrolled

LENGTH, SYMBOLS = 40, 4


class Recall(LightningModule):
    """Names the first symbol of a sequence `(B, T)`."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS, 8)
        self.rnn = nn.GRU(8, 32, batch_first=True)
        self.head = nn.Linear(32, SYMBOLS)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """The loss of one batch."""
        (x,) = batch
        output, _ = self.rnn(self.embed(x))
        loss = nn.functional.cross_entropy(self.head(output[:, -1]), x[:, 0])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "runs"
    seed_everything(0)
    data = DataLoader(TensorDataset(torch.randint(SYMBOLS, (6400, LENGTH))), batch_size=64, shuffle=True)
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=TensorBoardLogger(folder),
        log_every_n_steps=10,
        callbacks=[unrolled.loggers.LightningCallback(every=20)],
    )
    trainer.fit(Recall(), data)
