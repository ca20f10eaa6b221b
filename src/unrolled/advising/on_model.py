"""Advice for somebody's model, trained on somebody's data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.advising.case import Case, can_be_flossed, flossed, start_of
from unrolled.advising.change import Change, Diagnosis, Outcome
from unrolled.cells import cell_of
from unrolled.cells.initialisation import initialise
from unrolled.errors import ImplementationError, NonFiniteError, UnrolledError
from unrolled.gradients.clipping import Clip
from unrolled.gradients.flow import gradient_flow
from unrolled.networks.checkpoint import load_checkpoint
from unrolled.networks.model import load_model
from unrolled.plugins import THEIRS, first_line, resolve
from unrolled.rollout.arguments import Arguments
from unrolled.rollout.targets import targets_of

LAST = 0.2  # of the iterations, whose median loss is the one that counts
Batch = tuple[Any, Callable[[Any], Tensor]]


@dataclass(frozen=True)
class OnModel(Case):
    """The model of a factory, `package.module:make`, on `package.module:batches`.

    `batches(seed)` yields pairs of an input and a loss, a function of what the model returns. Training is Adam. With a
    `checkpoint` every training goes on from its weights, so that only a clip and flossing can be tried.
    """

    factory: str
    data: str
    checkpoint: Path | None = None
    iterations: int = 300
    lr: float = 0.001
    clip: str = "none"
    seed: int = 0

    def look(self) -> None:
        """Make the model, its clip and a batch, so that what is wrong with them is found before any training."""
        Clip.parse(self.clip)
        targets_of(self._made(self.seed), ())
        next(self._batches(self.seed))

    @property
    def title(self) -> str:  # type: ignore[override]
        """The factory, and the file."""
        return self.factory + (f", {self.checkpoint.name}" if self.checkpoint else "")

    @property
    def goal(self) -> str:  # type: ignore[override]
        """There is none but a smaller loss."""
        return f"a smaller loss on {self.data} after {self.iterations} iterations"

    @property
    def cell(self) -> str:  # type: ignore[override]
        """That of its recurrent modules, where all are torch's and of one kind."""
        return self._cell_of(self._made(self.seed))

    def can(self, kind: str) -> bool:
        """What leaves a checkpoint's weights, and fits the recurrent modules that there are."""
        if kind == "clip":
            return self.clip == "none"
        modules = _fused(self._made(self.seed))
        if kind == "floss":
            return len(modules) == 1 and can_be_flossed(modules[0])
        return kind in ("init", "gates") and self.checkpoint is None and bool(self.cell)

    def diagnose(self) -> Diagnosis:
        """Of the loss of the first batch."""
        inputs, loss = next(self._batches(self.seed))
        try:
            return Diagnosis.of(gradient_flow(self._made(self.seed), inputs, loss), None)
        except NonFiniteError as error:
            return Diagnosis("none", math.nan, None, None, 1, str(error))

    def train(self, seed: int, change: Change | None) -> Outcome:
        """Adam, with a clip where there is one."""
        model, batches = self._made(seed), self._batches(seed)
        self._start(model, change, seed)
        clip = Clip.parse(change.value if change is not None and change.kind == "clip" else self.clip)
        parameters = list(model.named_parameters())
        optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
        losses: list[float] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for inputs, loss_of in batches:
                if len(losses) == self.iterations:
                    break
                optimizer.zero_grad()
                loss = loss_of(Arguments.of(model, inputs)())
                loss.backward()  # type: ignore[no-untyped-call]
                losses.append(loss.item())
                try:
                    clip.clip_(parameters)
                except NonFiniteError as error:
                    return Outcome(False, len(losses), math.nan, f"iteration {len(losses)}: {error}")
                optimizer.step()
        last = losses[-max(1, round(LAST * len(losses))) :]
        return Outcome(False, len(losses), float(np.median(last)) if last else math.nan)

    def _start(self, model: nn.Module, change: Change | None, seed: int) -> None:
        _, init = start_of(change)
        generator = torch.Generator().manual_seed(seed)
        for module in _fused(model):
            if init is not None:
                initialise(module, cell_of(module).name, init, 1.0, None, generator)
            elif change is not None and change.kind == "floss":
                flossed(module, self._input_of(model, module, seed))

    def _input_of(self, model: nn.Module, module: nn.RNNBase, seed: int) -> Tensor:
        """What reaches the module in the first batch, `(T, B, I)`."""
        seen: list[Tensor] = []
        handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        try:
            with torch.no_grad():
                Arguments.of(model, next(self._batches(seed))[0])()
        finally:
            handle.remove()
        x = seen[0] if seen[0].dim() == 3 else seen[0].unsqueeze(0 if module.batch_first else 1)
        return x.transpose(0, 1) if module.batch_first else x

    def _made(self, seed: int) -> nn.Module:
        model, _ = load_model(self.factory, seed)
        if self.checkpoint is not None:
            load_checkpoint(model, self.checkpoint)
        return model

    def _batches(self, seed: int) -> Iterator[Batch]:
        given = resolve(self.data, "data")
        if not callable(given):
            raise ImplementationError(
                f"data {self.data}: expected a function batches(seed), got {type(given).__name__}; name one"
            )
        for batch in self._given(given, seed):
            if not (isinstance(batch, tuple) and len(batch) == 2 and callable(batch[1])):
                raise ImplementationError(
                    f"data {self.data}: expected pairs of an input and a loss function, got {type(batch).__name__}; "
                    "yield (input, loss)"
                )
            yield batch

    def _given(self, batches: Callable[[int], Any], seed: int) -> Iterator[Any]:
        """What it yields; what it raises becomes an `ImplementationError`, and so does nothing at all."""
        count = 0
        try:
            for batch in batches(seed):
                count += 1
                yield batch
        except UnrolledError:
            raise
        except THEIRS as error:
            raise ImplementationError(
                f"data {self.data}: expected batches(seed) to yield pairs of an input and a loss, got "
                f"{type(error).__name__}: {first_line(error)}; call it by itself to see where"
            ) from error
        if not count:
            raise ImplementationError(f"data {self.data}: expected batches, got none; yield (input, loss)")

    @staticmethod
    def _cell_of(model: nn.Module) -> str:
        targets = targets_of(model, ())
        kinds = {cell_of(target.module).name for target in targets if target.fused}
        return kinds.pop() if len(kinds) == 1 and all(target.fused for target in targets) else ""


def _fused(model: nn.Module) -> list[nn.RNNBase]:
    return [module for module in model.modules() if isinstance(module, nn.RNNBase)]
