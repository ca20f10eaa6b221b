"""The network that is trained: recurrent layers, and a linear layer that reads them out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.forecast.setting import Setting
from unrolled.forecast.task import Task
from unrolled.networks.textbook import Network, described
from unrolled.networks.workload import Workload

INIT_STREAM = 2_000_003  # keeps the seed of `init_std` and of the read-out apart from the others


class Forecaster(nn.Module):
    """`model(x, state)`, `x` `(B, T, I)`, gives predictions after each step `(B, T, O)` and the last state."""

    def __init__(self, recurrent: nn.Module, readout: nn.Linear) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.readout = readout

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run the recurrent layers from `state` (None: zeros), and read out every step."""
        output, state = self.recurrent(x, state)
        return self.readout(output), state


def network_of(setting: Setting, inputs: int) -> Network:
    """The recurrent part as `unrolled.gradients` names and makes it."""
    workload = Workload(
        cell=setting.cell,
        input_size=inputs,
        hidden_size=setting.hidden_size,
        num_layers=setting.num_layers,
        batch_size=setting.batch_size,
        seq_len=setting.length - 1,
        device=setting.device,
        seed=setting.seed,
    )
    init = None if setting.init == "default" else setting.init
    gain = None if setting.gain == 1.0 else setting.gain
    return described(workload, setting.cell, init, gain, setting.forget_bias)


def make_model(setting: Setting, task: Task) -> Forecaster:
    """The network with its weights at the start: the same for one seed, whatever the device and the clip."""
    recurrent: Any = network_of(setting, task.inputs.shape[-1]).module()
    recurrent.batch_first = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed + INIT_STREAM)
        readout = nn.Linear(setting.hidden_size, task.outputs)
        if setting.init_std is not None:
            with torch.no_grad():
                for parameter in recurrent.parameters():
                    parameter.copy_(torch.randn(parameter.shape) * setting.init_std)
    return Forecaster(recurrent, readout).to(setting.device)
