"""What results say of networks: their sizes in words, and nothing that is no network."""

import json

import pytest
import torch
from torch import nn

from unrolled import Workload
from unrolled.cells.initialisation import Init
from unrolled.errors import InvalidValueError
from unrolled.networks.model import UserModel
from unrolled.networks.record import NetworkRecord, upgrade_network
from unrolled.networks.subject import records_of
from unrolled.networks.textbook import Network
from unrolled.results.codec import decode, encode

TWO = Workload(cell="lstm", input_size=3, hidden_size=(5, 4), batch_size=2, bidirectional=True, seed=7)
DESCRIBED = Network(name="two", workload=TWO, init=Init("normal", 0.1), forget_bias=2.0)
GIVEN = UserModel("mine", nn.GRU(3, 5), torch.zeros(9, 2, 3), seed=1)
NO_TENSOR = UserModel("mine", nn.GRU(3, 5), {"x": torch.zeros(9, 2, 3)})
MADE = UserModel("mine", nn.GRU(3, 5), batch_size=4, seq_len=11)


@pytest.mark.parametrize(
    ("network", "sizes", "units"),
    [
        (DESCRIBED, "2 layers, both ways, input 3, hidden (5, 4), batch 2, float32, cpu", "5, 4 hidden units"),
        (GIVEN, "input given, (9, 2, 3)", ""),
        (NO_TENSOR, "input given, dict", ""),
        (MADE, "input made, T = 11, batch 4", ""),
    ],
)
def test_sizes_are_the_same_before_and_after_json(network, sizes, units):
    before = network.record()
    after = decode(NetworkRecord, json.loads(json.dumps(encode(before))))
    assert after == before
    assert (after.sizes, after.units) == (before.sizes, before.units) == (sizes, units)


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        (DESCRIBED, {"seed": 8}),
        (DESCRIBED, {"model": "GRU"}),
        (DESCRIBED, {"workload": None}),
        (DESCRIBED, {"init": None}),
        (DESCRIBED, {"init": "normal"}),
        (DESCRIBED, {"init": "normal:0.10"}),
        (DESCRIBED, {"gain": 0.0}),
        (DESCRIBED, {"gain": "nan"}),
        (DESCRIBED, {"workload": encode(TWO.replace(cell="gru"))}),
        (GIVEN, {"model": None}),
        (GIVEN, {"seq_len": 3, "batch_size": 2}),
        (GIVEN, {"input": None}),
        (GIVEN, {"input": []}),
        (GIVEN, {"gain": 1.0}),
        (GIVEN, {"seed": 2**64}),
        (MADE, {"seq_len": None}),
        (MADE, {"batch_size": 0}),
    ],
)
def test_what_is_no_network_is_refused(network, changes):
    fields = encode(network.record())
    with pytest.raises(ValueError, match=r"."):
        decode(NetworkRecord, fields | changes)


def test_version_1_had_other_fields_for_each_kind():
    for network in (DESCRIBED, GIVEN, MADE):
        fields = {name: value for name, value in encode(network.record()).items() if value is not None}
        if "workload" in fields:
            del fields["seed"]
        assert decode(NetworkRecord, upgrade_network(fields)) == network.record()


def test_each_network_is_described_once_and_has_a_name_of_its_own():
    assert records_of([DESCRIBED, GIVEN, DESCRIBED]) == (DESCRIBED.record(), GIVEN.record())
    with pytest.raises(InvalidValueError, match="networks: .*'mine'"):
        records_of([GIVEN, MADE])
