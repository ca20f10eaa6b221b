"""The presets show what their docstrings say; the counts over ten seeds are the command's, these are spot checks."""

import pytest

from unrolled.forecast.presets import PRESETS, variants
from unrolled.forecast.record import Run
from unrolled.forecast.training import Training
from unrolled.theory.chaos import HENON


def run(setting):
    training = Training(setting)
    training.run()
    return Run.of(training, 0.0).row()


def test_every_preset_says_how_it_was_found_and_trains_alike_but_for_what_it_compares():
    for name, preset in PRESETS.items():
        assert len(preset.__doc__.splitlines()) > 2, name
        settings = preset()
        assert len(set(settings)) == len(settings)
        shared = {setting.replace(clip="none", cell="rnn_tanh", init="default") for setting in settings}
        assert len(shared) == 1, name


def test_without_a_clip_the_gradient_that_explodes_through_time_ends_the_training_and_with_one_it_goes_on():
    without, clipped = (setting.replace(iterations=60) for setting in PRESETS["explode"]())
    row = run(without)
    assert row["outcome"] == "diverged"
    assert "iteration" in row["problem"]
    assert run(clipped)["outcome"] != "diverged"
    assert run(without.replace(gain=0.5))["outcome"] != "diverged"  # so it is not the rate


def test_where_the_gradient_vanishes_nothing_of_the_symbol_comes_back_and_another_start_brings_it():
    settings = [setting for setting in PRESETS["vanish"]() if setting.clip == "none"]
    lost = []
    for setting in settings:
        training = Training(setting.replace(iterations=1))
        training.run()
        profile = training.marks[0].flow.profile(path="h")
        lost.append(profile.relative(profile.steps - 1))
    default, *others = lost
    assert default < -15
    assert min(others) > -5


@pytest.mark.slow
def test_a_network_that_has_learnt_henon_s_map_is_about_as_chaotic_as_it_when_it_runs_free():
    rnn, *_ = PRESETS["chaos"]()
    found = {}
    for iterations in (30, rnn.iterations):
        training = Training(rnn.replace(iterations=iterations))
        training.run()
        found[iterations] = Run.of(training, 0.0, exponents=3).autonomous
    learnt = found[rnn.iterations]
    known, second = HENON.exponents
    assert learnt.motion == "chaotic"
    assert learnt.mean[0] == pytest.approx(known, rel=0.15)
    assert second < learnt.mean[1] < 0  # directions of its own
    assert abs(found[30].mean[0] - known) > 0.3 * known  # which it is not before it has learnt


def test_changes_and_clips_apply_to_every_network_and_doubles_are_trained_once():
    settings = variants("vanish", {"hidden_size": 8, "seed": 3}, ["none", "norm:1"], seeds=2)
    assert {setting.hidden_size for setting in settings} == {8}
    assert [setting.seed for setting in settings] == [3] * 6 + [4] * 6
    assert [setting.clip for setting in settings[:4]] == ["none", "norm:1"] * 2
    assert len(variants("vanish", {"cell": "gru", "init": "default"}, None, seeds=1)) == 3


@pytest.mark.parametrize("preset", PRESETS)
def test_without_changes_a_preset_is_what_it_says(preset):
    assert tuple(variants(preset, {}, None, seeds=1)) == PRESETS[preset]()
