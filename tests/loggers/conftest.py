"""What the tests of loggers share."""

import pytest


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """Weights & Biases without a network, in a folder of the test's, as in a process that has not used it before."""
    package = pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    package.teardown()  # what it read from the environment when another test began
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield package
    package.teardown()


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch):
    """Whether a logger lets go of a model is asked of what it took itself, not of what an earlier test left open."""
    from unrolled.rollout import capture

    monkeypatch.setattr(capture, "_listening", [])
