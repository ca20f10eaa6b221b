"""The training written out as anybody would write it."""

import torch
from torch import nn

from unrolled.forecast.model import make_model
from unrolled.forecast.training import make_task


def plain_training(setting, max_norm=None):
    """Model and losses of a bare loop: the same start, the same data, torch's own clipping."""
    task = make_task(setting)
    model = make_model(setting, task)
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[setting.optimizer]
    optimizer = kind(model.parameters(), lr=setting.lr)
    criterion = nn.MSELoss() if task.carries else nn.CrossEntropyLoss()
    hidden, losses = None, []
    for rows in task.order(setting.iterations, setting.batch_size, setting.seed):
        output, state = model.recurrent(task.inputs[rows], hidden)
        prediction = model.readout(output)
        if task.carries:
            hidden = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
            loss = criterion(prediction, task.targets[rows])
        else:
            loss = criterion(prediction[:, -1], task.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def same_weights(one, other):
    """Bit for bit: that holds between trainings of one process and one thread, which do the same operations in
    the same order on tensors that torch aligns alike, at multiples of 64 bytes."""
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == also and torch.equal(a, b) for (name, a), (also, b) in pairs)
