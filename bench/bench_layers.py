"""How fast are fused and unrolled recurrences, over cells, layers and batch sizes?"""


def bench_layers(case, race):
    """One (workload, phase, implementation): checked, then timed in pairs with the fused module."""
    race(case)
