"""One timed call: a forward pass, or a forward pass, loss and backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unrolled.checks import check_choice
from unrolled.speed.grid import PHASES


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Cells may draw random numbers: whatever runs inside draws the same ones, and nobody else's are touched."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


class Step:
    """Calling it runs `module` once in the given phase, to the end (CUDA is synchronised).

    `forward`: inference, under `torch.inference_mode`. `training`: forward, mean squared error against a
    fixed random target, backward to all parameters and to the input, as in the middle of a network.
    Two steps may share `input` `(T, B, I)` and `target` `(T, B, D * H)`.
    `reset()` belongs between two calls and outside the clock: it sets all gradients to None, and `put_back`s what the
    last call, of whichever module, changed of torch's settings.
    """

    def __init__(
        self,
        module: nn.Module,
        input: Tensor,
        target: Tensor,
        phase: str,
        put_back: Callable[[], object] = lambda: None,
    ) -> None:
        check_choice("phase", phase, PHASES)
        self.put_back = put_back
        self.module = module.train(phase == "training")
        self.phase = phase
        self.input = input.requires_grad_(phase == "training")
        self.target = target
        self.event_seconds: list[float] = []
        self._events: Any = None
        if self.input.is_cuda:
            self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]

    def __call__(self) -> None:
        """Run once."""
        if self._events is None:
            self._run()
            return
        start, end = self._events
        start.record()
        self._run()
        end.record()
        torch.cuda.synchronize()

    def _run(self) -> None:
        if self.phase == "forward":
            with torch.inference_mode():
                self.module(self.input)
        else:
            self.loss().backward()  # type: ignore[no-untyped-call]

    def loss(self) -> Tensor:
        """The forward pass and the loss, with the graph for backward."""
        return F.mse_loss(self.module(self.input)[0], self.target)

    def reset(self) -> None:
        """Forget the last call: gradients back to None, and settings as they were."""
        self.put_back()
        self.input.grad = None
        for parameter in self.module.parameters():
            parameter.grad = None

    def note_event(self) -> None:
        """Keep the time between the two CUDA events of the last call; nothing on the CPU."""
        if self._events is not None:
            start, end = self._events
            self.event_seconds.append(start.elapsed_time(end) / 1e3)

    def quantities(self, reference: nn.Module) -> dict[str, Tensor | None]:
        """Output and, in training, all gradients of one call, under the names of the reference's parameters."""
        self.reset()
        if self.phase == "forward":
            with torch.inference_mode(), same_draws(0):
                return {"output": self.module(self.input)[0]}
        with same_draws(0):
            output = self.module(self.input)[0]
        F.mse_loss(output, self.target).backward()  # type: ignore[no-untyped-call]
        gradients = {f"gradient of {name}": p.grad for name, p in reference.named_parameters()}
        return {"output": output.detach(), "gradient of input": self.input.grad, **gradients}
