"""What the tests of spectra share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def same_draws():
    """Draws without a generator are the same whatever ran before, and leave no trace in what runs after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
