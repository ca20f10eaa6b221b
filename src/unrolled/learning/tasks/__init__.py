"""The tasks, by name: one file each, and a line here."""

from __future__ import annotations

from unrolled.errors import InvalidValueError
from unrolled.learning.tasks.adding import Adding
from unrolled.learning.tasks.copy_memory import CopyMemory
from unrolled.learning.tasks.recall import Recall
from unrolled.learning.tasks.task import Task
from unrolled.learning.tasks.xor import DelayedXor

TASKS: dict[str, Task] = {task.NAME: task for task in (Recall(), CopyMemory(), Adding(), DelayedXor())}


def task_named(name: str) -> Task:
    """Raises `InvalidValueError` for a name that none has."""
    if name not in TASKS:
        raise InvalidValueError(f"task: expected one of {', '.join(TASKS)}, got {name!r}; try recall")
    return TASKS[name]
