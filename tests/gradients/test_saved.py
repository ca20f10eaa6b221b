"""Gradient flows and studies in files: what comes back, parts of a study, version 1, and every kind of damage."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from tests.gradients.test_flow_against_autograd import make, sequence
from tests.results.mutations import ANYWHERE, NUMBER, TEXT, accepted, unexplained
from unrolled import Workload
from unrolled.errors import InvalidValueError, NonFiniteError, ResultFileError
from unrolled.gradients import GradientFlow, gradient_flow, lengths
from unrolled.gradients.study import Study, measure
from unrolled.networks.model import UserModel
from unrolled.networks.textbook import length_networks, networks

COMMITTED = Path(__file__).parent / "version_1"
SMALL = Workload(hidden_size=3, input_size=2, batch_size=2, seq_len=6)

# What may be another number, name or share without a contradiction to anything else in the file.
LOGS = "(-inf|inf|nan|null|" + NUMBER[1:]
FREE_FLOW = [
    rf".*\.profiles\[\d+\]\.module: {TEXT}",
    r".*\.profiles: (shorter|swapped)",
    r".*\.profiles\[\d+\]\.(call|layer): (one more|ten times)",  # a module of the user's has any number of both
    r".*\.profiles\[\d+\]: call and layer swapped",
    rf".*\.log2_(norm|min|median|max)\[\d+\]: {LOGS}",  # between its neighbours
    r".*\.parameters: (\w+ renamed|without \w+|\w+ and \w+ swapped|a dict)",
    rf".*\.parameters\.\w+: {LOGS}",  # where the total stays, or is not known
    r".*\.sensitivities: (shorter|swapped|a list)",  # of a module of the user's
    r".*\.flow: without sensitivities",  # which need not be asked for
    r".*\.sensitivities\[\d+\]\.parameters: (half|one more|ten times|huge|zero)",
    r"\$\.clip: null",
    r".*\.clip: \w+ and (cosine|tensors) swapped",
    rf".*\.clip\.(log10_before|log10_after|entries|tensors|cosine): {LOGS}",
]
FREE_STUDY = [
    *FREE_FLOW,
    r"\$\.(networks|reaches): swapped",
    r"\$\.(reaches: shorter|lengths: a list)",  # a part of a run
    r"\$\.networks\[\d\]\.workload: input_size and hidden_size swapped",
    r"\$\.networks\[\d\]\.workload\.(input_size|hidden_size|batch_size): (half|one more|ten times)",
    r"\$\.networks\[\d\]\.(gain|forget_bias): (half|huge|zero|negative|one more|ten times)",
    rf"\$\.networks\[\d\]\.input: ({TEXT}|shorter|swapped)",
    r"\$\.networks\[\d\]\.input\[\d\]: (half|one more|ten times)",
    r".*\.bound\.(sigma_max|spectral_radius): (zero|half|huge|one more|ten times)",
    rf"\$\.lengths\[\d+\]\.(log10_\w+|touched|cosine): {LOGS}",
    rf"\$\.lengths\[\d+\]\.float32_\w+: (huge|{LOGS[1:]}",  # what torch says of it, right or wrong
]


def show_flow(flow):
    for show in (flow.frame, flow.summary, flow.scalars, flow.joined):
        show()


def show(study):
    for frame in (
        study.reach_frame,
        study.flow_frame,
        study.lengths_frame,
        study.lengths_table,
        study.describe,
    ):
        frame()


def small_study(**options):
    rnn, lstm = (networks(SMALL.replace(num_layers=2))[place] for place in (0, 6))
    user = UserModel("mine", nn.GRU(2, 3), torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(0)))
    clips = ["none", "norm:0.1", "step:0.01", "auto:50"]
    return measure([rnn, lstm, user], [rnn, lstm], lengths=(3, 6), clips=clips, **options)


def text_of(record, path):
    record.save(path)
    return path.read_text()


# Damage


def test_a_damaged_flow_is_refused_in_one_line_or_is_one_that_could_have_been_measured(tmp_path):
    flow = gradient_flow(make("lstm", bidirectional=True), sequence(steps=4, batch=2), clip="norm:0.1")
    taken, count = accepted(GradientFlow, text_of(flow, tmp_path / "one"), tmp_path / "one", show_flow, every=2)
    assert count > 200
    assert unexplained(taken, [*ANYWHERE, *FREE_FLOW]) == []


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_study_is_refused_in_one_line_or_is_one_that_could_have_been_measured(tmp_path, every):
    text = text_of(small_study(), tmp_path / "study")
    taken, count = accepted(Study, text, tmp_path / "study", show, every)
    assert count > 200
    assert unexplained(taken, [*ANYWHERE, *FREE_STUDY]) == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: c["reaches"][0].update(network="else"), "networks"),
        (lambda c: c["reaches"][2].update(network=c["reaches"][0]["network"]), "once"),
        (lambda c: c["reaches"][0]["bound"].update(sigma_max=1e-9, spectral_radius=0), "bound"),
        (lambda c: c["reaches"][0].update(bound=None), "bound"),
        (lambda c: c.update(loss="mean"), "bound"),
        (lambda c: c["lengths"].pop(), "clips"),
        (lambda c: c["lengths"][0].update(log10_unclipped=5, log10_parameters=5), "one gradient"),
        (lambda c: c["lengths"][1].update(log10_parameters=-0.5), "norm"),
        (lambda c: c["networks"][0].update(seed=1), "seed"),
        (lambda c: c["networks"][0]["workload"].update(num_layers=3), "layer"),
        (lambda c: c["networks"][0]["workload"].update(hidden_size=2**62), "machine"),
        (lambda c: c.update(files=["../gradflow.json"]), "files"),
    ],
)
def test_what_contradicts_something_else_is_named(tmp_path, damage, said):
    content = json.loads(text_of(small_study(), tmp_path / "study"))
    damage(content)
    (tmp_path / "study").write_text(json.dumps(content))
    with pytest.raises(ResultFileError, match=said):
        Study.load(tmp_path / "study")


# Parts


def test_every_part_of_a_study_is_kept_loads_and_can_be_shown(tmp_path):
    parts = []
    whole = small_study(keep=parts.append)
    assert [(len(part.reaches), len(part.lengths)) for part in parts] == [
        (2, 0), (4, 0), (6, 0), (6, 4), (6, 8), (6, 12), (6, 16),
    ]  # fmt: skip
    for part in parts:
        part.save(tmp_path / "part.json", partial=True)
        after = Study.load(tmp_path / "part.json")
        show(after)
        pd.testing.assert_frame_equal(after.flow_frame(), part.flow_frame())
    assert text_of(parts[-1], tmp_path / "one") == text_of(whole, tmp_path / "two")


def test_what_a_clip_alone_makes_non_finite_is_a_result_beside_the_others(tmp_path, monkeypatch):
    run = lengths.run_flow

    def fails(network, module, inputs, loss, clip):
        if clip is not None:
            raise NonFiniteError("a clipped run that met inf", module="RNN")
        return run(network, module, inputs, loss, clip)

    monkeypatch.setattr(lengths, "run_flow", fails)
    study = small_study()
    after = [result.problem for result in study.lengths[:4]]
    assert after == [None, None, "a clipped run that met inf", None]
    study.save(tmp_path / "study.json")
    show(Study.load(tmp_path / "study.json"))


def test_a_network_that_overflows_is_a_result_that_comes_back(tmp_path):
    relu = networks(SMALL)[4]
    hot = type(relu)(name="hot", workload=SMALL.replace(cell="rnn_relu", seq_len=200), init=relu.init, gain=9.0)
    study = measure([hot], [hot], lengths=(3, 200), clips=("none", "norm:1"))
    assert study.reaches[0].problem is not None
    assert [result.problem is None for result in study.lengths] == [True, True, False, False]
    study.save(tmp_path / "study.json")
    after = Study.load(tmp_path / "study.json")
    show(after)
    assert after.reaches[0].problem == study.reaches[0].problem


def test_two_networks_of_one_name_and_none_at_all_are_refused_before_anything_runs():
    one, other = networks(SMALL)[:2]
    namesake = type(one)(name=one.name, workload=other.workload, init=other.init, gain=other.gain)
    for given in ([one, namesake], []):
        with pytest.raises(InvalidValueError, match="networks"):
            measure(given, [], lengths=(), clips=())


# Version 1


def test_the_committed_results_of_version_1_give_the_tables_beside_them():
    study = Study.load(COMMITTED / "gradflow.json")
    last = length_networks(SMALL)[-1].name.replace("× ", "×")  # as it was written then
    assert [network.name for network in study.networks][-1] == last
    # Every digit: a decimal that is read back is the same number.
    for name, frame in (("flow.csv", study.flow_frame()), ("lengths.csv", study.lengths_table())):
        assert frame.to_csv(index=False, na_rep="nan") == (COMMITTED / name).read_text(encoding="utf-8"), name
    assert study.describe().startswith(
        "1 layer, input 8, hidden 64, batch 8, float32, cpu, loss at the last step"
    )


def test_null_in_an_array_of_version_1_is_a_norm_of_0(tmp_path):
    content = json.loads((COMMITTED / "gradflow.json").read_text(encoding="utf-8"))
    for name in ("log2_norm", "log2_min", "log2_median", "log2_max"):
        content["reach"][0]["flow"]["profiles"][0][name][-1] = None
    (tmp_path / "one.json").write_text(json.dumps(content))
    profile = Study.load(tmp_path / "one.json").reaches[0].flow.profiles[0]
    assert profile.log2_norm[-1] == profile.log2_max[-1] == -float("inf")
    for name in ("reach", "networks"):
        (tmp_path / "two.json").write_text(
            json.dumps({key: value for key, value in content.items() if key != name})
        )
        with pytest.raises(ResultFileError, match=name):
            Study.load(tmp_path / "two.json")
