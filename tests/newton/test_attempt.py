"""The few iterations that are tried beside a diagnosis: those of `parallel`, or none where it would cost too much."""

import pytest
import torch
from torch import nn

from unrolled.cells.initialisation import Init
from unrolled.gradients.reach import measure_reach
from unrolled.gradients.study import Study
from unrolled.gradients.study import measure as measure_gradflow
from unrolled.networks.textbook import Network
from unrolled.networks.workload import Workload
from unrolled.newton.attempt import attempt_all, in_words, worst
from unrolled.over_time.measure import parallel
from unrolled.spectrum.result import Settings, measure_spectrum


def network(gain=0.5, cell="rnn_tanh", hidden=16, steps=200, **sizes):
    workload = Workload(cell=cell, input_size=4, hidden_size=hidden, batch_size=2, seq_len=steps, **sizes)
    return Network(name=cell, workload=workload, init=Init("normal", hidden**-0.5), gain=gain)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_it_is_what_parallel_measures_of_the_first_sample(cell, bidirectional):
    made = network(1.0, cell, num_layers=2, bidirectional=bidirectional)
    module, x = made.module(), made.input()
    found = attempt_all(module, x)
    assert [(each.system.layer, each.system.direction) for each in found] == [
        (layer, way) for layer in range(2) for way in ("forward", "reverse")[: 1 + bidirectional]
    ]
    assert {each.steps for each in found} == {200}
    (most,) = parallel(module, x[:, :1], lengths=[200]).iterations["full"]
    assert worst(found).iterations == most
    assert worst(found).converged
    assert in_words(worst(found)) == f"yes, {most}"


def test_a_chaotic_network_is_given_up_at_a_tenth():
    made = network(3.0, hidden=32)
    (found,) = attempt_all(made.module(), made.input())
    assert (found.iterations, found.converged) == (20, False)
    assert in_words(found) == "no"


def test_one_that_was_given_up_is_worse_than_all_that_were_not():
    calm, wild = network(0.5), network(3.0, hidden=32)
    (fine,) = attempt_all(calm.module(), calm.input())
    (bad,) = attempt_all(wild.module(), wild.input())
    assert worst([bad, fine]) == worst([fine, bad]) == bad
    assert worst([]) is None
    assert in_words(None) == ""


def test_what_is_short_large_or_cannot_be_run_is_not_tried():
    short = network(steps=49)
    assert attempt_all(short.module(), short.input()) == ()
    large = network(hidden=512, steps=60)
    assert attempt_all(large.module(), large.input()) == ()
    middling = network(hidden=200, steps=200)
    (found,) = attempt_all(middling.module(), middling.input())
    assert 50 <= found.steps < 200  # as many as a second or two allows

    class Huge(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.table = nn.RNN(4, 8), nn.Parameter(torch.zeros(1).expand(3 * 10**7))

        def forward(self, x):
            return self.rnn(x)

    assert attempt_all(Huge(), middling.input()) == ()

    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(4, 8)

        def forward(self, x):
            raise KeyError("mine")

    assert attempt_all(Broken(), short.input()) == ()


def test_the_network_and_the_random_numbers_are_left_as_they_were():
    made = network(cell="lstm", num_layers=2, dropout=0.5)
    module, x = made.module().train(), made.input()
    before, state = {name: p.clone() for name, p in module.state_dict().items()}, torch.get_rng_state()
    assert len(attempt_all(module, x)) == 2
    assert torch.equal(state, torch.get_rng_state())
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == torch.float32


def test_reach_and_spectrum_have_it_in_their_rows_and_files(tmp_path):
    calm, wild = network(0.5), network(3.0, hidden=32)
    words = []
    for made in (calm, wild):
        reach = measure_reach(made)
        spectrum = measure_spectrum(made, "noise", Settings())
        (row,), (other,) = reach.rows(False), spectrum.rows(False)
        words.append(row["parallel"])
        assert row["parallel"].startswith("yes, ") == other["parallel"].startswith("yes, ")
        assert row["parallel"] in {each["parallel"] for each in reach.rows(True)}
    assert words[0].startswith("yes, ")
    assert words[1] == "no"
    study = measure_gradflow([calm], [], lengths=[], clips=["none"])
    study.save(tmp_path / "gradflow.json")
    assert Study.load(tmp_path / "gradflow.json").reaches[0].attempts == study.reaches[0].attempts != ()
    text = (tmp_path / "gradflow.json").read_text(encoding="utf-8")
    k = study.reaches[0].attempts[0].iterations
    (tmp_path / "bad.json").write_text(text.replace(f'"iterations": {k}', '"iterations": 21'), encoding="utf-8")
    with pytest.raises(Exception, match="at most a tenth"):
        Study.load(tmp_path / "bad.json")


def test_a_stack_and_a_profile_find_their_own_layers():
    made = network(1.0, "lstm", num_layers=2)
    spectrum = measure_spectrum(made, "noise", Settings())
    rows = {row["profile"]: row["parallel"] for row in spectrum.rows(True)}
    own = {each.system.label: in_words(each) for each in spectrum.attempts}
    assert {name: rows[name] for name in own} == own
    assert rows["LSTM.stack"] == in_words(worst(spectrum.attempts))
    reach = measure_reach(made)
    for row in reach.rows(True):
        layer = int(row["profile"].split(".l")[1][0])
        assert row["parallel"] == in_words(reach.attempts[layer])
