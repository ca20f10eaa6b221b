"""What the tests of training share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """As the command trains: sums are then taken in one order, and trainings can be compared bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
