"""All the ways in which torch, numpy and Python say that memory ran out, and what is something else."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.errors import OutOfMemoryError, UnrolledError, is_out_of_memory, out_of_memory

RUN_OUT = {
    "more than any address space": lambda: torch.empty(2**57, dtype=torch.float64),
    "bytes beyond 64 bits": lambda: torch.empty(2**62),
    "numbers beyond 64 bits": lambda: torch.empty(2**40, 2**40),
    "a size beyond 64 bits": lambda: torch.empty(2**64),
    "a view that is copied": lambda: torch.zeros(1).expand(2**62, 4).clone(),
    "a module": lambda: nn.LSTM(64, 10**10),
    "a module beyond 64 bits": lambda: nn.LSTM(64, 10**20),
    "numpy": lambda: np.empty(2**56),
    "numpy beyond 64 bits": lambda: np.empty((2**40, 2**40)),
    "a size beyond numpy's": lambda: np.empty(2**70),
    "a list": lambda: [0] * 2**60,
    "a list beyond 64 bits": lambda: [0] * 2**70,
    "bytes": lambda: bytearray(2**62),
    "a count for C": lambda: len(range(2**70)),
}

SOMETHING_ELSE = [
    RuntimeError("size mismatch, m1: [3 x 4]"),
    OverflowError("math range error"),
    ValueError("expected 3 dimensions"),
    TypeError("forward() takes 2 positional arguments"),
    SystemExit(0),
]


@pytest.mark.parametrize("name", RUN_OUT)
def test_memory_that_ran_out_is_recognised(name):
    with pytest.raises(Exception) as raised:  # noqa: PT011
        RUN_OUT[name]()
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("sizes: "),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_so_is_what_libraries_and_systems_say_that_are_not_here(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", SOMETHING_ELSE)
def test_other_failures_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


def test_a_float_that_overflows_is_no_lack_of_memory():
    with pytest.raises(OverflowError) as raised:
        math.exp(1000)
    assert not is_out_of_memory(raised.value)


def test_the_error_of_ours_is_one_line_and_names_what_did_not_fit():
    error = out_of_memory("model my:make", RuntimeError("can't allocate memory\nand more"))
    assert isinstance(error, UnrolledError)
    assert isinstance(error, MemoryError)
    assert str(error).startswith("model my:make: ")
    assert "can't allocate memory" in str(error)
    assert "\n" not in str(error)
    assert "\n" not in str(out_of_memory("x", MemoryError()))
