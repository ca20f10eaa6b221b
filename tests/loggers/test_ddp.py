"""Two processes train one model: rank 0 logs, the gradient is that of both, and no weight is another."""

import math

import pytest
import torch

from tests.loggers.helpers import Sequences, events_in, flows_in, model, optimizer_of
from tests.processes import python

# Framework: what it needs, the prefix of its scalars, the number of its first step.
FRAMEWORKS = {
    "loop": (None, "", 0),
    "lightning": ("pytorch_lightning", "", 0),
    "transformers": ("transformers", "train/", 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_rank_0_logs_the_gradient_that_all_ranks_have_averaged(tmp_path, framework):
    package, prefix, first = FRAMEWORKS[framework]
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    if package is not None:
        pytest.importorskip(package, reason=f"{package} is not installed")
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("no gloo")
    weights = {}
    for watched in ("watched", ""):
        folder = tmp_path / f"run{watched}"
        folder.mkdir()
        arguments = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "tests.loggers.ddp",
        ]
        ended = python(*arguments, framework, folder, *([watched] if watched else []))
        assert ended.returncode == 0, ended.stderr
        weights[watched] = [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]
    for name, weight in weights[""][0].items():
        assert torch.equal(weights["watched"][0][name], weight)
        assert torch.equal(weights["watched"][1][name], weight)
    flows = flows_in(events_in(tmp_path / "runwatched")[0], prefix)  # each step once: one rank has logged
    expected = gradients_of_both()
    assert sorted(flows) == [first + step for step in range(0, 10, 2)]
    for step, values in flows.items():
        assert values["gradient/log10_norm"] == pytest.approx(expected[step - first], abs=1e-6)


def gradients_of_both():
    """log10 of the gradient's norm at each step of the same training in one process.

    A batch of both together is as good as two halves, as the sampler deals samples out in turn.
    """
    of, found = model(), []
    optimizer = optimizer_of(of)
    for x, y in Sequences().batches():
        optimizer.zero_grad()
        of(x, y)["loss"].backward()
        found.append(0.5 * math.log10(sum(float(p.grad.pow(2).sum()) for p in of.parameters())))
        optimizer.step()
    return found
