"""Words, tables, frames and pictures of a sweep, and its record on disk."""

import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from rich.console import Console

from tests.sweep.jobs import COUNTED
from unrolled.errors import ResultFileError
from unrolled.render import sweep as view
from unrolled.render.sweep_panel import DIVERGING
from unrolled.render.sweep_plot import draw_one, sweep_figure
from unrolled.render.sweep_words import crossings, number
from unrolled.sweep.axis import Axis
from unrolled.sweep.grid import grid_of
from unrolled.sweep.jobs import job_named
from unrolled.sweep.record import Sweep, empty, results_of
from unrolled.theory import transition_gain

GAIN = Axis("gain", tuple(0.5 + 0.1 * k for k in range(16)))
NOISE = Axis("noise", (0.0, 0.1, 0.3))


def made(axes, value, job="spectrum", seeds=4, places=None, **base):
    """A record whose column shown is `value(point, seed)`; None is a problem."""
    found = job_named(job) if isinstance(job, str) else job
    grid = grid_of(found, axes, base, seeds)
    record = empty(found, found.name, grid)
    places = range(grid.size) if places is None else places
    points = list(grid.points())
    rows = []
    for place in places:
        number = value(points[place // seeds], place % seeds)
        row = {column.name: "x" if column.kind == "word" else 1.0 for column in found.columns}
        rows.append((place, {**row, found.shown: number, "problem": "got NaN" if number is None else ""}))
    return replace(record, **results_of(found, rows))


def line(point, seed):
    """0 at gain 1 without noise, and 0.1 later for each 0.1 of noise."""
    return point["gain"] - 1 - point.get("noise", 0.0) + 0.01 * (seed - 1.5)


def printed(record, width, explain=False):
    screen = Console(width=width, record=True, file=open("/dev/null", "w"), force_jupyter=False)  # noqa: SIM115
    with screen.file:
        view.show(record, screen, explain)
        return screen.export_text()


def test_means_medians_and_spreads_are_those_of_the_rows():
    record = made((GAIN, NOISE), line)
    frame, means = record.frame(), record.mean_frame()
    assert (len(frame), len(means)) == (16 * 3 * 4, 48)
    part = frame[(frame["gain"] == GAIN.values[7]) & (frame["noise"] == 0.1)]["exponent"]
    row = means[(means["gain"] == GAIN.values[7]) & (means["noise"] == 0.1)].iloc[0]
    assert row["exponent"] == pytest.approx(np.mean(part))
    assert row["exponent_median"] == pytest.approx(np.median(part))
    assert row["exponent_spread"] == pytest.approx(np.std(part, ddof=1))
    assert (row["seeds"], row["problems"]) == (4, 0)


def test_problems_are_counted_and_in_no_mean():
    record = made(
        (GAIN, NOISE), lambda point, seed: None if seed == 2 or point["gain"] > 1.95 else line(point, seed)
    )
    means = record.mean_frame()
    assert list(means["problems"]) == [1] * 45 + [4] * 3
    assert means["exponent"].isna().sum() == 3
    assert means["exponent"].iloc[0] == pytest.approx(-0.5 + 0.01 * (-1.5 - 0.5 + 1.5) / 3)
    shown = printed(record, 80)
    assert "NaN/inf" in shown
    assert "57 measurements gave no number, the first: got NaN" in shown


def test_words_on_an_axis_and_none_among_them_keep_their_points():
    record = made(
        (Axis("init", (None, "orthogonal")), Axis("cell", ("rnn_tanh", "gru"))), lambda point, seed: float(seed)
    )
    means = record.mean_frame()
    assert [value if isinstance(value, str) else None for value in means["init"]] == [
        None,
        None,
        "orthogonal",
        "orthogonal",
    ]
    assert list(means["cell"]) == ["rnn_tanh", "gru"] * 2
    assert (means["exponent"] == 1.5).all()
    assert "none" in printed(record, 80)


def test_crossings_are_found_between_points_and_beside_those_of_theory():
    found = crossings(made((GAIN, NOISE), line))
    assert list(found["noise"]) == [0.0, 0.1, 0.3]
    assert list(found["measured"]) == pytest.approx([1.0, 1.1, 1.3])
    assert list(found["theory"]) == pytest.approx([transition_gain(noise**2) for noise in NOISE.values])
    assert view.answer(made((GAIN, NOISE), line)) == (
        "At noise 0 the largest Lyapunov exponent λ₁ crosses 0 at gain 1.00; by mean-field theory at 1.00."
    )


def test_where_nothing_crosses_0_the_answer_says_how_far_it_goes():
    record = made((GAIN,), lambda point, seed: -point["gain"])
    assert (
        view.answer(record)
        == "The largest Lyapunov exponent λ₁ goes from -2.00 at gain 2 to -0.500 at gain 0.5."
    )
    nothing = made((GAIN,), lambda point, seed: None)
    assert view.answer(nothing).startswith("Nothing can be told")
    assert "theory" not in view.answer(made((GAIN,), line, init="default"))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize(
    "axes",
    [
        (GAIN,),
        (GAIN, NOISE),
        (NOISE, GAIN),
        (
            Axis("gain", tuple(0.5 + 0.01 * k for k in range(100))),
            Axis("noise", tuple(0.02 * k for k in range(12))),
        ),
        (GAIN, NOISE, Axis("hidden", (16, 32, 64))),
        (Axis("cell", ("rnn_tanh", "gru")), NOISE),
        (Axis("gain", tuple(0.5 + 0.01 * k for k in range(100))),),
    ],
    ids=["line", "map", "turned", "large", "panels", "words", "long"],
)
def test_tables_fit(axes, explain, width):
    shown = printed(made(axes, lambda point, seed: point["noise"] - point["gain"], seeds=2), width, explain)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert shown.count("\n") < 150
    points = math.prod(len(axis.values) for axis in axes)
    if points > 48 and len(axes) < 3:
        assert f"of {points} points; all are in sweep_mean.csv" in shown


def test_numbers_have_three_digits_and_a_sign_where_it_says_something():
    shown = [number(value) for value in (0.0, 0.01234, -1234.0, 1e-7, math.inf, -math.inf, math.nan)]
    assert shown == ["0", "0.0123", "-1230", "1.0e-07", "∞", "-∞", "–"]
    assert [number(value, signed=True) for value in (1.5, -1.5, 0.0)] == ["+1.50", "-1.50", "0"]


def test_a_map_has_its_colours_around_0_its_contour_and_the_line_of_theory():
    record = made((GAIN, NOISE), line)
    figure = sweep_figure(record, record.mean_frame())
    panel = figure.axes[0]
    (mesh,) = [each for each in panel.collections if isinstance(each, QuadMesh)]
    assert mesh.norm.vcenter == 0
    assert mesh.get_array().shape == (3, 16)
    assert mesh.get_array()[1, 6] == pytest.approx(GAIN.values[6] - 1.1)
    bar = figure.axes[-1]
    assert bar.get_ylabel().replace("\n", " ") == "largest Lyapunov exponent λ₁ (nats per step)"
    contours = [
        path for each in panel.collections if not isinstance(each, QuadMesh) for path in each.get_paths()
    ]
    places = np.concatenate([path.vertices for path in contours])
    assert np.allclose(places[:, 0], 1 + places[:, 1], atol=1e-6)
    (theory,) = panel.lines
    ends = np.array(theory.get_xydata())[[0, -1]]
    assert ends == pytest.approx(np.array([[1.0, 0.0], [transition_gain(0.09), 0.3]]))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["measured mean is 0", "0 by mean-field theory"]
    plt.close("all")


def test_colours_below_and_above_0_differ_in_grey_at_their_ends():
    grey = [DIVERGING(place)[:3] @ np.array([0.299, 0.587, 0.114]) for place in (0.0, 0.5, 1.0)]
    assert grey[0] < grey[2] - 0.15 < grey[1] - 0.3


def test_over_one_axis_a_line_has_the_spread_of_its_seeds_and_theorys_place():
    record = made((GAIN, Axis("hidden", (16, 32))), line)
    assert sweep_figure(record, record.mean_frame()).axes[0].get_xlabel() == "gain"
    record = made((GAIN, Axis("cell", ("rnn_tanh", "gru"))), line)
    panel = sweep_figure(record, record.mean_frame()).axes[0]
    first, second = panel.containers
    assert first[0].get_ydata() == pytest.approx([gain - 1 for gain in GAIN.values])
    lengths = [np.ptp(segment[:, 1]) for segment in first[2][0].get_segments()]
    assert lengths == pytest.approx([2 * np.std([0.01 * k for k in range(4)], ddof=1)] * 16)
    assert second[0].get_color() != first[0].get_color()
    plt.close("all")


@pytest.mark.parametrize(
    ("axes", "panels"),
    [
        ((GAIN, NOISE, Axis("hidden", (16, 32, 64))), 3),
        ((GAIN, NOISE, Axis("init", ("default", "orthogonal"))), 2),
        (
            (
                Axis("gain", (0.5, 1.5)),
                NOISE,
                Axis("hidden", (8, 16, 24, 32, 40, 48, 56)),
                Axis("batch", (1, 2)),
            ),
            12,
        ),
        ((Axis("cell", ("gru", "lstm")), Axis("init", ("default", "orthogonal"))), 1),
    ],
)
def test_what_is_neither_across_nor_up_has_a_panel_for_each_value(axes, panels, tmp_path):
    record = made(axes, lambda point, seed: point["gain"] - 1 + point["noise"], seeds=1)
    figure = sweep_figure(record, record.mean_frame())
    drawn = [
        axes
        for axes in figure.axes
        if axes.axison and (axes.lines or axes.collections) and axes.get_label() != "<colorbar>"
    ]
    assert len(drawn) == panels
    paths = view.draw(record, tmp_path)
    assert [path.name for path in paths] == ["sweep.png", "sweep.svg"]
    assert all(path.stat().st_size > 0 for path in paths)
    plt.close("all")


def test_nothing_is_drawn_of_nothing_and_a_part_is_drawn(tmp_path):
    assert view.draw(made((GAIN, NOISE), lambda point, seed: None), tmp_path) == []
    part = made((GAIN, NOISE), line, places=range(0, 192, 5))
    assert view.draw(part, tmp_path)
    assert "153 of 192 measurements are not there yet." in printed(part, 80)
    assert view.draw(made((GAIN, NOISE), line, places=range(3)), tmp_path)
    axes = Figure().subplots()
    draw_one(made((GAIN, NOISE), line), axes)
    assert axes.collections
    plt.close("all")


def test_files_have_a_row_for_each():
    frames = view.frames(made((GAIN, NOISE), line))
    assert {name: len(frame) for name, frame in frames.items()} == {
        "sweep": 192,
        "sweep_mean": 48,
        "theory": 14,
    }
    assert list(frames["theory"]) == ["noise", "gain"]
    assert "38 of 192" not in view.line(made((GAIN, NOISE), line))


def test_a_record_comes_back_from_disk_as_it_was(tmp_path):
    values = iter([-math.inf, 0.1 + 0.2, None, 5e-324] * 8)
    record = made((GAIN, NOISE), lambda point, seed: next(values), places=range(3, 35), cell="rnn_tanh")
    record.save(tmp_path / "sweep.json")
    again = Sweep.load(tmp_path / "sweep.json")
    assert again.grid == record.grid
    assert again.values == record.values
    assert again.theory == record.theory
    assert again.frame().equals(record.frame())
    assert again.text() == record.text()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda c: c["places"].append(5000), "in each row|places of the grid"),
        (lambda c: c["places"].__setitem__(0, 4), "places that increase"),
        (lambda c: c["numbers"].pop("sum"), "numbers of exponent"),
        (lambda c: c["numbers"]["sum"].pop(), "a sum in each row"),
        (lambda c: c["numbers"]["sum"].__setitem__(0, "much"), "sum|float"),
        (lambda c: c.update(shown="nothing"), "a column to show"),
        (lambda c: c["grid"]["axes"][0]["values"].append(0.5), "expected each value once"),
        (lambda c: c["grid"].update(seeds=0), "seeds"),
        (lambda c: c["theory"]["at"].pop(), "a value at each place"),
    ],
)
def test_damage_in_a_record_is_found(harm, words, tmp_path):
    made((GAIN, NOISE), line).save(tmp_path / "sweep.json")
    content = json.loads((tmp_path / "sweep.json").read_text())
    harm(content)
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(ResultFileError, match=words):
        Sweep.load(tmp_path / "sweep.json")


def test_words_and_numbers_of_other_jobs_are_shown_too():
    record = made((Axis("gain", (0.5, 1.0)),), lambda point, seed: -0.1 * seed, job="gradflow")
    shown = printed(record, 80)
    assert "verdict" in shown
    counted = made((Axis("x", (1.0, 2.0)),), lambda point, seed: float(seed), job=COUNTED)
    assert "value" in printed(counted, 80)
