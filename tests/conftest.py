"""What all tests share."""

import pytest
import torch

from unrolled.rollout import capture


def pytest_configure(config):
    """A warning is an error in our tests; in a benchmark it is its author's business."""
    config.addinivalue_line("filterwarnings", "error")
    # Of matplotlib before 3.10.8 with a newer pyparsing.
    config.addinivalue_line("filterwarnings", "ignore:'[a-zA-Z]+' .*deprecated.* use '\\w+':DeprecationWarning")


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none, and say so."""
    if torch.cuda.is_available():
        return
    no_cuda = pytest.mark.skip(reason="no CUDA device: torch.cuda.is_available() is False")
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(no_cuda)


@pytest.fixture
def fresh_torchscript(monkeypatch):
    """TorchScript keeps what it compiled of a class for the whole process, and trips over what other tests compiled.

    Nor can it read what stands in for the `forward` of modules that a test is still watching.
    """
    for kind, forward in capture._originals.items():
        monkeypatch.setattr(kind, "forward", forward)
    from torch.jit import _recursive, _state

    def forget():
        torch._C._jit_clear_class_registry()
        _recursive.concrete_type_store = _recursive.ConcreteTypeStore()
        _state._clear_class_state()

    forget()
    yield
    forget()
