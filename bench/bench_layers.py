"""How fast are fused and unrolled recurrences, over cells, layers and batch sizes?"""


def bench_layers(case, race):
    """One (workload, phase, implementation): checked, timed in rounds with the fused module, checked again."""
    race(case)
