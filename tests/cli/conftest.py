"""One warm interpreter for all tests of a worker."""

import pytest

from tests.cli.warm import Warm


@pytest.fixture(scope="session")
def warm():
    interpreter = Warm()
    yield interpreter
    interpreter.close()


@pytest.fixture
def place(tmp_path):
    """A folder to work in, with nothing in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder
