"""How far back does the gradient reach while an LSTM learns to remember? With Hugging Face's Trainer, in TensorBoard.

    python examples/watch_transformers.py [FOLDER]
    tensorboard --logdir FOLDER

The first of 40 symbols is to be named at the end, so a network that learns it has a horizon of 39 steps. Watch
`train/flow/rnn.l0/horizon`.
"""

import os
import sys

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

import unrolled

LENGTH, SYMBOLS = 40, 4


class Recall(nn.Module):
    """Names the first symbol of a sequence `(B, T)`."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS, 8)
        self.rnn = nn.LSTM(8, 32, batch_first=True)
        self.head = nn.Linear(32, SYMBOLS)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss, under the name that the Trainer looks for, and the logits `(B, SYMBOLS)`."""
        output, _ = self.rnn(self.embed(x))
        logits = self.head(output[:, -1])
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "runs"
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", folder)
    torch.manual_seed(0)
    settings = TrainingArguments(
        folder,
        use_cpu=True,
        per_device_train_batch_size=64,
        num_train_epochs=2,
        learning_rate=0.01,
        logging_steps=20,
        save_strategy="no",
        report_to=["tensorboard"],
    )
    data = [{"x": x, "labels": x[0]} for x in torch.randint(SYMBOLS, (6400, LENGTH))]
    trainer = Trainer(Recall(), settings, train_dataset=data)
    trainer.add_callback(unrolled.loggers.TransformersCallback(trainer, every=20))
    trainer.train()
