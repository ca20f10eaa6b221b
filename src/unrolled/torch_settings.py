"""The settings that torch keeps for the whole process: read, put back, and told apart in words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

MIXED = "mixed"
_backends: Any = torch.backends  # most of these are not typed
_guards: list[Any] = []  # what leaves inference mode does so for as long as it lives
_collecting: list[list[str]] = []  # the lists of all `settings_kept` that are entered, from the outermost in


@dataclass(frozen=True)
class _Setting:
    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]

    def value(self) -> Any:
        """What it is now. torch raises where its older and newer ways of setting a precision contradict each other."""
        try:
            return self.get()
        except RuntimeError:
            return MIXED


def _attribute(name: str, where: Any, attribute: str) -> _Setting:
    return _Setting(name, partial(getattr, where, attribute), partial(setattr, where, attribute))


def _autocast(name: str, device: str) -> _Setting:
    return _Setting(
        name, partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device)
    )


def _put_inference_mode(enabled: bool) -> None:
    guard = torch.inference_mode(enabled)
    guard.__enter__()
    _guards.append(guard)


def _default_device() -> torch.device | None:
    """As it was set, and None where it was not; `torch.get_default_device` would start CUDA to look for an index."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def _deterministic() -> str:
    return ("off", "warn", "on")[torch.get_deterministic_debug_mode()]


def _put_deterministic(mode: str) -> None:
    torch.use_deterministic_algorithms(mode != "off", warn_only=mode == "warn")


def flushes_denormals() -> bool:
    """There is nothing to ask: where denormals are flushed, half of the smallest normal number is 0."""
    return sys.float_info.min / 2 == 0


# In the order in which they are put back: inference mode changes grad mode with it. Of precisions, the older ways of
# setting one change the newer ones, and an operation has that of its backend where it has none of its own.
_SETTINGS = (
    _Setting("threads", torch.get_num_threads, torch.set_num_threads),
    _Setting("inference mode", torch.is_inference_mode_enabled, _put_inference_mode),
    _Setting("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting("anomaly mode", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Setting("default device", _default_device, torch.set_default_device),
    _Setting("deterministic algorithms", _deterministic, _put_deterministic),
    _Setting("flush denormal", flushes_denormals, torch.set_flush_denormal),
    _autocast("autocast", "cpu"),
    _autocast("CUDA autocast", "cuda"),
    _attribute("oneDNN", _backends.mkldnn, "enabled"),
    _attribute("cuDNN", _backends.cudnn, "enabled"),
    _attribute("cuDNN benchmark", _backends.cudnn, "benchmark"),
    _attribute("cuDNN deterministic", _backends.cudnn, "deterministic"),
    _Setting("matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _attribute("cuDNN TF32", _backends.cudnn, "allow_tf32"),
    _attribute("float32 precision", _backends, "fp32_precision"),
    _attribute("oneDNN precision", _backends.mkldnn, "fp32_precision"),
    _attribute("oneDNN matmul precision", _backends.mkldnn.matmul, "fp32_precision"),
    _attribute("oneDNN convolution precision", _backends.mkldnn.conv, "fp32_precision"),
    _attribute("oneDNN recurrence precision", _backends.mkldnn.rnn, "fp32_precision"),
    _attribute("cuDNN precision", _backends.cudnn, "fp32_precision"),
    _attribute("cuDNN convolution precision", _backends.cudnn.conv, "fp32_precision"),
    _attribute("cuDNN recurrence precision", _backends.cudnn.rnn, "fp32_precision"),
    _attribute("CUDA matmul precision", _backends.cuda.matmul, "fp32_precision"),
)


@dataclass(frozen=True)
class TorchSettings:
    """The value of each setting that anybody's code may change, at one moment and in the calling thread.

    Reading them takes some ten microseconds, and starts no CUDA.
    """

    values: tuple[Any, ...]

    @classmethod
    def now(cls) -> TorchSettings:
        """As they are."""
        return cls(tuple(setting.value() for setting in _SETTINGS))

    def changes(self, later: TorchSettings) -> list[str]:
        """The settings that have another value `later`, in words such as `threads 2 -> 8`."""
        values = zip(_SETTINGS, self.values, later.values, strict=True)
        return [f"{setting.name} {_word(old)} -> {_word(new)}" for setting, old, new in values if old != new]

    def restore(self) -> list[str]:
        """Put back every setting that has another value now; gives these, in words."""
        now = TorchSettings.now()
        if now == self:
            return []
        for setting, value in zip(_SETTINGS, self.values, strict=True):
            if value not in (MIXED, setting.value()):
                setting.put(value)
        return self.changes(now)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else str(value).removeprefix("torch.")


class KeptSettings(list[str]):
    """What somebody else's code changed of the settings, each change once, in words; `put_back` undoes it."""

    def __init__(self) -> None:
        super().__init__()
        self._before = TorchSettings.now()

    def put_back(self) -> None:
        """The settings as they were when this was made."""
        for change in self._before.restore():
            for changed in (self, *_collecting):
                if change not in changed:
                    changed.append(change)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """What is put back within another one inside is in this list too; afterwards every setting is as it was."""
        _collecting.append(self)
        try:
            yield
        finally:
            _collecting.pop()
            self.put_back()


@contextmanager
def settings_kept() -> Iterator[KeptSettings]:
    """Whatever happens inside, every setting is afterwards as it was; gives the list of what was changed."""
    kept = KeptSettings()
    with kept.watching():
        yield kept
