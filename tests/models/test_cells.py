"""Loops of cells: the same answers as torch's fused modules with their weights, in any range, clipped, cut and drawn."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.models import zoo
from tests.models.cases import B, drawn, squares, x
from unrolled.gradients import gradient_flow, step_gradient_flow, watch
from unrolled.rollout import runs
from unrolled.spectrum import jacobian_singular_values, lyapunov_spectrum

I, H = zoo.I, zoo.H
PAIRS = {
    "rnn": (nn.RNN, nn.RNNCell),
    "gru": (nn.GRU, nn.GRUCell),
    "lstm": (nn.LSTM, nn.LSTMCell),
}


class Scan(nn.Module):
    """A loop over one cell, with what becomes of the state before each step; all outputs, and the last state."""

    def __init__(self, cell, between=lambda t, state: state):
        super().__init__()
        self.cell, self.between = cell, between

    def forward(self, batch, state=None):
        outputs = []
        for t, x_t in enumerate(batch):
            result = self.cell(x_t, self.between(t, state))
            if isinstance(result, tuple) and isinstance(result[1], tuple):
                output, state = result
            else:
                output, state = result[0] if isinstance(result, tuple) else result, result
            outputs.append(output)
        return torch.stack(outputs), state


def pair(kind, dtype=torch.float64):
    """A fused module of one layer, and a loop over a cell that has its weights."""
    fused, cell = PAIRS[kind]
    module, own = fused(I, H, dtype=dtype), cell(I, H, dtype=dtype)
    torch.manual_seed(0)  # here, as the modules' own draws depend on the dtype
    with torch.no_grad():
        for name, parameter in own.named_parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, dtype=torch.float64))
            getattr(module, f"{name}_l0").copy_(parameter)
    return module, Scan(own)


def everything(result):
    """A loss that reads all outputs and the last c, each differently."""
    output, last = result
    last = last[1].flatten() if isinstance(last, tuple) else output[-1].flatten()
    return (output.cos() * torch.linspace(1, 2, H).to(output)).sum() + last.sin().sum()


@pytest.mark.parametrize("kind", PAIRS)
def test_a_loop_of_cells_has_the_flow_of_the_module_with_its_weights(kind):
    module, own = pair(kind)
    one, other = gradient_flow(module, x(40), everything), gradient_flow(own, x(40), everything)
    assert [p.path for p in one] == [p.path for p in other]
    for fused, looped in zip(one, other, strict=True):
        np.testing.assert_allclose(looped.samples, fused.samples, rtol=0, atol=2e-12)  # of log2: 1e-12 relative
    for name, _ in own.cell.named_parameters():
        expected = one.gradient(f"{name}_l0")
        torch.testing.assert_close(other.gradient(f"cell.{name}"), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_loop_of_cells_has_the_spectrum_of_the_module_with_its_weights(kind):
    module, own = pair(kind)
    (one,), (other,) = lyapunov_spectrum(module, x(40)), lyapunov_spectrum(own, x(40))
    np.testing.assert_allclose(other.values, one.values, rtol=0, atol=1e-9)
    (one,), (other,) = (jacobian_singular_values(m, x(40), [1, 5, 20]) for m in (module, own))
    np.testing.assert_allclose(other.log10, one.log10, rtol=0, atol=1e-8)


@pytest.mark.parametrize("what", ["flow", "watch"])
def test_path_c_counts_what_flows_through_h_of_the_same_step(monkeypatch, what):
    """Where one kernel computes a step, as on CUDA, the flow is of the separate equations and a watch says so."""
    module, own = pair("lstm")
    expected = gradient_flow(module, x(), everything)
    monkeypatch.setattr(runs, "ONE_KERNEL", {"cpu"})
    monkeypatch.setattr(torch, "lstm_cell", None, raising=False)
    if what == "watch":
        with watch(own, every=1) as watched:
            everything(own(x())).backward()
        assert "path c" in watched.history[0].problem
        return

    def fused(self, *arguments):
        raise AssertionError("the fused step was run")

    monkeypatch.setattr(nn.LSTMCell, "forward", fused)
    for start in (None, (torch.zeros(B, H).double(), torch.zeros(B, H).double())):
        flow = gradient_flow(own, (x(), start), everything)
        for one, other in zip(expected, flow, strict=True):
            np.testing.assert_allclose(other.samples, one.samples, rtol=0, atol=2e-12)
    unbatched = gradient_flow(own, x()[:, 0], lambda result: result[0][-1].sum())
    alone = gradient_flow(module, x()[:, 0], lambda result: result[0][-1].sum())
    for one, other in zip(alone, unbatched, strict=True):
        np.testing.assert_allclose(other.samples, one.samples, rtol=0, atol=2e-12)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_state_that_is_detached_ends_the_horizon_and_is_said(kind):
    _, own = pair(kind)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.mul_(0.1)
        for name, parameter in own.cell.named_parameters():
            if name == "weight_hh":
                parameter.copy_(torch.eye(H).repeat(len(parameter) // H, 1))  # so that 32 steps are no horizon

    def cut(t, state):
        if t == 0 or t % 32:
            return state
        return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()

    own.between = cut
    flow = gradient_flow(own, x(70), lambda result: result[0][-1].sum())
    for profile in flow:
        assert profile.steps == 70
        assert np.isfinite(profile.log2_norm[:6]).all()  # steps 65 to 70
        assert (profile.log2_norm[6:] == -np.inf).all()
    assert [note.split("step ")[1].split(",")[0] for note in flow.notes] == ["33", "65"]
    with watch(own, every=1) as watched:
        own(x(70))[0][-1].sum().backward()
    assert "detached before step 33" in watched.history[0].problem


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("of", ["torch", "own", "output and state"])
def test_a_loop_of_halvings_is_exact_beyond_any_dtype(of, dtype):
    """h' = h / 2 + x: the gradient at lag k is 2^-k, 10^-361 at the last."""

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.5, dtype=dtype))

        def forward(self, x_t, h):
            h = h[0] if isinstance(h, tuple) else h
            h = self.rate * (h if h is not None else torch.zeros_like(x_t)) + x_t
            return (h * 1, (h,)) if of == "output and state" else h

    cell = Half()
    if of == "torch":
        cell = nn.RNNCell(1, 1, nonlinearity="relu", bias=False, dtype=dtype)
        nn.init.constant_(cell.weight_hh, 0.5)
        nn.init.constant_(cell.weight_ih, 1.0)
    model = Scan(cell)
    flow = gradient_flow(
        model,
        torch.ones(1200, 1, 1, dtype=dtype),
        lambda r: r[0][-1].sum(),
        cells=() if of == "torch" else Half,
    )
    assert (flow.profile().log2_norm == -np.arange(1200)).all()
    assert np.isfinite(list(flow.parameters.values())).all()


@pytest.mark.parametrize("kind", PAIRS)
def test_float32_cells_reach_10_to_the_minus_300_as_float64_ones_do(kind):
    flows = {}
    for dtype in (torch.float32, torch.float64):
        _, own = pair(kind, dtype)
        with torch.no_grad():
            own.cell.weight_hh.mul_(0.02)
            if kind != "rnn":
                own.cell.bias_hh.fill_(0)
                own.cell.bias_hh[H : 2 * H].fill_(-4)  # a forget gate that forgets; an update gate that is open
        flows[dtype] = gradient_flow(own, x(260).to(dtype), lambda r: r[0][-1].sum()).profile().log10_norm
    assert flows[torch.float64][-1] < -300
    # Up to 260 factors, each rounded in float32 some times: 1e-4 relative, 5e-5 in log10, and some more.
    np.testing.assert_allclose(flows[torch.float32], flows[torch.float64], rtol=0, atol=2e-3)


@pytest.mark.parametrize("kind", ["lstm", "own", "output and state"])
def test_step_clipping_of_a_loop_is_a_backward_loop_with_a_bound(kind):
    torch.manual_seed(0)
    cell = {
        "lstm": lambda: nn.LSTMCell(I, H),
        "own": zoo.MinimalGated,
        "output and state": zoo.Adding,
    }[kind]().double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.6)
    sizes = {"lstm": (H, H), "own": (H,), "output and state": (H, 2)}[kind]
    first = tuple(torch.zeros(B, size).double() for size in sizes)
    first = first[0] if kind == "own" else first

    def loss(result):
        output, state = result
        return output[4].sum() + sum(part.sum() for part in (state if isinstance(state, tuple) else (state,)))

    bound = 0.3
    flow = gradient_flow(Scan(cell), (x(), first), loss, clip=f"step:{bound}", cells=type(cell))
    norms, gradients = backward_loop(copy.deepcopy(cell), first, bound)
    for path, expected in enumerate(norms):
        profile = list(flow)[path]
        np.testing.assert_allclose(np.exp2(profile.samples[::-1]), expected, rtol=1e-12, atol=0)
    for name, expected in gradients.items():
        torch.testing.assert_close(flow.gradient(f"cell.{name}"), expected, rtol=1e-10, atol=1e-12)


def backward_loop(cell, first, bound):
    """Step by step from the last, what comes to the state bounded jointly over its parts, sample by sample.

    What flows on within the step, through its output or from h to c, is counted in the norms, and is not bounded.
    """
    states, results = [first], []
    for x_t in x():
        given = torch.utils._pytree.tree_map(lambda part: part.detach().requires_grad_(), states[-1])
        result = cell(x_t, given)
        nested = isinstance(result, tuple) and isinstance(result[1], tuple)
        output, state = result if nested else (result[0] if isinstance(result, tuple) else result, result)
        results.append((given, output, state))
        states.append(torch.utils._pytree.tree_map(torch.Tensor.detach, state))
    leaves = torch.utils._pytree.tree_leaves
    carried = [torch.ones_like(part) for part in leaves(states[-1])]
    gradients, norms = {name: 0 for name, _ in cell.named_parameters()}, []
    for t in reversed(range(len(results))):
        given, output, state = results[t]
        parts, roots = leaves(state), [*leaves(state)]
        separate = all(output is not part for part in parts)
        if t == 4 and not separate:
            carried[0] = carried[0] + 1
        joint = torch.cat(carried, dim=1).norm(dim=1, keepdim=True)
        carried = [part * (bound / joint).clamp(max=1) for part in carried]
        cotangents = list(carried)
        if t == 4 and separate:
            roots, cotangents = [*roots, output], [*cotangents, torch.ones_like(output)]
        totals = torch.autograd.grad(roots, parts, cotangents, retain_graph=True)
        norms.append([part.norm(dim=1).numpy() for part in totals])
        wanted = [*leaves(given), *cell.parameters()]
        found = torch.autograd.grad(roots, wanted, cotangents, allow_unused=True)
        carried = list(found[: len(parts)])
        for name, gradient in zip(gradients, found[len(parts) :], strict=True):
            gradients[name] = gradients[name] + (0 if gradient is None else gradient)
    return [np.stack(path) for path in zip(*norms[::-1], strict=True)], gradients


def test_a_step_function_that_draws_numbers_is_linearised_with_those():
    """R3: dropout on the way into a cell."""
    torch.manual_seed(0)
    cell = nn.GRUCell(I, 20).double()
    first = drawn(B, 20, seed=4)

    def step(x_t, h):
        return cell(x_t, F.dropout(h, 0.3, True))

    torch.manual_seed(5)
    flow = step_gradient_flow(step, x(60), first, lambda states: squares(states[-1]))
    torch.manual_seed(5)
    h, states = first, []
    for x_t in x(60):
        h = step(x_t, h)
        h.retain_grad()
        states.append(h)
    squares(states[-1]).backward()
    expected = torch.stack([state.grad.norm(dim=1) for state in states]).flip(0)
    np.testing.assert_allclose(np.exp2(flow.profile().samples), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_loop_with_a_mask_and_noise_between_its_steps_is_linearised_with_those(noise):
    """R3, R7: a mask drawn once for the sequence, and noise on the state in the model and not in the cell."""
    torch.manual_seed(0)
    cell = nn.GRUCell(I, H).double()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, batch, kept=None):
            h = torch.zeros(B, H).double()
            mask = F.dropout(torch.ones_like(h), 0.5, True)
            for x_t in batch:
                h = self.cell(x_t, h * mask + noise * torch.randn_like(h))
                if kept is not None:
                    h.retain_grad()
                    kept.append(h)
            return h

    model, kept = Model(), []
    torch.manual_seed(5)
    flow = gradient_flow(model, x(), squares)
    torch.manual_seed(5)
    squares(model(x(), kept)).backward()
    (profile,) = flow
    expected = torch.stack([state.grad.norm(dim=1) for state in kept]).flip(0)
    np.testing.assert_allclose(np.exp2(profile.samples), expected, rtol=1e-12, atol=0)
