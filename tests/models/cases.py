"""The matrix: each model with an input, a loss, and what its spectrum is to be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from tests.models import zoo

T, B = 9, 4


@dataclass(frozen=True)
class Case:
    """`spectrum`: the names of the systems, or the words of the one sentence that refuses it."""

    make: Callable[[], torch.nn.Module]
    inputs: Callable[[], Any]
    loss: Callable[[Any], torch.Tensor]
    cells: Any = ()
    refused: str = ""


def drawn(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def x(steps=T):
    return drawn(steps, B, zoo.I)


def dones():
    done = torch.zeros(T, B, dtype=torch.float64)
    done[3, 1] = done[6, 1] = done[5, 2] = 1
    return done


def classes(output):
    """Mean cross entropy at all steps, or at one."""
    flat = output.reshape(-1, output.shape[-1])
    return F.cross_entropy(flat, torch.arange(len(flat)) % output.shape[-1])


def squares(output):
    return (output - 1).pow(2).mean()


CASES = {
    "many to one": Case(zoo.ManyToOne, lambda: torch.arange(T * B).reshape(T, B) % 11, classes),
    "tagger": Case(zoo.Tagger, lambda: x().transpose(0, 1), classes),
    "attention": Case(zoo.AttentionDecoder, x, squares),
    "packed both ways": Case(
        zoo.PackedBothWays, lambda: (x(), torch.tensor([5, 9, 2, 7])), classes, refused="one length"
    ),
    "policy": Case(
        zoo.Policy,
        lambda: (x(), dones()),
        lambda r: classes(r[0]) + squares(r[1]),
        refused="handed on as it is.* step 4",
    ),
    "forecaster": Case(zoo.Forecaster, x, squares),
    "weight dropped": Case(zoo.WeightDropped, x, classes),
    "two cells": Case(zoo.TwoCells, x, classes),
    "own cell": Case(zoo.OwnLoop, x, classes, zoo.MinimalGated),
    "output and state": Case(zoo.OutputAndState, x, lambda r: squares(r[0]) + squares(r[1][1]), zoo.Adding),
    "subclass": Case(zoo.Subclassed, x, classes),
    "dropout between layers": Case(zoo.Dropped, x, classes),
    "dropout between layers of GRU": Case(lambda: zoo.Dropped(torch.nn.GRU), x, classes),
    "step by step": Case(zoo.StepByStep, x, squares),
    "truncated": Case(zoo.Truncated, lambda: x(80), classes),
    "noisy": Case(
        zoo.Noisy,
        lambda: ({"x": x(), "start": drawn(B, zoo.H, seed=2)},),
        lambda r: squares(r["last"]),
        zoo.Rate,
    ),
    "stateful": Case(zoo.Stateful, x, classes),
    "residual": Case(zoo.Residual, x, squares),
}


def model_of(case):
    """In float64, in training mode, with weights large enough for every term to count."""
    torch.manual_seed(0)
    model = case.make().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model
