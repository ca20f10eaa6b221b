"""One entry adds a kind: here the minimal gated unit, with a linearisation of its own."""

import pytest
import torch
from torch import nn

from tests.cells.helpers import (
    B,
    H,
    I,
    T,
    autograd_jacobians,
    linearised,
    pulled_jacobians,
    pushed_jacobians,
    random_inputs,
    random_state,
    random_weights,
)
from tests.processes import python
from unrolled import Workload, cells, gradient_flow, lyapunov_spectrum, race
from unrolled.cells import CELLS, cell_named, cell_of, check_cell, register, title_of
from unrolled.cells.cell import Cell, Gate
from unrolled.cells.linearised import Linearised, PullBack, summed
from unrolled.cells.push_forward import PushForward
from unrolled.cells.weights import Weights, add_outer
from unrolled.errors import ImplementationError, InvalidTypeError, InvalidValueError
from unrolled.implementations import load
from unrolled.shapes.configuration import Configuration
from unrolled.shapes.measure import describe


class MGUCell(nn.Module):
    """What runs it: one step by the equations of the kind."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        for name, shape in MGU().shapes(input_size, hidden_size).items():
            setattr(self, name, nn.Parameter(0.5 * torch.randn(shape)))

    def forward(self, x, h):
        h = x.new_zeros(len(x), H) if h is None else h
        weights = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, None)
        return MGU().step(weights, x, (h,))[0]


class MGU(Cell):
    """`f = σ(W_f x + U_f h + b)`, `n = tanh(W_n x + U_n (f h) + b)`, `h' = (1 - f) h + f n` (Zhou et al. 2016)."""

    name, title = "mgu", "MGU"
    gates = (Gate("f", "forget gate"), Gate("n", "new gate"))
    stepped = MGUCell
    candidate = "n"
    at_rest = (0.5, 0.25)

    def step(self, weights, x, state):
        (h,) = state
        x_f, x_n = weights.from_x(x).chunk(2, dim=-1)
        u_f, u_n = weights.weight_hh.chunk(2)
        b_f, b_n = weights.bias_hh.chunk(2)
        f = torch.sigmoid(x_f + h @ u_f.t() + b_f)
        return ((1 - f) * h + f * torch.tanh(x_n + (f * h) @ u_n.t() + b_n),)

    def linearise(self, weights, x, h, c, buffers):
        return LinearisedMGU(weights, x, h)


class LinearisedMGU(Linearised):
    """`δ_n = f (1 - n²) h̄`, `p̄ = U_nᵀ δ_n` of `p = f h`, `δ_f = f(1 - f) ((n - h) h̄ + h p̄)`."""

    def __init__(self, weights, x, h):
        self.weights, self.x, self.h = weights, x, h
        self.u_f, self.u_n = weights.weight_hh.chunk(2)
        b_f, b_n = weights.bias_hh.chunk(2)
        x_f, x_n = weights.from_x(x).chunk(2, dim=-1)
        before = h[:-1]
        self.f = torch.sigmoid(x_f + before @ self.u_f.t() + b_f)
        n = torch.tanh(x_n + (self.f * before) @ self.u_n.t() + b_n)
        self.to_n, self.to_f, self.moved = self.f * (1 - n * n), self.f * (1 - self.f), n - before

    def pull_back(self):
        return PullBackMGU(self)

    def push_forward(self):
        return PushForwardMGU(self)


class PullBackMGU(PullBack):
    def __init__(self, block):
        self.block = block
        self.cotangents = (torch.empty_like(block.h),)
        self.delta = block.f.new_empty(*block.f.shape[:2], 2 * H)

    def pull(self, first, last):
        block, (h_bar,) = self.block, self.cotangents
        for t in range(last - 1, first - 1, -1):
            to_n = block.to_n[t] * h_bar[t + 1]
            p_bar = to_n @ block.u_n
            to_f = block.to_f[t] * (block.moved[t] * h_bar[t + 1] + block.h[t] * p_bar)
            self.delta[t] = torch.cat((to_f, to_n), dim=-1)
            h_bar[t] += (1 - block.f[t]) * h_bar[t + 1] + block.f[t] * p_bar + to_f @ block.u_f

    def add_gradients(self, power, sums):
        weighted, before = self.delta * power, self.block.h[:-1]
        add_outer(sums["weight_ih"], weighted, self.block.x)
        add_outer(sums["weight_hh"][:H], weighted[..., :H], before)
        add_outer(sums["weight_hh"][H:], weighted[..., H:], self.block.f * before)
        for name in ("bias_ih", "bias_hh"):
            sums[name] += summed(self.delta, power)

    def input_cotangent(self):
        return self.delta @ self.block.weights.weight_ih


class PushForwardMGU(PushForward):
    def __init__(self, block):
        self.block, self.size, self.output_size = block, H, H

    def step(self, t, v, out, below=None):
        block, batch = self.block, self.block.h.shape[1]
        w_f, w_n = block.weights.weight_ih.chunk(2)
        rows = v.view(H, batch, -1).permute(1, 2, 0)  # (B, k, H)
        into_f, into_n = rows @ block.u_f.t(), 0
        if below is not None:
            inputs = below.view(len(below), batch, -1).permute(1, 2, 0)
            into_f, into_n = into_f + inputs @ w_f.t(), inputs @ w_n.t()
        f, to_n, to_f, moved, h = (
            plane[t].unsqueeze(1) for plane in (block.f, block.to_n, block.to_f, block.moved, block.h)
        )
        f_dot = to_f * into_f
        into_n = into_n + (f_dot * h + f * rows) @ block.u_n.t()
        after = (1 - f) * rows + moved * f_dot + to_n * into_n
        out.copy_(after.permute(2, 0, 1).reshape(out.shape))


@pytest.fixture
def mgu(monkeypatch):
    monkeypatch.setattr(cells, "_KINDS", dict(cells._KINDS))
    register("mgu", f"{__name__}:MGU")
    return cell_named("mgu")


def test_a_kind_that_was_registered_is_pulled_back_and_pushed_forward_as_autograd_says(mgu):
    x, weights, state = random_inputs(), random_weights(mgu), random_state(mgu)
    block, states = linearised(mgu, weights, x, state)
    expected = autograd_jacobians(mgu, weights, x, states)
    for found in (pushed_jacobians(block, x, H), pulled_jacobians(block, x, (H,))):
        for jacobian, truth in zip(found, expected, strict=True):
            torch.testing.assert_close(jacobian, truth, rtol=1e-14, atol=1e-14)  # fifty roundings
    assert expected[0].shape == (T, B, H, H)


def test_all_four_questions_are_answered_for_a_kind_that_was_registered(mgu):
    workload = Workload(
        cell="mgu", input_size=I, hidden_size=H, batch_size=B, seq_len=T, num_layers=2, dtype="float64"
    )
    raced = race(workload, "training", load("fused"), budget=0.01)
    assert raced.status == "ok"

    module, x = workload.reference(), workload.input()
    flow = gradient_flow(module, x, lambda result: (result[0] ** 2).sum())
    lower, upper = module.cells
    states, h = [], [None, None]
    for x_t in x:
        h[0] = lower(x_t, h[0])
        h[1] = upper(h[0], h[1])
        states.append(tuple(h))
        for part in h:
            part.retain_grad()
    sum((upper_h**2).sum() for _, upper_h in states).backward()
    for layer in (0, 1):
        expected = torch.stack([parts[layer].grad.norm(dim=-1) for parts in states]).flip(0).log2()
        found = torch.from_numpy(flow.profile(layer=layer).samples)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)  # of numbers near 1, in float64

    spectrum = lyapunov_spectrum(module, x, qr_every=1)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda h, x_t: lower(x_t[None], h[None])[0]))
    q, total = torch.eye(H, dtype=torch.float64).expand(B, H, H), 0.0
    before = torch.zeros(B, H, dtype=torch.float64)
    for x_t, (after, _) in zip(x, states, strict=True):
        q, r = torch.linalg.qr(jacobians(before, x_t).detach() @ q)
        total, before = total + r.diagonal(dim1=-2, dim2=-1).abs().log(), after.detach()
    found = torch.from_numpy(spectrum.part("l0").values).sum(-1)
    torch.testing.assert_close(
        found, (total / T).sum(-1), rtol=1e-10, atol=1e-12
    )  # ln |det|, whatever the start

    shapes = describe(Configuration(workload=workload, form="cells"))
    assert shapes.agrees
    assert {parameter.shape for parameter in shapes.parameters} >= {(2 * H, I), (2 * H, H), (2 * H,)}


def test_a_kind_that_was_registered_is_known_by_name_title_and_module(mgu):
    check_cell("mgu")
    assert mgu.shapes(I, H)["weight_hh"] == (2 * H, H)
    assert title_of("mgu") == "MGU"
    assert mgu.has_forget_gate
    assert cell_of(MGUCell(I, H)) is mgu


def test_a_subclass_of_a_module_may_be_a_kind_of_its_own(mgu, monkeypatch):
    class Mine(nn.LSTMCell):
        pass

    assert cell_of(Mine(I, H)).name == "lstm"
    monkeypatch.setattr(MGU, "stepped", Mine)
    assert cell_of(Mine(I, H)) is mgu


@pytest.mark.parametrize(
    ("name", "where"), [("lstm", "a:B"), ("no name", "a:B"), ("mine", "a.B"), ("mine", ":B")]
)
def test_a_name_that_is_taken_or_a_path_of_another_form_is_not_registered(mgu, name, where):
    with pytest.raises(InvalidValueError, match=name):
        register(name, where)


def test_what_is_no_kind_is_refused_by_name_or_by_type(monkeypatch):
    with pytest.raises(InvalidValueError, match="lstn"):
        cell_named("lstn")
    with pytest.raises(InvalidTypeError, match="Linear"):
        cell_of(nn.Linear(1, 1))
    monkeypatch.setattr(cells, "_KINDS", {"lost": "nowhere_at_all:Lost"})
    with pytest.raises(ImplementationError, match="nowhere_at_all"):
        cell_named("lost")


@pytest.mark.parametrize("name", [*CELLS, "package:Name", "package.module:Name"])
def test_names_of_kinds_and_paths_are_cells(name):
    check_cell(name)


@pytest.mark.parametrize("name", ["lstn", "", ":", "package:", ":Name", "package.:Name", "a:b:c", 3, None])
def test_anything_else_is_no_cell(name):
    with pytest.raises(InvalidValueError, match="cell"):
        check_cell(name)


def test_names_are_checked_and_listed_without_torch():
    code = (
        "import sys; from unrolled.cells import CELLS, check_cell, register; "
        "register('mine', 'a:B'); [check_cell(name) for name in (*CELLS, 'mine', 'a.b:C')]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert python("-c", code).returncode == 0


def test_the_gates_counted_without_torch_are_those_of_the_kinds():
    assert {name: len(cell_named(name).gates) for name in CELLS} == cells.GATES
