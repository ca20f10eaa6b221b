"""A small training, the same by hand with autograd through written-out loops, and readers of what loggers wrote."""

import copy
import json
import math
import statistics
import struct
import time
from itertools import combinations

import torch
from torch import nn
from torch.utils.data import Dataset

from tests.gradients.helpers import Loop
from unrolled.rollout import capture

T, B, I, H = 12, 4, 3, 5
IMAGE = "flow/over_lag"


class Regressor(nn.Module):
    """Reads a sequence `(B, T, I)` and predicts one number from the last state."""

    def __init__(self, kind=nn.GRU, **options):
        super().__init__()
        self.rnn = kind(I, H, batch_first=True, **options)
        self.head = nn.Linear(H, 1)

    def forward(self, x, labels=None):
        prediction = self.head(self.rnn(x)[0][:, -1])
        loss = None if labels is None else (prediction - labels).pow(2).mean()
        return {"loss": loss, "logits": prediction}


def model(kind=nn.GRU, dtype=torch.float64, **options):
    torch.manual_seed(0)
    found = Regressor(kind, **options).to(dtype)
    for parameter in found.parameters():  # away from the small default, so that every term counts
        nn.init.normal_(parameter, std=0.5)
    return found


class Sequences(Dataset):
    """`number` batches of `B` samples each; `change` may spoil one of them."""

    def __init__(self, number=10, dtype=torch.float64, change=lambda x, y: None):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(number * B, T, I, generator=generator, dtype=torch.float64).to(dtype)
        self.y = self.x.sum((1, 2)).unsqueeze(1).tanh()
        change(self.x, self.y)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "labels": self.y[index]}

    def batches(self):
        return list(zip(self.x.split(B), self.y.split(B), strict=True))


def optimizer_of(model):
    return torch.optim.Adam(model.parameters(), lr=0.02)


def by_hand(model, data, accumulate=1, steps=None):
    """The same training through `Loop`: by step, counted from 0, what a logger should have got, and its loss."""
    model = copy.deepcopy(model).double()
    optimizer, found, losses = optimizer_of(model), [], []
    batches = [(x.double(), y.double()) for x, y in data.batches()]
    for number, (x, y) in enumerate(batches):
        loop = Loop(model.rnn)
        output, _ = loop(x.transpose(0, 1))
        loss = (model.head(output[-1]) - y).pow(2).mean()
        (loss / accumulate).backward()
        if (number + 1) % accumulate:
            continue
        found.append(oracle(model, loop))
        losses.append(float(loss.detach()))
        optimizer.step()
        optimizer.zero_grad()
    return found[:steps], losses[:steps], model


def oracle(model, loop):
    """The scalars, from gradients that autograd left at states and parameters."""
    squares = sum(float(p.grad.pow(2).sum()) for p in model.parameters())
    values = {"gradient/log10_norm": 0.5 * math.log10(squares)}
    for layer, direction, path in loop.states:
        by_step = torch.stack(loop.norms(layer, direction, path)).pow(2).mean(0).sqrt()
        log10 = by_step.log10().flip(0).tolist()
        label = f"flow/rnn.l{layer}" + (".c" if path == "c" else "")
        slopes = [(b - a) / (k - j) for (j, a), (k, b) in combinations(enumerate(log10), 2)]
        values[f"{label}/log10_first"], values[f"{label}/log10_last"] = log10[-1], log10[0]
        values[f"{label}/decades_per_step"] = statistics.median(slopes)
        values[f"{label}/horizon"] = float(max(k for k, norm in enumerate(log10) if norm - log10[0] >= -3))
    return values


def check(found, expected):
    """Same steps, same names, same values: float32 is what TensorBoard keeps."""
    assert sorted(found) == sorted(expected), (sorted(found), sorted(expected))
    for step, values in expected.items():
        assert sorted(found[step]) == sorted(values), step
        for name, value in values.items():
            assert abs(found[step][name] - value) <= 1e-6 * max(1.0, abs(value)), (step, name)


def flows_in(found, prefix=""):
    """Of what was logged by step, the part that is the gradient's flow; finite throughout."""
    flows = {}
    for step, values in found.items():
        for name, value in values.items():
            assert math.isfinite(value), (step, name)
            if name.startswith((f"{prefix}gradient/", f"{prefix}flow/")):
                flows.setdefault(step, {})[name.removeprefix(prefix)] = value
    return flows


def events_in(folder):
    """What TensorBoard's own reader finds: scalars and images, each by step and name. Raises where one is double."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scalars, images = {}, {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0}).Reload()
        for kind, into, read in (("scalars", scalars, events.Scalars), ("images", images, events.Images)):
            for name in events.Tags()[kind]:
                for event in read(name):
                    values, value = into.setdefault(event.step, {}), event.value if kind == "scalars" else event
                    # Both frameworks write the epoch with all that they log.
                    assert name not in values or (name.endswith("epoch") and values[name] == value), (
                        event.step,
                        name,
                    )
                    values[name] = value
    return scalars, images


def runs_in(folder):
    """The rows of the offline run of Weights & Biases, as its file has them once a process of W&B's has ended it."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.rglob("*.wandb")
    for _ in range(300):
        records = []
        for data in log_records(path.read_bytes()):
            records.append(wandb_internal_pb2.Record())
            records[-1].ParseFromString(data)
        if any(record.HasField("exit") for record in records):
            break
        time.sleep(0.1)
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]


def log_records(data, block=2**15, header=7):
    """The records of a log as LevelDB writes it, which is what W&B keeps: blocks of parts, each after its header.

    https://github.com/google/leveldb/blob/main/doc/log_format.md; W&B's own header of the file is as long as a part's.
    """
    at, parts = header, []
    while at + header <= len(data):
        if block - at % block < header:  # the rest of a block that has no room for a header
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts.append(data[at + header : at + header + length])
        at += header + length
        if kind in (1, 4):  # whole, or its last part
            yield b"".join(parts)
            parts = []


def untouched(model):
    """Whether no hook and no listener is left."""
    hooks = [p._post_accumulate_grad_hooks for p in model.parameters()]
    return not any(hooks) and not capture._listening


def bits(*states):
    """Every tensor of these modules, optimisers and whatever else, to be compared by `same_bits`."""
    return [
        leaf.clone()
        for state in states
        for leaf in torch.utils._pytree.tree_leaves(state.state_dict())
        if isinstance(leaf, torch.Tensor)
    ]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))
