"""Which rows are which gate, shown by what the module does when a gate is forced open or shut."""

import pytest
import torch

from tests.shapes.helpers import T, configuration
from unrolled.cells import CELLS, cell_named
from unrolled.shapes.measure import describe

OPEN, SHUT = 100.0, -100.0  # as biases: a logistic sigmoid is 1 and below 1e-40
EPSILON = torch.finfo(torch.float64).eps


@pytest.fixture(params=[0, 2], ids=["plain", "projected"])
def lstm(request):
    return configuration("lstm", proj_size=request.param)


@pytest.fixture
def gru():
    return configuration("gru")


def run(configuration, steps=T, state=None, **biases):
    """The final state of a module of which the rows said to be a gate got a huge bias."""
    module = configuration.reference()
    (bias,) = (parameter for parameter in describe(configuration).parameters if parameter.name == "bias_ih_l0")
    assert {rows.gate for rows in bias.rows} == {
        gate.letter for gate in cell_named(configuration.workload.cell).gates
    }
    with torch.no_grad():
        for rows in bias.rows:
            if rows.gate in biases:
                module.bias_ih_l0[rows.start : rows.stop] = biases[rows.gate]
        return module(configuration.input()[:steps], configuration.state() if state is None else state)[1]


def test_an_open_forget_gate_and_a_shut_input_gate_hold_the_cell_state(lstm):
    _, c_0 = lstm.state()
    _, c_n = run(lstm, f=OPEN, i=SHUT)
    # A sigmoid of 1, to one rounding or exactly, is multiplied by at each step.
    torch.testing.assert_close(c_n, c_0, rtol=2 * T * EPSILON, atol=1e-30)


def test_a_shut_forget_gate_forgets_and_the_open_input_gate_lets_the_cell_gate_in(lstm):
    for value in (OPEN, SHUT):  # only the cell gate has a tanh, and so a sign
        _, c_n = run(lstm, f=SHUT, i=OPEN, g=value)
        torch.testing.assert_close(c_n, torch.full_like(c_n, 1.0 if value > 0 else -1.0))


def test_a_shut_output_gate_hides_the_cell_state(lstm):
    h_n, c_n = run(lstm, o=SHUT)
    assert h_n.abs().max() < EPSILON
    assert c_n.abs().min() > 1e-3


def test_an_open_update_gate_holds_the_hidden_state_of_a_gru(gru):
    torch.testing.assert_close(run(gru, z=OPEN), gru.state(), rtol=1e-14, atol=1e-15)  # as n + z (h - n)


def test_a_shut_update_gate_takes_the_new_gate_of_a_gru(gru):
    for value in (OPEN, SHUT):  # only the new gate has a tanh, and so a sign
        h_n = run(gru, z=SHUT, n=value)
        torch.testing.assert_close(h_n, torch.full_like(h_n, 1.0 if value > 0 else -1.0))


def test_a_shut_reset_gate_keeps_the_hidden_state_out_of_the_new_gate_of_a_gru(gru):
    one, other = gru.state(), gru.state().flip(-1)
    shut = [run(gru, steps=1, state=state, z=SHUT, r=SHUT) for state in (one, other)]
    opened = [run(gru, steps=1, state=state, z=SHUT, r=OPEN) for state in (one, other)]
    torch.testing.assert_close(*shut, rtol=0, atol=16 * EPSILON)  # a tanh of the same sum, in any order
    assert (opened[0] - opened[1]).abs().max() > 0.01


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("proj_size", [0, 2])
def test_gates_share_the_rows_of_every_parameter_without_gap_or_overlap(name, proj_size):
    found = describe(configuration(name, proj_size=proj_size if name == "lstm" else 0))
    for parameter in found.parameters:
        edges = [rows.start for rows in parameter.rows] + [parameter.shape[0]]
        assert [rows.stop for rows in parameter.rows] == edges[1:]
        assert edges[0] == 0
        expected = 1 if "weight_hr" in parameter.name else len(cell_named(name).gates)
        assert len(parameter.rows) == expected
