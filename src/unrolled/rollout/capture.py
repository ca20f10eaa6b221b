"""The one way to catch the calls of recurrent modules and cells, in a model that is left as it is.

While a `Capture` listens, the `forward` of each class concerned is stood in for. So a call is caught however it
is made: by `module(x)`, by a wrapper that calls `module.forward(x)`, or from a subclass through
`super().forward(x)`. No module gets a hook or an attribute, so a model can be copied and saved meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial, wraps
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from unrolled.rollout.targets import FUSED, Target

# Given the target and its own forward, with the arguments of the call; gives what the caller gets.
Handler = Callable[[Target, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

_listening: list[Capture] = []
_originals: dict[type[nn.Module], Callable[..., Any]] = {}


class Capture:
    """Hands every call of the `targets` to `handler` while it listens; several may listen at once.

    What a cell calls inside its own step is its own affair and is not caught.
    """

    def __init__(self, targets: Iterable[Target], handler: Handler) -> None:
        self.targets = {id(target.module): target for target in targets}
        self.handler = handler
        self._inside = False

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def listen(self) -> None:
        """Stand in for the forward of every class of the targets, and where a module has one of its own, for that."""
        if self in _listening:
            return
        _listening.append(self)
        for target in self.targets.values():
            own = target.module.__dict__.get("forward")
            if own is not None:
                target.module.__dict__["forward"] = wraps(own)(partial(_dispatch, own, target.module))
                continue
            owner = _owner(target)
            if owner not in _originals:
                _originals[owner] = owner.forward
                owner.forward = _stand_in(owner.forward)

    def stop(self) -> None:
        """Undo `listen`; harmless where it was not called."""
        if self not in _listening:
            return
        _listening.remove(self)
        for target in self.targets.values():
            own = target.module.__dict__.get("forward")
            if own is not None:
                target.module.__dict__["forward"] = own.__wrapped__
        needed = {_owner(target) for capture in _listening for target in capture.targets.values()}
        for owner in [owner for owner in _originals if owner not in needed]:
            owner.forward = _originals.pop(owner)

    def _caught(self, target: Target, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._inside:
            return call(*args, **kwargs)
        self._inside = True
        try:
            return self.handler(target, call, args, kwargs)
        finally:
            self._inside = False


def _owner(target: Target) -> type[nn.Module]:
    """The class whose forward is one call: torch's own for a fused module, else the first that has one.

    A class that runs the whole call of a fused module in another way says so by `ONE_CALL`.
    """
    classes = type(target.module).__mro__
    if target.fused:
        return next(kind for kind in classes if kind in FUSED or "ONE_CALL" in kind.__dict__)
    return next(kind for kind in classes if "forward" in kind.__dict__)


def _stand_in(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return _dispatch(partial(original, self), self, *args, **kwargs)

    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and asking would take a second to load it
        return forward
    disable: Any = torch.compiler.disable
    eager: Callable[..., Any] = disable(forward)
    return eager


def _dispatch(original: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The call as every listener makes it, the one that came last outermost."""
    call = original
    for capture in _listening:
        target = capture.targets.get(id(module))
        if target is not None:
            call = partial(capture._caught, target, call)
    return call(*args, **kwargs)
