"""`scan`: an associative scan over time is the loop, for cells that are linear in their state, and refuses all others."""

import pytest
import torch
from examples.cells.lru import LRU
from examples.cells.min_gru import MinGRU
from examples.cells.minimal_gated_unit import MinimalGatedUnit
from examples.cells.peephole_lstm import PeepholeLSTM
from torch import nn

from unrolled.cells.build import Unrolled
from unrolled.errors import ImplementationError
from unrolled.implementations import implement, load
from unrolled.implementations.scan import states
from unrolled.networks.workload import Workload
from unrolled.speed.race import race

T, B, I, H = 11, 3, 4, 5


class Rotating(nn.Module):
    """A diagonal linear recurrent unit: complex states, a real output (Orvieto et al. 2023), and a count of steps."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.enter = nn.Linear(input_size, 2 * hidden_size)
        self.decay, self.angle = nn.Parameter(torch.rand(hidden_size)), nn.Parameter(torch.rand(hidden_size))
        self.leave = nn.Linear(hidden_size, hidden_size)

    def initial_state(self, batch_size):
        zeros = self.decay.new_zeros(batch_size, len(self.decay))
        return torch.complex(zeros, zeros), torch.zeros(batch_size, 1, dtype=torch.int64)

    def forward(self, x, state):
        h, steps = state
        turn = torch.polar(torch.exp(-self.decay), self.angle)
        h = turn * h + torch.complex(*self.enter(x).chunk(2, dim=-1))
        return self.leave(h.real) + 0.1 * steps, (h, steps + 1)


class Mixing(nn.Module):
    """Linear in its state, but not number by number."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.Linear(input_size + hidden_size, hidden_size)
        self.hidden_size = hidden_size

    def forward(self, x, h):
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        return self.cell(torch.cat([x, h], dim=-1))


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("length", [*range(1, 18), 50, 64])
def test_states_are_those_of_the_loop_and_so_are_their_gradients(length, dtype):
    a, b = torch.randn(2, length, B, H, dtype=dtype).requires_grad_()
    first = torch.randn(B, H, dtype=dtype, requires_grad=True)
    h, expected = first, []
    for a_t, b_t in zip(a, b, strict=True):
        h = a_t * h + b_t
        expected.append(h)
    expected, found = torch.stack(expected), states(a, b, first)
    scale = expected.detach().abs().amax()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12 * float(scale))
    ways = [torch.autograd.grad((each * each.conj()).real.sum(), [a, b, first]) for each in (found, expected)]
    for ours, theirs in zip(*ways, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12 * float(theirs.abs().max()))


@pytest.mark.parametrize("length", [1, 2, T])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("cell", [MinGRU, LRU, Rotating])
def test_it_is_the_loop(cell, bidirectional, length):
    loop = Unrolled(cell, I, H, num_layers=2, bidirectional=bidirectional).double()
    scanned = implement(load("scan"), loop)
    x = torch.randn(length, B, I, dtype=torch.float64, requires_grad=True)
    _, state = loop(x)  # of a call before this one
    state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
    for given in (None, state):
        results = []
        for call in (loop, scanned):
            output, last = call(x, given)
            parts = last if isinstance(last, tuple) else (last,)
            gradients = torch.autograd.grad(
                output.square().sum() + parts[0].abs().sum(), [x, *loop.parameters()]
            )
            results.append([output, *parts, *gradients])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("cell", [PeepholeLSTM, MinimalGatedUnit, Mixing])
def test_a_cell_that_is_not_linear_number_by_number_is_refused(cell):
    with pytest.raises(ImplementationError, match=rf"scan: expected .* number by number, got {cell.__name__}"):
        implement(load("scan"), Unrolled(cell, I, H))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_torch_s_own_modules_are_refused(kind):
    with pytest.raises(ImplementationError, match=rf"linear in its state, got {kind.__name__}"):
        implement(load("scan"), kind(I, H))


@pytest.mark.parametrize("phase", ["forward", "training"])
@pytest.mark.parametrize("cell", ["min_gru:MinGRU", "lru:LRU"])
def test_it_is_raced_as_equal_work(phase, cell):
    workload = Workload(cell=f"examples.cells.{cell}", input_size=I, hidden_size=H, batch_size=B, seq_len=T)
    assert race(workload, phase, "scan", budget=0.01).status == "ok"


def test_that_a_cell_is_tried_changes_no_random_number():
    loop = Unrolled(MinGRU, I, H)
    before = torch.random.get_rng_state()
    implement(load("scan"), loop)
    assert torch.equal(torch.random.get_rng_state(), before)
