"""Tables and pictures of shapes: what fits, what is named, which way the arrows go, what is legible."""

import io
import itertools
import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from rich.console import Console

from tests.shapes.helpers import configuration
from unrolled.render.shapes_layout import KEY
from unrolled.render.shapes_plots import draw_shapes, unrolled_figure
from unrolled.render.shapes_tables import parameter_table, shapes_table
from unrolled.shapes.configuration import both_forms, walkthrough
from unrolled.shapes.measure import measure

WALKTHROUGH = measure(walkthrough())
WIDE = {"input_size": 1000, "hidden_size": 512, "batch_size": 16, "seq_len": 1, "dtype": "float32"}


def printed(table, width):
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    console.print(table)
    return console.file.getvalue()


def tables(found, width):
    frame, parameters = found.frame(), found.parameter_frame()
    return printed(shapes_table(frame, parameters, width), width)


@pytest.mark.parametrize("width", [80, 120])
def test_the_walkthrough_names_every_parameter_with_its_shape_and_gates(width):
    text = tables(WALKTHROUGH, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for line in (
        "weight_ih_l0 (20, 100) h", "weight_hh_l0–3 (20, 20) h", "weight_ih_l1–3 (20, 20) h", "bias_hh_l0–3 (20,) h",
        "weight_ih (20, 100) h", "cells.0.weight_hh (30, 30) h", "cells.1.weight_ih (20, 30) h",
        "weight_ih_l0 (80, 100) i f g o", "weight_hh_l0–3 (80, 20) i f g o", "bias_ih_l0–3 (80,) i f g o",
        "cells.0.weight_ih (120, 100) i f g o", "cells.1.bias_hh (80,) i f g o",
        "weight_ih_l0 (60, 100) r z n", "cells.0.weight_hh (90, 30) r z n", "cells.1.bias_ih (60,) r z n",
    ):  # fmt: skip
        assert line in re.sub(" +", " ", text), line
    assert text.count("(10, 3, 20)") == 10
    for count in ("2,440", "4,960", "5,000", "19,840", "9,760", "20,000", "14,880", "7,320", "15,000"):
        assert count in text
    for difference in WALKTHROUGH.frame()["difference"]:
        assert f"{difference:.1e}" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_row_with_many_long_parameters_is_not_cut(width):
    found = measure(
        both_forms(configuration(num_layers=3, bidirectional=True, batch_first=True, proj_size=128, **WIDE))
    )
    text = tables(found, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    lines = re.sub(" +", " ", text)
    for line in ("weight_hr_l0–2_reverse (128, 512) h", "weight_ih_l1–2_reverse (2048, 256) i f g o"):
        assert lines.count(line) == 2
    assert "(16, 1, 256)" in text
    assert "6 × (16, 512)" in text
    parameters = found.parameter_frame()
    rows = printed(parameter_table(parameters[parameters["configuration"] == "lstm-3-layers"]), width)
    assert max(map(len, rows.splitlines())) <= width
    assert "0:512 i, 512:1024 f, 1024:1536 g, 1536:2048 o" in " ".join(rows.split())


def test_lines_stand_for_as_many_parameters_as_there_are():
    for fields in ({"num_layers": 4, "bidirectional": True}, {"hidden_size": (7, 7, 4, 4, 7)}):
        for form in both_forms(configuration(**fields)):
            found = measure([form])
            text = printed(parameter_table(found.parameter_frame()), 80)
            named = []
            for name in re.findall(r"^\S+(?=  )", text, re.MULTILINE)[1:]:  # below the head
                first, last = re.search(r"(\d+)–(\d+)", name).groups() if "–" in name else ("", "")
                numbers = range(int(first), int(last) + 1) if first else [""]
                named += [name.replace(f"{first}–{last}", str(number)) for number in numbers]
            assert sorted(named) == sorted(parameter.name for parameter in found.descriptions[0].parameters)


PICTURES = {
    "one": {"cell": "rnn_tanh"},
    "cell": {"cell": "gru", "form": "cells"},
    "two cells": {"cell": "lstm", "form": "cells", "hidden_size": (7, 4)},
    "two ways": {"cell": "lstm", "num_layers": 2, "bidirectional": True, "batch_first": True, "proj_size": 2},
    "chain": {"cell": "gru", "hidden_size": (7, 4), "bidirectional": True, "seq_len": 100},
    "large": {"cell": "lstm", "num_layers": 12, "seq_len": 200, "hidden_size": 16, "batch_size": 64},
    "deep two ways": {"cell": "gru", "num_layers": 4, "bidirectional": True, "seq_len": 1, "batched": False},
}


def picture(fields):
    found = measure([configuration(**fields)])
    row = found.frame().to_dict("records")[0]
    return unrolled_figure(row, found.parameter_frame())


def arrows(figure):
    """Start and end of every arrow."""
    found = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    return [(note.xyann, note.xy) for note in found]


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


@pytest.mark.parametrize("fields", PICTURES.values(), ids=PICTURES)
def test_nothing_is_written_over_anything_else_or_beyond_the_edge(fields):
    figure = picture(fields)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.axes[0].texts
        if not isinstance(text, Annotation)
    ]
    width, height = renderer.get_canvas_width_height()
    rounding = 0.01  # of a pixel, which nobody sees
    for said, box in boxes:
        assert box.x0 >= -rounding, said
        assert box.y0 >= -rounding, said
        assert box.x1 <= width + rounding, said
        assert box.y1 <= height + rounding, said
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("one", ["hidden state h"]),
        ("two ways", ["hidden state h", "cell state c", "cat: both directions' outputs, side by side"]),
        ("large", ["hidden state h", "cell state c", "…: like the ones beside them"]),
    ],
)
def test_lines_and_signs_are_explained_where_they_are_used(name, said):
    figure = picture(PICTURES[name])
    key = [text.get_text() for text in figure.axes[0].texts if text.get_position()[1] == KEY]
    assert key == said
    looks = {line.get_linestyle() for line in figure.axes[0].lines if line.get_ydata()[0] == KEY}
    assert len(looks) == sum("state" in each for each in said)


def test_the_title_says_what_is_built_and_over_how_many_steps():
    assert words(picture(PICTURES["chain"]))[0].endswith(", unrolled over 100 steps")
    assert words(picture(PICTURES["cell"]))[0].endswith(", stepped 4 times")


@pytest.mark.parametrize(("seq_len", "columns"), [(1, 1), (4, 4), (5, 4), (100, 4)])
@pytest.mark.parametrize("cell", ["rnn_relu", "lstm"])
def test_states_go_from_step_to_step_and_the_second_direction_goes_back(cell, seq_len, columns):
    figure = picture({"cell": cell, "bidirectional": True, "num_layers": 2, "seq_len": seq_len})
    tracks = {}
    for (x0, y0), (x1, y1) in arrows(figure):
        if y0 == y1:
            tracks.setdefault(y0, []).append((x0, x1))
    paths = 2 if cell == "lstm" else 1
    assert len(tracks) == 2 * 2 * paths  # layers, directions, paths
    forward = [all(x1 > x0 for x0, x1 in tracks[y]) for y in sorted(tracks)]
    back = [all(x1 < x0 for x0, x1 in tracks[y]) for y in sorted(tracks)]
    assert forward == ([True] * paths + [False] * paths) * 2
    assert back == ([False] * paths + [True] * paths) * 2
    for track in tracks.values():
        assert len(track) == columns + 1  # into the first, between, out of the last


def test_both_directions_start_at_their_own_end_with_their_own_place_in_h_0():
    figure = picture({"cell": "gru", "bidirectional": True, "num_layers": 2})
    at = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    for place in range(4):
        first, last = (at[rf"${'h'}_{when}$[{place}] (3, 7)"] for when in "0n")
        assert first[1] == last[1]
        assert (first[0] < last[0]) == (place % 2 == 0)
    heights = [at[rf"$h_0$[{place}] (3, 7)"][1] for place in range(4)]
    assert heights == sorted(heights)


def test_tensors_are_labelled_with_their_shapes():
    said = words(picture(PICTURES["two ways"]))
    assert r"$\mathregular{x}_{1}$" + "\n(3, 5)" in said
    assert r"$\mathregular{out}_{4}$" + "\n(3, 4)" in said
    assert "input (3, 4, 5)\n" + r"$\mathregular{x}_t$ = input[:, t-1]" in said
    assert "$h_0$[3] (3, 2)" in said
    assert "$c_n$[3] (3, 7)" in said
    assert said.count("(3, 4)") == 4  # from layer 0 to layer 1, at every step
    assert "weight_hr_l1_reverse (2, 7)" in said
    assert "weight_ih_l1 (28, 4)" in said
    assert said.count("LSTM") == 2 * 2 * 4


def test_long_sequences_and_deep_stacks_are_drawn_in_part_and_say_so():
    said = words(picture(PICTURES["large"]))
    for name in (r"$\mathregular{x}_{2}$", r"$\mathregular{x}_{200}$", r"$\mathregular{out}_{200}$"):
        assert any(text.startswith(name + "\n") for text in said)
    assert not any(r"_{3}$" in text for text in said)
    assert [text for text in said if text.startswith("layer ")] == ["layer 0", "layer 1", "layer 11"]
    assert said.count("⋮") == 3
    assert "$h_0$[11] (64, 16)" in said


def test_the_same_shapes_give_the_same_picture_byte_for_byte(tmp_path):
    found = measure(both_forms(configuration(bidirectional=True)))
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
        paths = draw_shapes(found.frame(), found.parameter_frame(), {"lstm": "unrolled"}, folder)
        assert [path.name for path in paths] == ["unrolled.png", "unrolled.svg"]
    for name in ("unrolled.png", "unrolled.svg"):
        # the same numbers in one process, and no date in the file
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_what_has_a_file_name_is_drawn_and_progress_is_told(tmp_path, monkeypatch):
    from unrolled.render import shapes_plots

    monkeypatch.setattr(shapes_plots, "save", lambda figure, folder, name: [folder / name])
    told = []
    found = draw_shapes(
        WALKTHROUGH.frame(), WALKTHROUGH.parameter_frame(), {"gru-cell": "a", "rnn_tanh": "b"}, tmp_path,
        before=told.append, after=lambda: told.append("done"),
    )  # fmt: skip
    assert [path.name for path in found] == ["b", "a"]
    assert told == ["picture of rnn_tanh", "done", "picture of gru-cell", "done"]
