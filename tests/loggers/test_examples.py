"""The examples run as they stand, and leave what they say one should look at."""

import pytest

from tests.loggers.helpers import IMAGE, events_in, flows_in
from tests.processes import ROOT, python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package", "prefix", "first"),
    [("lightning", "pytorch_lightning", "", 0), ("transformers", "transformers", "train/", 1)],
)
def test_an_example_runs_and_its_horizon_is_in_tensorboard(tmp_path, name, package, prefix, first):
    for needed in (package, "tensorboard"):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    ended = python(ROOT / "examples" / f"watch_{name}.py", tmp_path, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    scalars, images = events_in(tmp_path)
    flows = flows_in(scalars, prefix)
    assert sorted(flows) == [first + step for step in range(0, 200, 20)]
    assert all(0 < flow["flow/rnn.l0/horizon"] <= 39 for flow in flows.values())
    assert [list(found) for found in images.values()] == [[prefix + IMAGE]]
