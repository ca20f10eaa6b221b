"""`parallel`: the exponent's sign predicts what Newton's method then takes, of modules, of cells and of functions."""

import math

import numpy as np
import pytest
import torch
from examples.cells.leaky_rate import LeakyRate
from examples.cells.lru import LRU
from examples.cells.min_gru import MinGRU
from torch import nn

from unrolled.cells.build import Unrolled
from unrolled.cells.initialisation import Init
from unrolled.errors import InvalidTypeError, InvalidValueError, NonFiniteError
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.newton.attempt import attempt_all
from unrolled.over_time.exponent import student
from unrolled.over_time.measure import parallel, step_parallel
from unrolled.over_time.measured import Growth
from unrolled.over_time.record import Parallel
from unrolled.over_time.study import default_networks, measure
from unrolled.spectrum import lyapunov_spectrum


def inputs(steps, size=3, batch=2, seed=0):
    return torch.randn(steps, batch, size, generator=torch.Generator().manual_seed(seed))


def network(gain, hidden=16, cell="rnn_tanh", steps=400, seed=0, layers=1):
    workload = Workload(
        cell=cell, input_size=4, hidden_size=hidden, num_layers=layers, batch_size=1, seq_len=steps, seed=seed
    )
    return Network(
        name=f"{cell}, {gain:g}, {seed}", workload=workload, init=Init("normal", hidden**-0.5), gain=gain
    )


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_torchs_modules_are_solved_layer_by_layer_and_left_as_they_were(kind, bidirectional):
    torch.manual_seed(0)
    module = kind(3, 5, num_layers=2, bidirectional=bidirectional, batch_first=True)
    x = inputs(50).transpose(0, 1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = parallel(module, x, lengths=[25, 50])
    measured = found.measured[0]
    assert measured.error < 1e-7
    assert measured.full.converged == measured.diagonal.converged == (True, True)
    assert found.iterations["full"] == measured.full.counts
    assert max(measured.full.counts) < 10
    assert measured.state_size == (10 if kind is nn.LSTM else 5)
    assert module.weight_hh_l0.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert found.verdict.startswith("Parallel over time: yes, in ")


def test_the_exponent_is_that_of_the_spectrum_and_lies_in_its_interval():
    torch.manual_seed(0)
    module, x = nn.RNN(3, 8).double(), inputs(600).double()
    found = parallel(module, x, lengths=[10, 600])
    expected = lyapunov_spectrum(module, x, k=1, warm_up=120).part().mean[0]
    assert found.exponent.value == pytest.approx(expected, abs=1e-9)
    assert found.exponent.low < expected < found.exponent.high < 0
    assert found.exponent.is_sure


def test_of_a_few_steps_the_exponent_has_no_interval():
    found = parallel(nn.RNN(3, 4), inputs(20), lengths=[20])
    assert (found.exponent.low, found.exponent.high) == (-math.inf, math.inf)
    assert "though its interval has both signs" in found.verdict
    assert math.isnan(found.growth(found.measured[0]).power)


def test_intervals_hold_the_exponent_of_a_long_run():
    made = network(1.5, steps=40_000)
    module = made.module().double()
    x = made.input().double()
    truth = lyapunov_spectrum(module, x, k=1, warm_up=1000).part().mean[0]
    held = 0
    for k in range(20):
        part = x[2000 * k : 2000 * (k + 1)]
        exponent = parallel(module, part, lengths=[1], limit=1).exponent
        held += exponent.low <= truth <= exponent.high
    assert held >= 18  # 99 % each: fewer in one of a thousand such tests


class Mine(nn.Module):
    """A cell with an output apart from its state of two parts."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.into, self.back = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def initial_state(self, batch_size):
        size = self.back.in_features
        return torch.zeros(batch_size, size), torch.zeros(batch_size, size)

    def forward(self, x, state):
        fast, slow = state
        slow = 0.9 * slow + 0.1 * fast
        fast = torch.tanh(self.into(x) + self.back(fast) - slow)
        return fast + slow, (fast, slow)


def test_a_cell_of_ones_own_and_the_same_as_a_function_take_the_same_iterations():
    torch.manual_seed(0)
    module, x = Unrolled(Mine, 3, 4).double(), inputs(80).double()
    cell = module.cells[0]
    found = parallel(module, x, lengths=[40, 80], cells=(Mine,))
    state = cell.initial_state(2)
    state = tuple(part.double() for part in state)
    other = step_parallel(lambda x, s: cell(x, s)[1], x, state, lengths=[40, 80])
    assert found.iterations == other.iterations
    assert found.exponent.value == pytest.approx(other.exponent.value, abs=1e-9)
    assert found.measured[0].error < 1e-7
    assert found.measured[0].state_size == 8


@pytest.mark.parametrize("cell", [MinGRU, LRU])
def test_a_linear_recurrence_takes_one_iteration_however_long(cell):
    torch.manual_seed(0)
    found = parallel(Unrolled(cell, 3, 4), inputs(300), lengths=[1, 10, 300], cells=(cell,))
    assert found.iterations == {"full": (1, 1, 1), "diagonal": (1, 1, 1)}
    assert found.measured[0].forgets
    assert found.measured[0].predicted
    assert found.verdict.startswith("Parallel over time: yes, in 1 iteration at T = 300")


def two_ways_to_go_on(gain):
    """`h_t = tanh(gain h_{t-1} + x_t)`: above gain 1 it stays on the side where it is, unless the input is large."""
    module = nn.RNN(1, 1, bias=False).double()
    with torch.no_grad():
        module.weight_hh_l0.fill_(gain)
        module.weight_ih_l0.fill_(0.01)
    return module


@pytest.mark.parametrize(("gain", "forgets"), [(0.5, True), (0.9, True), (1.5, False), (3.0, False)])
def test_where_there_are_two_stable_trajectories_it_does_not_forget_how_it_began(gain, forgets):
    module, x = two_ways_to_go_on(gain), inputs(300, size=1, batch=1).double()
    start = torch.full((1, 1, 1), 0.5, dtype=torch.float64)
    found = parallel(module, x, lengths=[100, 300], state=start)
    assert found.exponent.value < 0
    assert found.measured[0].forgets == forgets
    assert found.measured[0].predicted == forgets
    assert ("but that it does not forget how it began" in found.verdict) == (not forgets)


def test_that_it_is_asked_whether_it_forgets_draws_no_random_number():
    module, x = nn.RNN(3, 4), inputs(40)
    state = torch.get_rng_state()
    parallel(module, x, lengths=[40])
    assert torch.equal(state, torch.get_rng_state())


class Turning(nn.Module):
    """A complex state, which turns."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.angle = nn.Parameter(torch.ones(hidden_size))

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, len(self.angle), dtype=torch.complex64)

    def forward(self, x, h):
        return torch.polar(torch.full_like(self.angle, 0.9), self.angle) * h + x.sum(-1, keepdim=True)


@pytest.mark.parametrize("of", [parallel, lyapunov_spectrum])
def test_a_complex_state_is_refused_in_a_line(of):
    options = {"lengths": [20]} if of is parallel else {}
    with pytest.raises(
        InvalidTypeError, match=r"expected a state of real numbers, got torch.complex.*view_as_real"
    ):
        of(Unrolled(Turning, 3, 4), inputs(20), cells=(Turning,), **options)


def test_torchs_cell_in_a_loop_takes_what_the_fused_module_takes():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(3, 4)

        def forward(self, x):
            h = x.new_zeros(x.shape[1], 4)
            for x_t in x:
                h = self.cell(x_t, h)
            return h

    torch.manual_seed(0)
    model, fused = Model(), nn.GRU(3, 4)
    for name, value in model.cell.named_parameters():
        getattr(fused, f"{name}_l0").data.copy_(value.data)
    one, other = (parallel(each, inputs(60), lengths=[30, 60]) for each in (model, fused))
    assert one.iterations == other.iterations
    assert one.exponent.value == pytest.approx(other.exponent.value, abs=1e-6)


def test_the_memory_is_that_of_the_jacobians():
    found = parallel(nn.LSTM(3, 5), inputs(40), lengths=[20, 40])
    assert found.memory(found.measured[0]) == 40 * 2 * 10 * 10 * 8


def test_growth_of_a_power_is_that_power():
    lengths = (100, 200, 400, 800)
    exact = Growth.of(lengths, tuple(int(t) for t in lengths))
    assert (exact.power, exact.error) == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    x, y = np.log(lengths), np.log((10, 15, 19, 30))
    (power, _), covariance = np.polyfit(x, y, 1, cov=True)
    found = Growth.of(lengths, (10, 15, 19, 30))
    assert (found.power, found.error) == (pytest.approx(power), pytest.approx(covariance[0, 0] ** 0.5))


def test_quantiles_of_student_are_those_of_tables():
    for degrees, expected in ((4, 4.604), (9, 3.250), (31, 2.744), (1000, 2.581)):
        assert student(degrees) == pytest.approx(expected, rel=0.01)


def random_network(seed):
    """A kind, a gain and a size by chance."""
    rng = np.random.default_rng(seed)
    cell = ("rnn_tanh", "rnn_tanh", "rnn_tanh", "gru", "lstm")[rng.integers(5)]
    hidden = int(rng.choice([16, 24, 32]))
    return cell, hidden, float(rng.uniform(0.3, 3.0))


def test_where_it_is_clear_the_sign_of_the_exponent_tells_of_random_networks():
    """Near 0 it is no good guide."""
    predicted = []
    for seed in range(10):
        cell, hidden, gain = random_network(seed)
        study = measure([network(gain, hidden, cell, steps=400, seed=seed)], (100, 200, 400), 1e-8)
        (found,) = study.measured
        if not -0.1 < found.exponent.value < 0.05:
            assert study.holds(found), (seed, found)
            predicted.append(found.predicted)
    assert len(predicted) >= 5
    assert set(predicted) == {False, True}


def test_a_study_goes_to_a_file_and_comes_back(tmp_path):
    workload = Workload(cell="rnn_tanh", input_size=3, hidden_size=4, num_layers=1, batch_size=1, seq_len=40)
    kept = []
    study = measure(default_networks(workload), (20, 40), 1e-8, keep=kept.append)
    assert [len(each.measured) for each in kept] == list(range(1, 9))
    study.save(tmp_path / "parallel.json")
    again = Parallel.load(tmp_path / "parallel.json")
    assert again.measured == study.measured
    assert list(again.iterations_frame().columns[:4]) == ["network", "jacobian", "length", "iterations"]
    assert len(again.iterations_frame()) == 8 * 2 * 2
    assert len(again.networks_frame()) == 8


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lengths": [20, 10]}, InvalidValueError, "lengths: expected increasing numbers of steps, got 20,10"),
        ({"lengths": []}, InvalidValueError, "lengths: expected increasing numbers of steps, got none"),
        (
            {"lengths": [100]},
            InvalidValueError,
            "lengths: expected at most the 30 steps of the inputs, got 100",
        ),
        ({"lengths": "10"}, InvalidTypeError, "lengths: expected numbers of steps, got '10'"),
        ({"lengths": [10], "tolerance": 0.0}, InvalidValueError, "tolerance: expected a number above 0, got 0"),
        (
            {"lengths": [10], "tolerance": "1"},
            InvalidTypeError,
            "tolerance: expected a number above 0, got '1'",
        ),
        ({"lengths": [10], "limit": 0}, InvalidValueError, "limit: expected an integer of at least 1"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        parallel(nn.RNN(3, 4), inputs(30), **options)


def test_a_network_that_overflows_is_named():
    module = nn.RNN(3, 4, nonlinearity="relu")
    with torch.no_grad():
        module.weight_hh_l0.copy_(100 * torch.eye(4))
    with pytest.raises(NonFiniteError):
        parallel(module, inputs(400).abs(), lengths=[400])


def test_a_cell_that_draws_numbers_is_refused_and_shown_as_not_tried():
    """Its steps are others each time that they are asked for."""
    module = Unrolled(LeakyRate, 3, 4)
    with pytest.raises(InvalidValueError, match=r"LeakyRate.*x_t and their own state alone.* draws as inputs"):
        parallel(module, inputs(60), lengths=[60], cells=(LeakyRate,))
    assert attempt_all(module, inputs(60), cells=(LeakyRate,)) == ()


def test_a_function_that_mixes_its_samples_is_refused():
    def step(x, s):
        return torch.tanh(x + s - s.mean(0))

    with pytest.raises(InvalidValueError, match="normalise no batches"):
        step_parallel(step, inputs(40, size=4), torch.zeros(2, 4), lengths=[40])


def test_a_function_that_returns_another_state_is_refused():
    with pytest.raises(InvalidValueError, match="return the whole next state"):
        step_parallel(lambda x, s: s[:, :2], inputs(10), torch.zeros(2, 4), lengths=[10])


def test_what_is_given_up_at_one_length_is_not_tried_at_a_longer_one():
    """The iterates of early steps do not depend on later ones, so it would be given up there too."""
    made = network(3.0, hidden=32)
    study = measure([made], (50, 200, 400), 1e-8, limit=45)
    (found,) = study.measured
    assert found.full.converged == (True, False, False)
    assert found.full.counts[1:] == (45, 45)
    assert math.isnan(study.growth(found).power)  # of a single length
    longest = measure([made], (400,), 1e-8, limit=45).measured[0]
    assert (longest.full.counts, longest.full.converged) == ((45,), (False,))
