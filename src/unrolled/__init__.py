"""How fast does your recurrent network run, and how far back can it learn?"""

from unrolled.environment import Environment
from unrolled.errors import UnrolledError
from unrolled.workload import Workload

__all__ = ["Environment", "UnrolledError", "Workload"]
