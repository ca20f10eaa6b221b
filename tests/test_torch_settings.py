"""Every global setting of torch that anybody's code may change is put back, and said, without starting CUDA."""

import subprocess
import sys

import pytest
import torch
from torch import backends

from tests.processes import environment
from unrolled.torch_settings import TorchSettings, settings_kept

# A name that is said, and code that changes it.
CHANGES = {
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "inference mode": lambda: LEFT_OPEN.append(torch.inference_mode()) or LEFT_OPEN[-1].__enter__(),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "deterministic algorithms off -> warn": lambda: torch.set_deterministic_debug_mode("warn"),
    "flush denormal": lambda: torch.set_flush_denormal(True),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "CUDA autocast": lambda: torch.set_autocast_enabled("cuda", True),
    "oneDNN": lambda: setattr(backends.mkldnn, "enabled", False),
    "cuDNN": lambda: setattr(backends.cudnn, "enabled", False),
    "cuDNN benchmark": lambda: setattr(backends.cudnn, "benchmark", True),
    "cuDNN deterministic": lambda: setattr(backends.cudnn, "deterministic", True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "CUDA matmul precision": lambda: setattr(backends.cuda.matmul, "allow_tf32", True),
    "cuDNN TF32": lambda: setattr(backends.cudnn, "allow_tf32", False),
    "float32 precision": lambda: setattr(backends, "fp32_precision", "tf32"),
    "oneDNN matmul precision": lambda: setattr(backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "oneDNN recurrence precision": lambda: setattr(backends.mkldnn.rnn, "fp32_precision", "bf16"),
    "oneDNN convolution precision": lambda: setattr(backends.mkldnn.conv, "fp32_precision", "bf16"),
    "cuDNN precision": lambda: setattr(backends.cudnn, "fp32_precision", "ieee"),
    "cuDNN recurrence precision": lambda: setattr(backends.cudnn.rnn, "fp32_precision", "ieee"),
    "cuDNN convolution precision": lambda: setattr(backends.cudnn.conv, "fp32_precision", "ieee"),
    "matmul precision highest -> mixed": lambda: setattr(backends.cuda.matmul, "fp32_precision", "tf32"),
}
LEFT_OPEN = []


def behaviour():
    """What can be seen of the settings without asking for them."""
    weight = torch.ones(2, 2, requires_grad=True)
    product = weight @ weight
    return {
        "threads": torch.get_num_threads(),
        "recorded": product.requires_grad,
        "inference": product.is_inference(),
        "dtype": (product.dtype, torch.ones(1).dtype),
        "device": product.device,
        "denormals": float(torch.tensor(2.0**-1022, dtype=torch.float64) / 2) > 0,
        "oneDNN": backends.mkldnn.enabled,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warns": torch.is_deterministic_algorithms_warn_only_enabled(),
        "matmul": backends.cuda.matmul.allow_tf32,
        "cuDNN": backends.cudnn.allow_tf32,
    }


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_is_put_back_and_said(name):
    before, seen = TorchSettings.now(), behaviour()
    with settings_kept() as changed:
        CHANGES[name]()
        assert TorchSettings.now() != before
    assert TorchSettings.now() == before
    assert behaviour() == seen
    assert any(words.startswith(name) for words in changed)


def test_all_settings_changed_at_once_are_put_back():
    before, seen = TorchSettings.now(), behaviour()
    with settings_kept():
        for change in CHANGES.values():
            change()
    assert TorchSettings.now() == before
    assert behaviour() == seen


def test_what_stays_as_it_was_is_not_said():
    with settings_kept() as changed:
        torch.set_num_threads(torch.get_num_threads())
        with torch.no_grad(), torch.device("cpu"), torch.autocast("cpu"):
            torch.ones(2) + 1
    assert changed == []


def test_values_are_said_in_words():
    with settings_kept() as changed:
        torch.set_num_threads(torch.get_num_threads() + 2)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
    threads = torch.get_num_threads()
    assert changed == [
        f"threads {threads} -> {threads + 2}", "grad mode on -> off", "default dtype float32 -> float64"
    ]  # fmt: skip


def test_settings_are_put_back_after_an_error_and_as_often_as_asked_and_each_change_is_said_once():
    def leaves(changed):
        for _ in range(3):
            torch.set_grad_enabled(False)
            changed.put_back()
            assert TorchSettings.now() == before
        torch.set_grad_enabled(False)
        sys.exit()

    before = TorchSettings.now()
    with pytest.raises(SystemExit), settings_kept() as changed:
        leaves(changed)
    assert TorchSettings.now() == before
    assert changed == ["grad mode on -> off"]


def test_what_was_put_back_further_in_is_said_further_out():
    with settings_kept() as outer:
        with settings_kept() as inner:
            torch.set_default_dtype(torch.float64)
        assert torch.get_default_dtype() == torch.float32
        assert inner == outer == ["default dtype float32 -> float64"]
    with settings_kept() as another:
        pass
    assert another == []


def test_a_default_device_that_was_set_before_is_kept():
    torch.set_default_device("meta")
    try:
        with settings_kept() as changed:
            torch.set_default_device(None)
        assert torch.ones(1).device.type == "meta"
    finally:
        torch.set_default_device(None)
    assert changed == ["default device meta -> none"]


@pytest.mark.cuda
def test_reading_and_restoring_settings_starts_no_cuda():
    code = (
        "import torch\nfrom unrolled.torch_settings import settings_kept\n"
        "with settings_kept():\n    torch.set_default_device('cuda'); torch.backends.cudnn.benchmark = True\n"
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, timeout=120)
