"""How the work is cut, grouped, called or watched leaves no trace in the result."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.gradients.test_flow_against_autograd import KINDS, make, sequence, states
from tests.spectrum import oracle
from unrolled.rollout import layer
from unrolled.spectrum import (
    jacobian_singular_values,
    lyapunov,
    lyapunov_spectrum,
    singular_values,
)
from unrolled.spectrum.tangents import random_directions

T, LAGS = 30, [1, 2, 13, 14, 30]
OPTIONS = {"plain": {}, "stack": {"num_layers": 2}, "both ways": {"num_layers": 2, "bidirectional": True}}
# Absolutely, in nats per step: QR at every step is the same wherever a cut falls, the sparing way nearly so.
# So is a rounding of the states, which lie elsewhere in memory in another layout and may be added up otherwise.
NEAR = {1: 1e-8, "auto": 1e-6}
DECADES = 3e-5  # of singular values


def network(kind, name="plain", batch=3, steps=T):
    """Driven gently: where exponents come close for long, what they are after 90 steps hangs on the last digit."""
    module = make(kind, **OPTIONS[name]).requires_grad_(False)
    if kind == "relu":  # all units are on
        for parameter in module.parameters():
            parameter.abs_().mul_(0.3 if parameter.dim() > 1 else 10)
    return module, 0.3 * sequence(batch=batch, steps=steps), states(module, batch=batch)


def agree(one, other, atol):
    """Every number of every system, `-inf` at the same places."""
    assert [part.system for part in one] == [part.system for part in other]
    for left, right in zip(one, other, strict=True):
        for name in ("values", "running", "log10"):
            if hasattr(left, name):
                np.testing.assert_allclose(getattr(left, name), getattr(right, name), atol=atol, rtol=0)


def cut(monkeypatch, steps):
    monkeypatch.setattr("unrolled.observed.call.FEWEST_STEPS", 1)
    monkeypatch.setattr(layer, "BLOCK_NUMBERS", 10**6)
    monkeypatch.setattr(layer, "BLOCK_STEPS", steps)


def group(monkeypatch, numbers):
    monkeypatch.setattr(lyapunov, "TANGENT_NUMBERS", numbers)
    monkeypatch.setattr(singular_values, "TANGENT_NUMBERS", numbers)


# Cuts in time


@pytest.mark.parametrize(("name", "steps"), [("plain", 1), ("plain", 13), ("stack", 7), ("both ways", 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_how_the_trajectory_is_cut(monkeypatch, kind, name, steps):
    module, x, start = network(kind, name)
    every = {qr: lyapunov_spectrum(module, x, state=start, warm_up=10, qr_every=qr) for qr in NEAR}
    values = jacobian_singular_values(module, x, LAGS, state=start)
    cut(monkeypatch, steps)
    for qr, expected in every.items():
        found = lyapunov_spectrum(module, x, state=start, warm_up=10, qr_every=qr)
        agree(found, expected, NEAR[qr])
    agree(jacobian_singular_values(module, x, LAGS, state=start), values, DECADES)


@pytest.mark.parametrize("steps", [1, 13])
@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM])
def test_a_spectrum_from_both_sides_does_not_depend_on_cuts_either(monkeypatch, cell, steps):
    torch.manual_seed(0)
    module, x = cell(4, 50, dtype=torch.float64), sequence(batch=2, steps=100)
    expected = lyapunov_spectrum(module, x, warm_up=20)
    cut(monkeypatch, steps)
    agree(lyapunov_spectrum(module, x, warm_up=20), expected, 1e-6)


# Groups of samples


@pytest.mark.parametrize(
    ("name", "numbers"), [("plain", 1), ("plain", 120), ("stack", 200), ("both ways", 200)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_how_samples_are_grouped(monkeypatch, kind, name, numbers):
    """One sample at a time and one lag at a time, or some."""
    module, x, start = network(kind, name, batch=3, steps=12)
    every = {qr: lyapunov_spectrum(module, x, state=start, qr_every=qr) for qr in NEAR}
    values = jacobian_singular_values(module, x, [1, 5, 12], state=start)
    group(monkeypatch, numbers)
    for qr, expected in every.items():
        agree(lyapunov_spectrum(module, x, state=start, qr_every=qr), expected, NEAR[qr])
    agree(jacobian_singular_values(module, x, [1, 5, 12], state=start), values, DECADES)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_the_results_of_its_samples_one_by_one(kind, name):
    module, x, start = network(kind, name)
    parts = start if isinstance(start, tuple) else (start,)
    spectrum = lyapunov_spectrum(module, x, state=start)
    values = jacobian_singular_values(module, x, LAGS, state=start)
    for sample in range(3):
        own = tuple(part[:, sample : sample + 1].contiguous() for part in parts)
        own = own if len(own) > 1 else own[0]
        alone = lyapunov_spectrum(module, x[:, sample : sample + 1], state=own)
        its = jacobian_singular_values(module, x[:, sample : sample + 1], LAGS, state=own)
        for together, one in zip(spectrum, alone, strict=True):
            np.testing.assert_allclose(together.values[sample], one.values[0], atol=1e-6)
        for together, one in zip(values, its, strict=True):
            np.testing.assert_allclose(together.log10[:, sample], one.log10[:, 0], atol=DECADES)


def test_samples_that_ask_for_different_intervals_do_not_spoil_each_other():
    """The interval is that of the batch: a wide spectrum beside a narrow one, here of 7 times the width."""
    torch.manual_seed(0)
    module = nn.RNN(4, 4, dtype=torch.float64).requires_grad_(False)
    nn.init.orthogonal_(module.weight_hh_l0)
    x = torch.randn(200, 2, 4, dtype=torch.float64) * torch.tensor([0.01, 4.0])[:, None]
    together = lyapunov_spectrum(module, x, warm_up=20).part().values
    for sample in range(2):
        alone = lyapunov_spectrum(module, x[:, sample : sample + 1], warm_up=20, qr_every=1).part().values
        np.testing.assert_allclose(together[sample], alone[0], atol=1e-7)
    assert np.ptp(together, axis=1)[1] > 4 * np.ptp(together, axis=1)[0]


# Ways to factorise


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_sparing_way_has_the_exponents_of_qr_at_every_step(kind, name):
    """Longer for a layer: that of a stack has exponents that come close."""
    module, x, start = network(kind, name, steps=T if name == "stack" else 200)
    expected = lyapunov_spectrum(module, x, state=start, warm_up=20, qr_every=1)
    agree(lyapunov_spectrum(module, x, state=start, warm_up=20), expected, 1e-6)


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("warm_up", [0, 1, 64])
def test_a_wide_spectrum_has_the_exponents_of_qr_at_every_step_with_any_warm_up(cell, warm_up):
    torch.manual_seed(0)
    module, x = cell(4, 48, dtype=torch.float64), sequence(batch=2, steps=100)
    expected = lyapunov_spectrum(module, x, warm_up=warm_up, qr_every=1)
    agree(lyapunov_spectrum(module, x, warm_up=warm_up), expected, 1e-6)


def saturated(x):
    """One unit of one sample is saturated to the last digit in one late step."""
    x = x.clone()
    x[80, 1] = 1e4
    return x


@pytest.mark.parametrize("qr_every", ["auto", 1])
def test_a_late_step_without_an_inverse_has_the_spectrum_from_the_upper_side_alone(qr_every, monkeypatch):
    monkeypatch.setattr(layer, "BLOCK_STEPS", 40)
    torch.manual_seed(0)
    module = nn.RNN(4, 48, dtype=torch.float64).requires_grad_(False)
    module.weight_ih_l0[1:] *= 0.1 / 1e4
    x, ticks = saturated(sequence(batch=2, steps=100)), []
    found = lyapunov_spectrum(
        module, x, warm_up=20, qr_every=qr_every, progress=lambda done, total: ticks.append((done, total))
    ).part()
    assert np.isneginf(found.values).sum(1).tolist() == [0, 1]
    expected = lyapunov_spectrum(module, x, warm_up=20, qr_every=1).part().values
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert ticks[-1] == (100, 100)
    assert ticks.count((100, 100)) == 1  # what is done over again was not done before


# Fewer exponents


SIXTEEN = {
    "tanh": lambda: nn.RNN(4, 16, dtype=torch.float64),
    "relu": lambda: nn.RNN(4, 16, nonlinearity="relu", dtype=torch.float64),
    "gru": lambda: nn.GRU(4, 16, dtype=torch.float64),
    "lstm": lambda: nn.LSTM(4, 8, dtype=torch.float64),
    "lstm-projected": lambda: nn.LSTM(4, 10, proj_size=6, dtype=torch.float64),
    "stack": lambda: nn.GRU(4, 8, num_layers=2, dtype=torch.float64),
}


@pytest.mark.parametrize("qr_every", ["auto", 1])
@pytest.mark.parametrize("kind", SIXTEEN)
def test_k_exponents_are_k_of_all(kind, qr_every):
    """At any time, as each vector is made orthogonal to those before it alone."""
    torch.manual_seed(0)
    module, x = SIXTEEN[kind](), sequence(steps=30, batch=2)
    every = lyapunov_spectrum(module, x, qr_every=qr_every).part()
    for k in range(1, 17):
        part = lyapunov_spectrum(module, x, qr_every=qr_every, k=k).part()
        assert part.values.shape == (2, k)
        assert part.complete == (k == 16)
        for some, of in zip(part.values, every.values, strict=True):
            for value in some:
                of = np.delete(of, at(value, of))


def at(value, among):
    """Where it is among these values, to 1e-6."""
    with np.errstate(invalid="ignore"):
        distance = np.where(among == value, 0, np.abs(among - value))
    assert distance.min() < 1e-6
    return int(distance.argmin())


@pytest.mark.parametrize("qr_every", ["auto", 1])
def test_k_exponents_are_the_largest(qr_every):
    module = oracle.relu_diagonal([0.2, 0.9, 0.05, 0.6, 0.4])
    x = torch.rand(200, 2, 5, dtype=torch.float64)
    expected = np.log([0.9, 0.6, 0.4, 0.2, 0.05])
    for k in range(1, 6):
        found = lyapunov_spectrum(module, x, k=k, warm_up=100, qr_every=qr_every).part().values
        np.testing.assert_allclose(found, [expected[:k]] * 2, atol=1e-7)


@pytest.mark.parametrize("size", [1, 3, 5, 9, 16, 33])
def test_fewer_directions_are_the_first_of_many(size):
    like = torch.empty(0, dtype=torch.float64)
    every = random_directions(size, size, like)
    torch.testing.assert_close(every @ every.T, torch.eye(size, dtype=torch.float64))
    for k in range(1, size + 1):
        torch.testing.assert_close(random_directions(size, k, like).abs(), every[:, :k].abs())


@pytest.mark.parametrize("qr_every", [1, 3, 7, 50])
def test_a_number_of_steps_between_factorisations_never_costs_the_digits(qr_every):
    module, x, start = network("lstm", "stack")
    expected = lyapunov_spectrum(module, x, state=start, qr_every=1)
    for part, alike in zip(lyapunov_spectrum(module, x, state=start, qr_every=qr_every), expected, strict=True):
        np.testing.assert_allclose(part.values, alike.values, atol=1e-6)


def test_a_system_smaller_than_k_has_all_of_its_exponents():
    module, x, start = network("lstm", "stack")
    every = lyapunov_spectrum(module, x, state=start)
    for k in (3, 10, 13, 20):
        some = lyapunov_spectrum(module, x, state=start, k=k)
        assert [part.k for part in some] == [min(k, 10), min(k, 10), k]
        for part, all_of_it in zip(some, every, strict=True):
            if part.complete:
                np.testing.assert_allclose(part.values, all_of_it.values, atol=NEAR["auto"])


# Ways to call


def test_a_layout_is_a_layout():
    module, x, start = network("gru", "stack")
    expected = lyapunov_spectrum(module, x, state=start)
    values = jacobian_singular_values(module, x, LAGS, state=start)
    first = make("gru", num_layers=2, batch_first=True)
    ways = {
        "batch first": (first, x.transpose(0, 1)),
        "packed": (module, pack_padded_sequence(x, [T] * 3)),
    }
    for model, given in ways.values():
        agree(lyapunov_spectrum(model, given, state=start), expected, NEAR["auto"])
        agree(jacobian_singular_values(model, given, LAGS, state=start), values, DECADES)
    alone = lyapunov_spectrum(module, x[:, 0], state=start[:, 0])
    agree(alone, lyapunov_spectrum(module, x[:, :1], state=start[:, :1]), NEAR["auto"])


class Inside(nn.Module):
    """The module reads what another one makes of the input, and starts from a learnt state."""

    def __init__(self, module, start):
        super().__init__()
        self.before, self.recurrent, self.start = nn.Linear(4, 4).double(), module, start

    def forward(self, x):
        return self.recurrent(input=self.before(x).tanh(), hx=self.start)[0].sum()


@pytest.mark.parametrize("kind", ["tanh", "lstm"])
def test_a_module_inside_a_model_is_run_on_what_it_reads_there(kind):
    module, x, start = network(kind)
    model = Inside(module, start)
    read = model.before(x).tanh().detach()
    expected = renamed(lyapunov_spectrum(module, read, state=start))
    agree(lyapunov_spectrum(model, x).parts, expected, NEAR["auto"])
    found = jacobian_singular_values(model, x, LAGS)
    agree(found.parts, renamed(jacobian_singular_values(module, read, LAGS, state=start)), DECADES)


def renamed(record):
    return [replace(part, system=replace(part.system, module="recurrent")) for part in record]


def test_nothing_else_changes():
    module, x, start = network("lstm", "both ways")
    module.requires_grad_(True).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    given, generator = x.clone(), torch.get_rng_state()
    lyapunov_spectrum(module, x, state=start)
    jacobian_singular_values(module, x, LAGS, state=start)
    # Nothing was written to: bytes and copies.
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(given, x)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
    assert module.training


# Progress


def watched(call):
    seen = []
    return call(lambda done, total: seen.append((done, total))), seen


@pytest.mark.parametrize("groups", [None, 120])
@pytest.mark.parametrize(("name", "total"), [("plain", 12), ("stack", 12), ("both ways", 48)])
def test_progress_adds_up_to_the_total_and_changes_nothing(monkeypatch, name, total, groups):
    module, x, start = network("gru", name, steps=12)
    expected = lyapunov_spectrum(module, x, state=start)
    values = jacobian_singular_values(module, x, [2, 12], state=start)
    cut(monkeypatch, 3)
    if groups:
        group(monkeypatch, groups)
    calls = (
        lambda progress: lyapunov_spectrum(module, x, state=start, progress=progress),
        lambda progress: jacobian_singular_values(module, x, [2, 12], state=start, progress=progress),
        lambda progress: jacobian_singular_values(module, x, [3, 5], state=start, progress=progress),
    )
    for call, result in zip(calls, (expected, values, None), strict=True):
        found, seen = watched(call)
        if result is not None:
            agree(found, result, DECADES)
        done = [each for each, _ in seen]
        assert {whole for _, whole in seen} == {total}
        assert done == sorted(done)
        assert done[-1] == total
        assert len(done) > 2


def test_progress_of_several_modules_is_that_of_all_their_steps():
    model = nn.ModuleList([make("gru"), make("tanh")])
    model.forward = lambda x: (model[0](x[:20]), model[1](x), model[0](x[:30]))
    _, seen = watched(lambda progress: lyapunov_spectrum(model, sequence(steps=90), progress=progress))
    assert seen[-1] == (140, 140)


def test_what_is_quick_draws_no_line(capsys):
    module, x, _ = network("gru")
    lyapunov_spectrum(module, x, progress=True)
    jacobian_singular_values(module, x, LAGS, progress=True)
    assert capsys.readouterr() == ("", "")
