"""The commands are run as their own tests run them."""

from tests.diagnostics.conftest import (  # noqa: F401
    _one_thread,
    _one_thread_for_the_module,
    _plain_terminal,
    plugin,
)
