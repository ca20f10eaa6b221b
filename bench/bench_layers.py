"""How fast are fused and unrolled recurrences, over cells, layers and batch sizes?"""

from unrolled.pytest_plugin.bench_layers import bench_layers

__all__ = ["bench_layers"]
