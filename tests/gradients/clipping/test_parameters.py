"""`clip_` takes what torch takes: parameters or one of them, named or not, sparse, complex, of several dtypes."""

import itertools
import math
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from tests.processes import python
from unrolled.errors import InvalidTypeError
from unrolled.gradients import Clip, NonFiniteError

SPECS = ["none", "norm:0.5", "value:0.1", "tensor:0.2", "auto:40"]


def model(scale=1.0, seed=0):
    """A layer and, in `.grad`, normal gradients times `scale`."""
    torch.manual_seed(seed)
    layer = nn.GRU(3, 4)
    for parameter in layer.parameters():
        parameter.grad = scale * torch.randn_like(parameter)
    return layer


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


@pytest.mark.parametrize("scale", [1.0, 1e20])  # in place, and with exponents
@pytest.mark.parametrize("spec", SPECS)
def test_parameters_with_and_without_names_are_clipped_alike(spec, scale):
    named, unnamed = model(scale), model(scale)
    report = Clip.parse(spec).clip_(named.named_parameters())
    assert Clip.parse(spec).clip_(unnamed.parameters()) == report
    assert all(torch.equal(one, other) for one, other in zip(gradients(named), gradients(unnamed), strict=True))


def test_one_tensor_is_its_own_list_of_parameters():
    one, other = model().weight_hh_l0, model().weight_hh_l0
    Clip.parse("norm:0.5").clip_(one)
    clip_grad_norm_(other, 0.5)
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=0)


def test_a_parameter_without_a_gradient_is_passed_over():
    layer = model()
    layer.weight_ih_l0.grad = None
    report = Clip.parse("tensor:1e-3").clip_(layer.parameters())
    assert (report.tensors, layer.weight_ih_l0.grad) == (1, None)
    report = Clip.parse("norm:1").clip_(nn.GRU(3, 4).parameters())
    assert (report.log10_before, report.entries, report.tensors) == (-math.inf, 0, 0)


def test_a_parameter_given_twice_is_clipped_once():
    tied, once = model(), model()
    report = Clip.parse("norm:0.5").clip_([*tied.parameters(), tied.bias_hh_l0])
    assert report == Clip.parse("norm:0.5").clip_(once.parameters())
    assert torch.equal(tied.bias_hh_l0.grad, once.bias_hh_l0.grad)


def test_two_parameters_of_one_name_are_both_clipped():
    one, other = model(seed=0), model(seed=1)
    report = Clip.parse("value:1e-3").clip_(itertools.chain(one.named_parameters(), other.named_parameters()))
    assert report.tensors == 1
    assert all(grad.abs().max() <= 1e-3 for module in (one, other) for grad in gradients(module))


@pytest.mark.parametrize("named", [True, False])
def test_a_gradient_that_is_not_finite_is_called_by_its_name_or_its_position(named):
    layer = model()
    layer.bias_hh_l0.grad[2] = math.nan
    before = layer.weight_ih_l0.grad.clone()
    with pytest.raises(NonFiniteError, match="bias_hh_l0" if named else "parameter 3") as caught:
        Clip.parse("norm:0.5").clip_(layer.named_parameters() if named else layer.parameters())
    assert caught.value.module == ("bias_hh_l0" if named else "parameter 3")
    assert torch.equal(layer.weight_ih_l0.grad, before)


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (nn.GRU(3, 4), "GRU"),
        (dict(nn.GRU(3, 4).named_parameters()), "str"),
        ("weights", "str"),
        (3, "int"),
        ([1.5], "float"),
        ([(0, torch.zeros(1))], "tuple"),
    ],
)
def test_what_are_no_parameters(what, name):
    with pytest.raises(InvalidTypeError, match=f"parameters: .*got {name}"):
        Clip.parse("norm:1").clip_(what)


class Tagger(nn.Module):
    """Tokens that come more than once, so that their rows of the sparse gradient do too."""

    def __init__(self, sparse, scale):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(9, 3, sparse=sparse)
        self.head = nn.Linear(3, 2)
        tokens = torch.tensor([[1, 4, 1, 7], [4, 4, 2, 1]])
        (scale * self.head(self.embedding(tokens)).pow(2).sum()).backward()


@pytest.mark.parametrize("scale", [1.0, 1e20])
@pytest.mark.parametrize("spec", SPECS)
def test_a_sparse_gradient_is_clipped_as_the_dense_one_is_and_stays_sparse(spec, scale):
    sparse, dense = Tagger(True, scale), Tagger(False, scale)
    assert not sparse.embedding.weight.grad.is_coalesced()
    ours = Clip.parse(spec).clip_(sparse.parameters())
    report = Clip.parse(spec).clip_(dense.parameters())
    assert sparse.embedding.weight.grad.layout == torch.sparse_coo
    for one, other in zip(gradients(sparse), gradients(dense), strict=True):
        torch.testing.assert_close(one.to_dense(), other, rtol=1e-5, atol=0)
    for name in ("log10_before", "log10_after", "cosine", "tensors"):
        assert getattr(ours, name) == pytest.approx(getattr(report, name), abs=1e-6)


@pytest.mark.parametrize(("spec", "torchs"), [("norm:0.5", clip_grad_norm_), ("value:0.1", clip_grad_value_)])
def test_the_dense_twin_of_a_sparse_gradient_is_clipped_as_torch_does(spec, torchs):
    sparse, dense = Tagger(True, 1.0), Tagger(False, 1.0)
    clip = Clip.parse(spec)
    clip.clip_(sparse.parameters())
    torchs(dense.parameters(), clip.bound)
    torch.testing.assert_close(sparse.embedding.weight.grad.to_dense(), dense.embedding.weight.grad)


def test_a_sparse_gradient_that_is_not_finite_is_named_and_left_as_it_is():
    tagger = Tagger(True, math.inf)
    with pytest.raises(NonFiniteError, match=r"embedding\.weight"):
        Clip.parse("norm:1").clip_(tagger.named_parameters())
    assert not tagger.embedding.weight.grad.is_coalesced()


def test_finished_gradients_may_be_sparse():
    gradient = Tagger(True, 1.0).embedding.weight.grad
    clipped, _ = Clip.parse("norm:0.5").clip({"embedding": gradient})
    expected = gradient.to_dense() * 0.5 / (gradient.to_dense().norm() + 1e-6)
    torch.testing.assert_close(clipped["embedding"].value(), expected)


def test_several_dtypes_are_clipped_together_each_to_its_own_rounding():
    dtypes = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    found = [nn.Parameter(torch.zeros(5, dtype=dtype)) for dtype in dtypes]
    generator = torch.Generator().manual_seed(0)
    for parameter in found:
        parameter.grad = torch.randn(5, generator=generator, dtype=torch.float64).to(parameter.dtype)
    before = [parameter.grad.double().clone() for parameter in found]
    Clip.parse("norm:0.5").clip_(found)
    factor = 0.5 / (torch.cat(before).norm() + 1e-6)
    for parameter, gradient in zip(found, before, strict=True):
        rtol = max(2 * torch.finfo(parameter.dtype).eps, 1e-13)  # the exact way takes logarithms
        torch.testing.assert_close(parameter.grad.double(), gradient * factor, rtol=rtol, atol=0)


def test_a_complex_gradient_is_clipped_by_its_norm_as_torch_does():
    ours, theirs = (nn.Parameter(torch.zeros(3, dtype=torch.complex64)) for _ in range(2))
    ours.grad = torch.tensor([3 + 4j, 1j, -2], dtype=torch.complex64)
    theirs.grad = ours.grad.clone()
    Clip.parse("norm:0.5").clip_(ours)
    clip_grad_norm_(theirs, 0.5)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_complex_gradients_without_parameters_are_refused_by_name():
    with pytest.raises(InvalidTypeError, match=r"complex64 in a\b"):
        Clip.parse("norm:1").clip({"a": torch.zeros(2, dtype=torch.complex64)})


def test_a_gradient_within_a_graph_is_clipped_in_place():
    parameter = nn.Parameter(torch.tensor([3.0, 4.0]))
    (gradient,) = torch.autograd.grad(parameter.pow(2).sum() / 2, parameter, create_graph=True)
    parameter.grad = gradient
    Clip.parse("norm:1").clip_(parameter)
    torch.testing.assert_close(parameter.grad.detach(), torch.tensor([0.6, 0.8]))


@pytest.mark.cuda
@pytest.mark.parametrize("scale", [1.0, 1e20])
@pytest.mark.parametrize("spec", SPECS)
def test_parameters_on_two_devices_are_clipped_together(spec, scale):
    both, alone = model(scale), model(scale)
    for parameter in (both.weight_hh_l0, both.bias_hh_l0):
        gradient = parameter.grad.cuda()
        parameter.grad = None
        parameter.data = parameter.data.cuda()
        parameter.grad = gradient
    report, expected = Clip.parse(spec).clip_(both.parameters()), Clip.parse(spec).clip_(alone.parameters())
    assert report.log10_after == pytest.approx(expected.log10_after, abs=1e-6)
    for one, other in zip(gradients(both), gradients(alone), strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_a_compressed_sparse_gradient_is_clipped_by_its_values():
    parameter = nn.Parameter(torch.zeros(2, 2).to_sparse_csr())
    parameter.grad = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).to_sparse_csr()
    Clip.parse("norm:1").clip_(parameter)
    assert parameter.grad.layout == torch.sparse_csr
    torch.testing.assert_close(parameter.grad.to_dense(), torch.diag(torch.tensor([0.6, 0.8])))


DISTRIBUTED = """
import torch.distributed as dist
from torch import nn, ones
from torch.distributed.tensor import DeviceMesh, distribute_tensor
from unrolled.gradients import Clip
dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
weight = nn.Parameter(distribute_tensor(ones(3), DeviceMesh("cpu", [0])))
weight.sum().backward()
try:
    Clip.parse("norm:1").clip_([("weight", weight)])
except TypeError as error:
    print(type(error).__name__, error)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_a_gradient_that_is_spread_over_processes_is_refused_in_one_line():
    """Its norm on one process is not its norm."""
    said = python("-c", DISTRIBUTED).stdout
    assert re.fullmatch(r"InvalidTypeError gradients: .*DTensor in weight.*\n", said)
