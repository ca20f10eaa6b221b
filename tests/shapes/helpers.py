"""Configurations at small odd sizes, so that no two sizes can be taken for each other."""

from functools import cache
from itertools import product

from unrolled.cells import CELLS
from unrolled.networks.workload import Workload
from unrolled.shapes.configuration import Configuration
from unrolled.shapes.measure import describe

I, H, B, T, P = 5, 7, 3, 4, 2


def configuration(cell="lstm", form="fused", batch_first=False, batched=True, bias=True, proj_size=0, **sizes):
    sizes = {"input_size": I, "hidden_size": H, "batch_size": B if batched else 1, "seq_len": T, **sizes}
    options = {"dtype": "float64", "bias": bias, "batch_first": batch_first, "proj_size": proj_size}
    return Configuration(workload=Workload(cell=cell, **options | sizes), form=form, batched=batched)


described = cache(describe)

# Every cell kind x layers x direction x batch_first or no bias x proj_size.
EVERY = [
    {
        "cell": cell,
        "num_layers": layers,
        "bidirectional": both,
        "batch_first": first,
        "bias": bias,
        "proj_size": proj,
    }
    for cell, layers, both, (first, bias) in product(
        CELLS, (1, 2, 4), (False, True), ((False, True), (True, True), (False, False))
    )
    for proj in ((0, P) if cell == "lstm" else (0,))
]


def named(fields):
    """A name for a parametrised test: `lstm-4-bi-first-nobias-proj`."""
    flags = ("bi",) * fields["bidirectional"] + ("first",) * fields["batch_first"]
    flags += ("nobias",) * (not fields["bias"]) + ("proj",) * bool(fields["proj_size"])
    return "-".join([fields["cell"], str(fields["num_layers"]), *flags])
