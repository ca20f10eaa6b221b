"""A mode is a file and a line: what is not listed is refused everywhere, what is added works everywhere."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from diagnostics import forecast, gradflow
from unrolled import Workload
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.forecast.setting import Setting
from unrolled.forecast.training import Training
from unrolled.gradients import Clip, gradient_flow
from unrolled.gradients.clipping.mode import Mode
from unrolled.gradients.clipping.registry import MODES
from unrolled.gradients.lengths import measure_lengths
from unrolled.networks.textbook import Network

SMALL = Setting(iterations=3, length=12, warm_up=3)
NETWORK = Network(name="one", workload=Workload(cell="gru", input_size=2, hidden_size=4, batch_size=2))


class AdaptiveClip(Mode):
    """Each gradient's norm at most the bound times that of its weight (Brock et al. 2021, eq. 3, per tensor)."""

    meaning = "the largest norm relative to the weight's"

    def clip(self, gradients, bound):
        pairs = zip(gradients.weights, gradients.log2_norms, strict=True)
        return gradients.scaled([math.log2(bound * largest(weight)) - norm for weight, norm in pairs])

    def clip_(self, gradients, bound):
        pairs = zip(gradients.weights, gradients.norms, strict=True)
        return gradients.scale_each_([bound * largest(weight) / max(norm, 1e-300) for weight, norm in pairs])

    def clip_as_torch_(self, parameters, norms):
        return False


def largest(weight):
    return max(float(weight.detach().double().norm()), 1e-3)


@pytest.fixture
def _added(monkeypatch):
    monkeypatch.setitem(MODES, "perweight", AdaptiveClip)


UNKNOWN = {
    "Clip": lambda: Clip("perweight", 0.01),
    "parse": lambda: Clip.parse("perweight:0.01"),
    "gradient_flow": lambda: gradient_flow(nn.RNN(2, 3), torch.randn(4, 1, 2), clip="perweight:0.01"),
    "lengths": lambda: next(measure_lengths(NETWORK, [5], ["perweight:0.01"])),
    "setting": lambda: SMALL.replace(clip="perweight:0.01"),
}


@pytest.mark.parametrize("entry", UNKNOWN)
def test_an_unknown_mode_is_refused_by_every_entry(entry):
    with pytest.raises(InvalidValueError, match="clip: .*'perweight'"):
        UNKNOWN[entry]()


@pytest.mark.parametrize("command", [gradflow, forecast], ids=["gradflow", "forecast"])
def test_an_unknown_mode_is_refused_by_every_command(command, tmp_path, capsys):
    assert command.main(["--clip", "perweight:0.01", "--out", str(tmp_path / "out")]) == 2
    assert "clip: " in (said := capsys.readouterr().err)
    assert "'perweight'" in said
    assert not (tmp_path / "out").exists()


def test_a_clip_cannot_be_turned_into_another_behind_its_mode():
    clip = Clip.parse("norm:1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        clip.mode = "perweight"


@pytest.mark.parametrize("name", [3, None, ["norm"]])
def test_a_mode_is_named_by_text(name):
    with pytest.raises(InvalidTypeError, match="clip: "):
        Clip(name, 1.0)


@pytest.mark.parametrize("spec", [None, 3, Clip("norm", 1.0)])
def test_the_clip_of_a_setting_is_text(spec):
    with pytest.raises(InvalidTypeError, match="clip: "):
        SMALL.replace(clip=spec)


@pytest.mark.parametrize("name", MODES)
def test_every_mode_says_what_it_works_on(name):
    clip = Clip(name, None if name == "none" else 1.0)
    assert (clip.works_on_gradients, clip.works_on_states) == {
        "none": (False, False),
        "step": (False, True),
    }.get(name, (True, False))


@pytest.mark.usefixtures("_added")
@pytest.mark.parametrize("scale", [1.0, 1e20])
def test_a_mode_that_is_added_clips_parameters(scale):
    torch.manual_seed(0)
    layer = nn.GRU(3, 4)
    for parameter in layer.parameters():
        parameter.grad = scale * torch.randn_like(parameter)
    before = [parameter.grad.double() for parameter in layer.parameters()]
    report = Clip.parse("perweight:0.01").clip_(layer.parameters())
    assert (report.mode, report.bound, report.tensors) == ("perweight", 0.01, 1)
    for parameter, gradient in zip(layer.parameters(), before, strict=True):
        expected = gradient * 0.01 * largest(parameter) / gradient.norm()
        torch.testing.assert_close(parameter.grad.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.usefixtures("_added")
def test_a_mode_that_is_added_is_asked_by_flow_lengths_and_training():
    torch.manual_seed(0)
    module = nn.RNN(2, 3)
    flow = gradient_flow(module, torch.randn(4, 1, 2), clip="perweight:0.01")
    for name, parameter in module.named_parameters():
        assert 10 ** flow.parameters[name] <= 0.01 * largest(parameter) * (1 + 1e-6)
    (result,) = next(measure_lengths(NETWORK, [5], ["perweight:0.01"]))
    assert result.touched == 1
    assert result.float32_parameters is None  # torch has no such clipping
    training = Training(SMALL.replace(clip="perweight:0.01"))
    training.run()
    assert not training.problem
    assert (training.history[:, 3] > 0).all()


@pytest.mark.usefixtures("_added")
def test_the_bound_of_a_mode_that_is_added_is_checked():
    with pytest.raises(InvalidValueError, match=r"clip: .*perweight.*-1\.0"):
        Clip.parse("perweight:-1")
