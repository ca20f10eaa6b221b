"""A model of your own: reach of every layer, before and during training.

python examples/own_model.py
unrolled gradflow --model examples.own_model:make
"""

import torch
from torch import Tensor, nn

import unrolled


class Tagger(nn.Module):
    """Tokens to tags, by an LSTM that runs both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.lstm = nn.LSTM(16, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        """From `(B, T)` to `(B, T, 5)`."""
        return self.head(self.lstm(self.embedding(tokens))[0])


def make() -> tuple[nn.Module, Tensor]:
    """The model, and an input for it: what `--model` asks for."""
    return Tagger(), torch.randint(100, (8, 80))


def train(model: nn.Module, steps: int) -> None:
    """Any loop: here, name the tag of the first token at the last one."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        tokens = torch.randint(100, (16, 30))
        loss = nn.functional.cross_entropy(model(tokens)[:, -1], tokens[:, 0] % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    """Once, then around the training."""
    torch.manual_seed(0)
    model, tokens = make()
    flow = unrolled.gradient_flow(model, tokens)
    print(flow.summary()[["layer", "direction", "path", "verdict", "horizon"]].to_string(index=False))
    with unrolled.watch(model, every=10) as watched:
        train(model, steps=31)
    for seen in watched.history:
        print(f"backward pass {seen.backward}: horizon {seen.flow.profile(layer=1).verdict.horizon} steps")
    print(watched)


if __name__ == "__main__":
    main()
