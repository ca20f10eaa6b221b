"""The gradient over sequence length: beyond float32 and in range, clipped and unclipped."""

import math
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from tests.gradients.helpers import Loop
from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.errors import UnrolledError
from unrolled.gradients.clipping import Clip
from unrolled.gradients.float32 import Float32Gradient, float32_gradient
from unrolled.gradients.lengths import check_lengths, measure_lengths
from unrolled.gradients.loss import last_step_loss
from unrolled.networks.model import UserModel
from unrolled.networks.textbook import Network, orthogonal

WORKLOAD = Workload(cell="rnn_tanh", input_size=4, hidden_size=32, batch_size=3, seq_len=50)


def study(network, lengths=(20, 400), clips=("none", "norm:1"), loss="last"):
    return [result for results in measure_lengths(network, lengths, clips, loss) for result in results]


def test_float32_autograd_gives_0_at_the_first_step_where_the_norm_is_not_0():
    short, long = study(orthogonal(WORKLOAD, 0.5), clips=["none"])
    assert math.log10(short.float32_first) == pytest.approx(short.log10_first, abs=1e-3)
    assert long.float32_first == 0
    assert -200 < long.log10_first < -100


def test_float32_autograd_overflows_and_its_clip_erases_or_poisons_what_ours_bounds():
    """Reference 15: an infinite norm multiplies finite gradients by 0, and infinite ones become NaN.

    This network is chaotic, so its norms differ by decades from one rounding to another: 10^28 or so, at 180
    steps, is in the middle of those that only the squares are too large for, from 10^19 to 10^38.
    """
    found = study(orthogonal(WORKLOAD, 4.0), lengths=(20, 180, 400))
    plain = [result.float32_parameters for result in found]
    assert math.isfinite(plain[0])
    assert plain[1] == pytest.approx(1, rel=1e-5)
    assert plain[2] == math.inf
    assert plain[3] == 0
    assert not math.isfinite(plain[4])
    assert math.isnan(plain[5])
    for unclipped, clipped in zip(found[::2], found[1::2], strict=True):
        assert unclipped.log10_parameters == pytest.approx(clipped.log10_unclipped, rel=1e-14)  # one gradient
        assert unclipped.log10_parameters > 1
        assert clipped.log10_parameters == pytest.approx(0, abs=1e-6)
        assert clipped.cosine == pytest.approx(1, abs=1e-9)
    assert found[-1].log10_unclipped > 40


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
def test_in_range_both_are_the_loops(cell):
    """float64 through a loop of cells, the oracle of every gradient here."""
    network = Network(name="", workload=WORKLOAD.replace(cell=cell, num_layers=2))
    (result,) = study(network, lengths=[12], clips=["none"])
    reference = network.module().double()
    loop = Loop(reference)
    output, _ = loop(network.input(12).double())
    last_step_loss(output, _layout()).backward()
    norm = math.sqrt(sum(float(p.grad.pow(2).sum()) for p in reference.parameters()))
    first = torch.stack([norms[0] for norms in loop.norms(1, "forward", "h")]).pow(2).mean().sqrt()
    assert 10**result.log10_parameters == pytest.approx(norm, rel=1e-3)
    assert result.float32_parameters == pytest.approx(norm, rel=1e-3)
    assert 10**result.log10_first == pytest.approx(float(first), rel=1e-3)
    assert result.float32_first == pytest.approx(float(first), rel=1e-3)


def _layout():
    from unrolled.rollout.layout import Layout

    return Layout(batch_first=False, batched=True, packed=None, lengths=None)


@pytest.mark.parametrize("spec", ["none", "norm:0.5", "value:0.02", "tensor:0.1", "auto:30"])
def test_in_range_every_clip_gives_what_torchs_gives(spec):
    network = Network(name="", workload=WORKLOAD.replace(cell="gru"))
    for result in study(network, lengths=(5, 10, 30), clips=[spec]):
        assert math.log10(result.float32_parameters) == pytest.approx(result.log10_parameters, abs=1e-3)
        moved = result.log10_unclipped - result.log10_parameters  # from 1e-7 on, by the 1e-6 in the divisor
        assert moved > 1e-8 if result.touched else moved == pytest.approx(0, abs=1e-12)
        assert (result.touched > 0) == (spec != "none")


def test_step_clipping_shrinks_the_gradient_at_the_first_step_and_has_no_name_in_torch():
    unclipped, held = study(orthogonal(WORKLOAD, 2.0), lengths=[200], clips=["none", "step:1"])
    assert unclipped.log10_first > 5
    assert held.log10_first < 2
    assert held.float32_parameters is None
    assert held.float32_first is None


def test_a_vanishing_gradient_of_the_parameters_does_not_vanish_with_length():
    """The last steps still see theirs: what is lost is what the loss knows of the first ones."""
    short, long = study(orthogonal(WORKLOAD, 0.5), clips=["none"])
    assert abs(long.log10_parameters - short.log10_parameters) < 0.5
    assert long.log10_first - short.log10_first < -100


def test_a_network_that_overflows_is_a_result_that_says_where():
    network = Network(name="relu", workload=WORKLOAD.replace(cell="rnn_relu"), init=Init("identity"), gain=3.0)
    fine, failed = study(network, lengths=(20, 200), clips=["none"])
    assert fine.problem is None
    assert re.search(r"\binf\b.*'RNN', layer 0 \(forward\).* step \d+", failed.problem)
    assert math.isnan(failed.log10_parameters)


def test_torchs_auto_clip_uses_the_percentile_of_the_norms_so_far():
    gradient = {"w": torch.tensor([3.0, 4.0])}
    float32 = Float32Gradient(gradient, None)
    assert float32.norm(Clip.parse("auto:50"), [1.0, 5.0]) == pytest.approx(3, rel=1e-5)
    assert gradient["w"].tolist() == [3, 4]


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(7, 4)
        self.rnn = nn.GRU(4, 8, batch_first=True)

    def forward(self, tokens):
        return self.rnn(self.embedding(tokens))[0]


def test_a_given_input_of_tokens_is_cut_along_time():
    tokens = torch.randint(0, 7, (3, 30), generator=torch.Generator().manual_seed(0))
    network = UserModel("tokens", Tokens(), tokens)
    assert network.longest == 30
    assert torch.equal(network.input(5), tokens[:, :5])  # a part of the same integers
    result = study(network, lengths=[25], clips=["none"])[0]
    assert math.log10(result.float32_parameters) == pytest.approx(result.log10_parameters, abs=1e-3)
    assert result.float32_first is None


def test_the_plain_gradient_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    module = nn.GRU(4, 8).double()
    float32 = float32_gradient(module, torch.randn(9, 2, 4).double(), None)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert module.weight_hh_l0.dtype == torch.float64
    assert {gradient.dtype for gradient in float32.gradients.values()} == {torch.float32}
    before = {name: gradient.clone() for name, gradient in float32.gradients.items()}
    float32.norm(Clip.parse("norm:0.001"), [])
    assert all(torch.equal(float32.gradients[name], before[name]) for name in before)  # the clip took a copy


def test_torch_itself_reports_the_norm_before_its_clip():
    torch.manual_seed(0)
    module = nn.RNN(4, 8)
    float32 = float32_gradient(module, torch.randn(9, 2, 4), None)
    for name, parameter in module.named_parameters():
        parameter.grad = float32.gradients[name].clone()
    assert float32.unclipped_norm() == pytest.approx(float(clip_grad_norm_(module.parameters(), 1.0)))


@pytest.mark.parametrize(
    ("lengths", "longest", "message"),
    [
        ((), None, "lengths: .*none"),
        ((10, 10), None, "lengths: .*10,10"),
        ((20, 10), None, "lengths: .*20,10"),
        ((1, 10), None, "lengths: .*T = 1"),
        ((2.5,), None, r"lengths: .*2\.5"),
        ((10, 50), 30, "lengths: .*30.*50"),
    ],
)
def test_what_are_no_lengths(lengths, longest, message):
    with pytest.raises(UnrolledError, match=message):
        check_lengths(lengths, longest)
