"""Initialisations as the field defines them, and the textbook networks doing what the textbook says."""

import math

import pytest
import torch

from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.errors import UnrolledError
from unrolled.gradients.reach import last_layer, measure_reach
from unrolled.networks.textbook import Network, length_networks, networks

SMALL = Workload(cell="rnn_tanh", input_size=3, hidden_size=16, batch_size=2, seq_len=41, dtype="float64")


def module(cell="rnn_tanh", layers=1, **options):
    workload = SMALL.replace(cell=cell, num_layers=layers)
    if "init" in options:
        options["init"] = Init.parse(options["init"])
    return Network(name="a network", workload=workload, **options).module()


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_orthogonal_recurrent_weights_have_every_singular_value_at_the_gain(cell, gain):
    for name, weight in module(cell, layers=2, init="orthogonal", gain=gain).named_parameters():
        if name.startswith("weight_hh"):
            for gate in weight.detach().chunk(len(weight) // 16):
                torch.testing.assert_close(
                    torch.linalg.svdvals(gate), torch.full((16,), gain).double(), rtol=1e-12, atol=0
                )


def test_identity_is_the_identity_without_biases():
    network = module("rnn_relu", init="identity", gain=0.9)
    assert torch.equal(network.weight_hh_l0.detach(), 0.9 * torch.eye(16).double())  # 0.9 times 1 and 0
    assert not network.bias_ih_l0.any()
    assert not network.bias_hh_l0.any()


def test_normal_weights_have_the_deviation_asked_for():
    weights = Network(
        name="", workload=SMALL.replace(hidden_size=200), init=Init.parse("normal:0.3"), gain=2.0
    ).module().weight_hh_l0  # fmt: skip
    assert float(weights.detach().std()) == pytest.approx(0.6, rel=0.02)
    assert float(weights.detach().mean()) == pytest.approx(0, abs=0.01)


def test_chrono_forget_gates_keep_the_state_for_one_to_t_minus_one_steps():
    """Tallec, Ollivier 2018: b_f = ln u, b_i = -b_f, u uniform between 1 and T - 1."""
    network = module("lstm", layers=2, init="chrono:200")
    for layer in range(2):
        bias = getattr(network, f"bias_ih_l{layer}") + getattr(network, f"bias_hh_l{layer}")
        i, f, _, _ = bias.detach().chunk(4)
        u = f.exp()  # of a logarithm: the ends to some roundings
        assert ((u >= 1 - 1e-14) & (u <= 199 * (1 + 1e-14))).all()
        assert u.max() > 2 * u.min()
        assert torch.equal(i, -f)  # a sign is exact, and so is the sum with a second bias of 0
        kept = torch.sigmoid(f)
        torch.testing.assert_close(kept, u / (1 + u))


def test_chrono_gru_keeps_the_state_with_its_update_gate():
    network = module("gru", init="chrono:50")
    _, z, _ = (network.bias_ih_l0 + network.bias_hh_l0).detach().chunk(3)
    assert ((z.exp() >= 1 - 1e-14) & (z.exp() <= 49 * (1 + 1e-14))).all()


def test_forget_bias_is_the_sum_of_both_of_torchs_biases():
    network = module("lstm", forget_bias=3.0)
    assert ((network.bias_ih_l0 + network.bias_hh_l0).detach().chunk(4)[1] == 3).all()  # 3 + 0
    assert not torch.equal(network.bias_ih_l0.detach().chunk(4)[0], torch.zeros(16).double())


def test_default_initialisation_is_torchs_own():
    ours, torchs = module(), SMALL.reference()
    # One seed, one process, nothing computed.
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), torchs.parameters(), strict=True))


def test_gain_multiplies_recurrent_weights_and_nothing_else():
    plain, scaled = dict(module().named_parameters()), dict(module(gain=3.0).named_parameters())
    for name, value in plain.items():
        factor = 3.0 if name.startswith("weight_hh") else 1.0
        assert torch.equal(factor * value, scaled[name])  # one product, which IEEE 754 rounds one way


def test_the_same_seed_gives_the_same_network_and_input_and_another_seed_another():
    one, same = (networks(SMALL)[2] for _ in range(2))  # one seed, one process
    other = networks(SMALL.replace(seed=1))[2]
    assert torch.equal(one.module().weight_hh_l0, same.module().weight_hh_l0)
    assert torch.equal(one.input(7), same.input(7))
    assert not torch.equal(one.module().weight_hh_l0, other.module().weight_hh_l0)
    assert one.input(7).shape == (7, 2, 3)


def test_textbook_networks_do_what_the_textbook_says():
    workload = SMALL.replace(hidden_size=64, seq_len=101)
    found = {network.name: measure_reach(network) for network in networks(workload)}
    words = {name: last_layer(reach.flow).verdict.word for name, reach in found.items()}
    # Slopes are at least 0.006 decades a step, of 0.01, away from another word, and horizons 2 steps apart.
    assert words == {
        "RNN tanh": "vanishing",
        "RNN orthogonal × 0.5": "vanishing",
        "RNN orthogonal × 1": "vanishing",
        "RNN orthogonal × 2": "exploding",
        "RNN relu, identity": "steady",
        "GRU": "vanishing",
        "LSTM": "vanishing",
        "LSTM, forget bias 3": "steady",
    }
    horizons = {name: last_layer(reach.flow).verdict.horizon for name, reach in found.items()}
    assert horizons["RNN orthogonal × 0.5"] < horizons["RNN tanh"] < horizons["RNN orthogonal × 1"]


def test_no_tanh_network_leaves_the_bound_of_pascanu_mikolov_and_bengio():
    for network in networks(SMALL)[:4]:
        frame = measure_reach(network).frame()
        assert frame["log10_bound"].notna().all()
        assert (frame["log10_norm"] <= frame["log10_bound"] + 1e-9).all()
    gain = measure_reach(networks(SMALL)[1]).bound
    assert gain.rate == pytest.approx(0.5, abs=1e-12)


def test_there_is_no_bound_for_gated_cells_nor_for_a_loss_at_every_step():
    assert measure_reach(networks(SMALL)[5]).frame()["log10_bound"].isna().all()
    assert measure_reach(networks(SMALL)[0], "mean").frame()["log10_bound"].isna().all()


def test_loss_at_every_step_brings_gradient_to_every_step():
    """With no recurrent weights only the direct gradient is left: 1/T at each step, and 0 before the last."""
    network = Network(name="", workload=SMALL, init=Init("normal", 1e-300))
    every = last_layer(measure_reach(network, "mean").flow)
    assert every.log10_norm == pytest.approx(math.log10(1 / 41), abs=1e-9)
    last = last_layer(measure_reach(network, "last").flow)
    assert last.log10_norm[0] == pytest.approx(0, abs=1e-12)
    assert last.log10_norm[1] < -290


def test_length_networks_vanish_hold_and_explode():
    assert [network.name for network in length_networks(SMALL)] == [
        "RNN orthogonal × 0.5", "RNN relu, identity", "RNN orthogonal × 2", "RNN orthogonal × 4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("glorot", "init: .*'glorot'"),
        ("normal", r"init: .*got normal\b(?!:)"),
        ("normal:wide", "init: .*normal:.*'wide'"),
        ("normal:0", r"init: .*normal:.*got 0\b"),
        ("normal:nan", r"init: .*normal:.*got nan\b"),
        ("chrono:2", r"init: .*chrono:.*got 2\b"),
        ("chrono", r"init: .*got chrono\b(?!:)"),
        ("orthogonal:2", r"init: .*got orthogonal:2\b"),
    ],
)
def test_what_is_no_initialisation(spec, message):
    with pytest.raises(UnrolledError, match=message) as raised:
        Init.parse(spec)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gain": 0.0}, r"gain: .*got 0\.0"),
        ({"gain": -1.0}, r"gain: .*got -1\.0"),
        ({"gain": math.nan}, r"gain: .*got nan\b"),
        ({"gain": "2"}, "gain: .*got '2'"),
        ({"forget_bias": 1.0}, "forget bias: .*got rnn_tanh"),
        ({"init": "chrono:9"}, "init: .*chrono:9.*got rnn_tanh"),
        ({"cell": "lstm", "forget_bias": math.inf}, r"forget bias: .*got inf\b"),
    ],
)
def test_what_a_cell_does_not_have_is_refused(options, message):
    with pytest.raises(UnrolledError, match=message):
        module(**options)


def test_specs_read_back_as_they_were_written():
    for spec in ("default", "orthogonal", "identity", "normal:0.1", "chrono:200"):
        assert str(Init.parse(spec)) == spec
