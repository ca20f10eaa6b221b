"""What is forecast: windows of functions and of files, and every file that is none."""

import math
import re

import numpy as np
import pytest
import torch

from unrolled.errors import InvalidValueError
from unrolled.forecast.signals import CHAOTIC, STARTS, windows_of
from unrolled.forecast.task import forecasting, recall
from unrolled.theory.chaos import HENON, LORENZ


def write(path, values, head="time,units"):
    path.write_text(head + "\n" + "".join(f"{k},{value}\n" for k, value in enumerate(values)))
    return f"csv:{path}:units"


def test_a_window_of_the_sine_is_50_points_on_an_interval_of_10():
    windows = windows_of("sine", 50)
    for start, window in zip(STARTS, windows.every, strict=True):
        expected = np.sin(np.linspace(start, start + 10, 50))
        np.testing.assert_allclose(window.numpy(), expected, atol=1e-6)
    assert torch.equal(windows.loop, windows.every[0])  # a view of it


def test_a_longer_window_spans_more_time_at_the_same_step():
    for signal in ("sine", "sum", "chirp"):
        short, long = windows_of(signal, 50).every, windows_of(signal, 200).every
        # A sine may be computed otherwise in another place of an array: a rounding of float32, of values below 2.
        torch.testing.assert_close(long[:, :50], short, rtol=0, atol=2.4e-7)


def test_a_chirp_rises_in_frequency():
    window = windows_of("chirp", 200).loop
    crossings = torch.nonzero(window[1:].sign() != window[:-1].sign()).flatten()
    gaps = crossings.diff()
    assert gaps[-1] < gaps[0] / 3


@pytest.mark.parametrize(("signal", "system", "every"), [("henon", HENON, 1), ("lorenz", LORENZ, 10)])
def test_a_chaotic_series_is_its_x_scaled_and_its_last_window_is_kept_from_the_training(signal, system, every):
    x = system.trajectory(5000, every=every)[:, 0]
    windows = windows_of(signal, 30)
    scaled = (x - x.mean()) / x.std()
    np.testing.assert_allclose(windows.loop.numpy(), scaled[-30:], atol=1e-6)
    assert windows.every.shape == (5000 - 30 - 30 + 1, 30)
    np.testing.assert_allclose(windows.every[-1].numpy(), scaled[-60:-30], atol=1e-6)
    np.testing.assert_allclose(windows.every[7].numpy(), scaled[7:37], atol=1e-6)
    assert CHAOTIC[signal].interval == pytest.approx(every * system.dt)


def test_of_windows_that_are_long_a_chaotic_series_has_four():
    assert windows_of("henon", 2000).every.shape == (8000 - 2000 - 2000 + 1, 2000)


def test_targets_are_the_inputs_one_step_later():
    task = forecasting("sum", 20)
    assert task.inputs.shape == task.targets.shape == (3, 19, 1)
    assert torch.equal(task.inputs[:, 1:], task.targets[:, :-1])  # copies of the same points


def test_the_constant_loss_is_that_of_the_best_constant():
    task = forecasting("chirp", 30)
    losses = [
        float(task.loss(torch.full_like(task.targets, c), task.targets)) for c in np.linspace(-1, 1, 2001)
    ]
    assert min(losses) == pytest.approx(task.constant_loss, rel=1e-5)


def test_a_file_is_scaled_and_its_last_window_is_kept_from_the_training(tmp_path):
    series = 100 + 7 * np.sin(np.arange(90))
    signal = write(tmp_path / "sales.csv", series)
    windows = windows_of(signal, 20)
    scaled = (series - series.mean()) / series.std()
    np.testing.assert_allclose(windows.loop.numpy(), scaled[70:], atol=1e-5)
    assert windows.every.shape == (90 - 20 - 20 + 1, 20)
    np.testing.assert_allclose(windows.every[-1].numpy(), scaled[50:70], atol=1e-5)


def test_a_series_of_less_than_two_windows_is_all_trained_on(tmp_path):
    windows = windows_of(write(tmp_path / "a.csv", np.sin(np.arange(30))), 20)
    assert windows.every.shape == (11, 20)
    assert torch.equal(windows.loop, windows.every[-1])  # a view of it


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"signal: .*got .*missing\.csv"),
        ("", "signal: .*got an empty one"),
        ("time,units\n", "signal: .*got a header alone"),
        ("time,other\n1,2\n", "signal: .*'units'.*got time, other"),
        ("units\n1\nlots\n3\n", "signal: .*'units'.*got 'lots' in data row 2"),
        ("units\n1\n2\nnan\n", "got 'nan' in data row 3"),
        ("a,units\n1,2\n2,\n", "got nothing in data row 2"),
        ("units\n1\ninf\n", "got 'inf' in data row 2"),
        ("units\n1\n2\n3\n", "signal: .*20 .*got 3 in"),
        ("units\n" + "0.1\n" * 30, r"signal: .*got 0\.1 "),
        ('units\n1,2\n"', "signal: .*got something else in"),
    ],
)
def test_a_file_that_is_no_series_is_named_in_a_line(tmp_path, content, message):
    path = tmp_path / "missing.csv"
    if content is not None:
        path = tmp_path / "data.csv"
        path.write_text(content)
    with pytest.raises(InvalidValueError, match=message) as raised:
        windows_of(f"csv:{path}:units", 20)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("signal", ["cosine", "csv:", "csv:file", "csv::units", "csv:file:"])
def test_a_signal_that_is_none_is_answered_with_what_there_is(signal):
    with pytest.raises(InvalidValueError, match=re.escape("csv:FILE:COLUMN")):
        windows_of(signal, 20)


def test_recall_shows_a_symbol_first_asks_for_it_last_and_nothing_in_between_tells():
    task = recall(4, 12)
    assert task.inputs.shape == (4, 12, 6)
    assert torch.equal(task.inputs[:, 0].argmax(-1), task.targets)
    assert torch.equal(task.inputs[:, 1:], task.inputs[:1, 1:].expand(4, -1, -1))
    assert (task.inputs.sum(-1) == 1).all()  # of zeros and a one
    assert task.constant_loss == pytest.approx(math.log(4))
    assert float(task.loss(torch.zeros(4, 12, 4), task.targets)) == pytest.approx(task.constant_loss)


def test_a_longer_order_begins_with_the_shorter_one_and_depends_on_the_seed_alone():
    task = forecasting("sine", 50)
    short, long = task.order(37, 3, seed=5), task.order(6000, 3, seed=5)
    assert torch.equal(long[:37], short)
    assert not torch.equal(task.order(37, 3, seed=6), short)
    assert set(long.flatten().tolist()) == {0, 1, 2}
