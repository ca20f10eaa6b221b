"""A figure in a page: matplotlib's own drawing, with letters, the page's colours, and every value under its place."""

import re
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from unrolled.render.kept import kept
from unrolled.render.report.colours import Palette
from unrolled.render.report.figures import describe, picture
from unrolled.render.style import save


def figure(**options):
    made = Figure(figsize=(5, 4), layout="constrained")
    panel = made.subplots(**options)
    return made, panel


def root_of(made, number=1):
    return ElementTree.fromstring(picture("name", made, number, Palette()).svg)


def values(root):
    """Middle and text of each place that a pointer finds."""
    return [
        (
            float(rect.get("x")) + float(rect.get("width")) / 2,
            float(rect.get("y")) + float(rect.get("height")) / 2,
            rect.find("title").text.split("\n"),
        )
        for rect in root.iter("rect")
        if rect.find("title") is not None
    ]


def test_every_value_lies_where_matplotlib_puts_its_marker():
    made, panel = figure()
    x, y = np.array([1.0, 10.0, 100.0, 1000.0]), np.array([3.0, 1.0, 4.0, 1.5])
    panel.plot(x, y, marker="o", label="a line")
    panel.set_xscale("log")
    panel.set_xlabel("lag k (steps)")
    panel.set_ylabel("time of a call (ms)")
    root = root_of(made)
    drawn = [(float(use.get("x")), float(use.get("y"))) for use in root.iter("use") if len(list(use)) == 0]
    found = values(root)
    assert [lines for _, _, lines in found] == [
        ["a line", f"lag k: {a:g}", f"{b:g} ms"] for a, b in zip(x, y, strict=True)
    ]
    for x_, y_, _ in found:
        assert min(np.hypot(x_ - a, y_ - b) for a, b in drawn) < 0.15


def test_error_bars_say_their_interval_and_bars_where_they_go():
    made, panel = figure()
    panel.bar([0, 1], [0.2, 0.4], bottom=[0.9, 0.8], label="noise floor")
    panel.errorbar([0, 1], [1.5, 2.0], yerr=[[0.1, 0.5], [0.2, 0.5]], fmt="s", label="cells", capsize=2)
    panel.set_xticks([0, 1], ["L1\nB16", "L2\nB16"])
    said = [lines for _, _, lines in values(root_of(made))]
    assert said == [
        ["noise floor", "L1 B16", "0.9 to 1.1"], ["noise floor", "L2 B16", "0.8 to 1.2"],
        ["cells", "L1 B16", "1.5 (1.4 to 1.7)"], ["cells", "L2 B16", "2 (1.5 to 2.5)"],
    ]  # fmt: skip


def test_a_heat_map_says_its_cells():
    made, panel = figure()
    panel.imshow(np.ma.masked_invalid([[1.0, 2.0], [3.0, np.nan]]), aspect="auto", origin="lower")
    panel.set_yticks([0, 1], ["0", "1 ←"])
    panel.set_xlabel("step t")
    panel.set_ylabel("layer")
    found = values(root_of(made))
    assert [lines for _, _, lines in found] == [
        ["layer: 0", "step t: 0", "1"], ["layer: 0", "step t: 1", "2"], ["layer: 1 ←", "step t: 0", "3"], ["layer: 1 ←", "step t: 1", "none"],
    ]  # fmt: skip
    assert found[0][1] > found[2][1]  # the first row is the lowest


def test_lines_without_a_name_and_values_outside_say_nothing():
    made, panel = figure()
    panel.plot([0, 1], [0, 1])
    panel.axhline(0.5, label="a rule")
    panel.plot([0.5, 5.0, np.nan], [0.5, 0.5, 0.5], label="a line")
    panel.set_xlim(0, 1)
    assert [lines for _, _, lines in values(root_of(made))] == [["a line", "0.5", "0.5"]]


def test_lines_are_named_by_the_legend_of_the_figure():
    made, panel = figure()
    panel.plot([0, 1], [2, 3], color="#0072B2", linewidth=2)
    (handle,) = panel.plot([], [], color="#0072B2")
    made.legend([handle], ["largest"])
    assert {lines[0] for _, _, lines in values(root_of(made))} == {"largest"}


def test_a_label_that_stands_at_another_panel_is_that_of_all_who_share_the_axis():
    made, panels = figure(ncols=2, sharey=True)
    panels[0].set_ylabel("time (ms)")
    panels[1].plot([1], [2], marker="o", label="a")
    assert [lines for _, _, lines in values(root_of(made))] == [["a", "1", "2 ms"]]


def test_a_picture_is_of_letters_names_of_its_own_and_colours_of_the_page():
    made, panel = figure()
    panel.plot([0, 1], [0, 1], color="#0072B2", marker="o", label="<b>a</b>")
    panel.set_title("Falling & rising")
    made.legend()
    text = str(picture("name", made, 7, Palette()).svg)
    assert "<text" in text
    assert "Falling &amp; rising" in text
    assert "<b>" not in text
    assert re.findall(r'\bid="(?!f7-)', text) == []
    assert re.findall(r"url\(#(?!f7-)|href=\"#(?!f7-)", text) == []
    assert re.findall(r"(?:fill|stroke):\s*#", text) == []
    assert "<metadata" not in text
    assert "<style" not in text
    assert not re.search(r"\d\.\d{3}", re.sub(r"data:[^\"]*", "", text))


def test_the_same_figure_twice_on_a_page_shares_no_name():
    texts = []
    for number in (1, 2):
        made, panel = figure()
        panel.plot([0, 1], [0, 1], marker="o")
        texts.append(str(picture("name", made, number, Palette()).svg))
    names = [set(re.findall(r'\bid="([^"]+)"', text)) for text in texts]
    assert names[0]
    assert not names[0] & names[1]


def test_a_description_says_panels_axes_and_lines():
    made, panels = figure(ncols=2)
    for panel, title in zip(panels, ("all of it", "near $k = 0$"), strict=True):
        panel.set_title(title, loc="left")
        panel.set_xlabel("lag k")
    panels[0].set_ylabel("log10 of norm")
    handles = [*panels[0].plot([0], [0]), *panels[0].plot([0], [0])]
    made.legend(handles, ["GRU", r"bound $(\gamma\,\sigma_{\max})^k$"])
    assert describe(made) == (
        "2 panels: all of it; near k = 0. Across: lag k. Up: log10 of norm. Drawn are GRU; bound (γ σ_max)^k."
    )


def test_foot_and_caption_are_text_of_the_page():
    made, panel = figure()
    panel.set_xlabel("lag k")
    panel.set_ylabel("norm")
    made.supxlabel("64 units\na CPU")
    shown = picture("name", made, 1, Palette())
    assert (shown.caption, shown.foot) == ("Norm, over lag k", "64 units · a CPU")
    assert "a CPU" not in shown.svg


def test_kept_figures_are_not_written(tmp_path):
    made, _ = figure()
    with kept() as figures:
        assert save(made, tmp_path, "one") == []
    assert figures == [("one", made)]
    assert list(tmp_path.iterdir()) == []
    assert len(save(made, tmp_path, "one")) == len(list(tmp_path.iterdir())) == 2


def test_title_note_and_foot_are_text_of_the_page_and_leave_no_room_in_the_drawing():
    boxes = []
    for title in ("", "What is seen"):
        made = Figure(figsize=(5, 4))
        panel = made.add_axes((0.2, 0.2, 0.6, 0.5))
        panel.set_xlabel("x")
        if title:
            made.suptitle(title)
            made.text(0.1, 0.9, "what is drawn")
            made.supxlabel("where")
        shown = picture("name", made, 1, Palette())
        boxes.append(ElementTree.fromstring(shown.svg).get("viewBox"))
        if title:
            assert (shown.caption, shown.note, shown.foot) == (title, "what is drawn", "where")
            assert not any(words in shown.svg for words in (title, "what is drawn", "where"))
    assert boxes[0] == boxes[1]


def test_all_of_the_drawing_is_seen():
    made = Figure(figsize=(5, 4))
    panel = made.add_axes((0.1, 0.1, 0.8, 0.8))
    panel.plot([0, 1], [0, 1], marker="o", label="a")
    root = root_of(made)
    left, top, width, height = map(float, root.get("viewBox").split())
    x, y = 0.1 * 5 * 72, 0.1 * 4 * 72
    assert left < x - 10  # numbers at the axis
    assert top < y < top + 20
    assert left + width > 0.9 * 5 * 72
    assert top + height > 0.9 * 4 * 72 + 10


def test_a_name_with_a_dollar_is_no_formula():
    made, panel = figure()
    panel.plot([1], [2], marker="o", label="{{7*7}} \\\\gamma 5\\$")
    assert [lines[0] for _, _, lines in values(root_of(made))] == ["{{7*7}} \\\\gamma 5\\$"]
