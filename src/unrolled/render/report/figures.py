"""A matplotlib figure as a picture inside a page: SVG with letters, colours for light and dark, values under a pointer.

The SVG is matplotlib's own. Nothing is drawn by a script, so that a page prints as it looks, and a picture here is the
one that the command draws.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from unrolled.render.report.colours import LIGHT_PAPER, Palette
from unrolled.render.report.hover import POINTS, Value, values_of
from unrolled.render.style import house_style

HREF = "{http://www.w3.org/1999/xlink}href"
LEFT_OUT = ("metadata", "style", "title")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
REFERENCE = re.compile(r"(?<=url\(#)[\w-]+")
FONTS = re.compile(r"(?:'DejaVu Sans(?: Display)?'|\"DejaVu Sans\")\s*(?:,[^;]*)?")
NAMED_BY = {"labelledby": "caption", "describedby": "description"}
LETTERS = {"gamma": "γ", "sigma": "σ", "lambda": "λ", "propto": "∝"}
MARGIN = 4.0  # points around what is drawn
MOST_LINES = 12  # that a description names one by one


@dataclass(frozen=True)
class Picture:
    """A figure of the page; `width` is the one it was drawn for, in points."""

    name: str
    number: int
    caption: str
    note: str
    foot: str
    description: str
    width: float
    has_values: bool
    has_own_title: bool  # written inside
    svg: Markup

    @property
    def id(self) -> str:
        """Of its element."""
        return f"figure-{self.number}"


def picture(name: str, figure: Figure, number: int, palette: Palette) -> Picture:
    """The figure, with what is written around its panels as text of the page; `number` makes its names its own."""
    foot = " · ".join(figure.get_supxlabel().split("\n"))
    caption, description = _caption(figure), describe(figure)
    own_title = not figure.get_suptitle() and bool(figure.get_label())
    around = [figure._suptitle, figure._supxlabel]  # type: ignore[attr-defined]
    note = " ".join(_plain(text.get_text()) for text in figure.texts if text not in around)
    with house_style(), rc_context({"svg.fonttype": "none"}):
        for text in {*figure.texts, *around} - {None}:
            text.set_text("")
        papers: list[Figure | Axes] = [figure, *figure.axes]
        for paper in papers:
            if to_hex(paper.get_facecolor()) == LIGHT_PAPER:
                paper.patch.set_visible(False)  # that of the page
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        values, box = values_of(figure), _box(figure)
        written = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None})  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(written.getvalue())
    _rewritten(root, f"f{number}-", palette)
    root.attrib.clear()
    root.attrib |= {"viewBox": " ".join(f"{each:.1f}" for each in box), "role": "img"}
    root.attrib |= {f"aria-{what}": f"figure-{number}-{part}" for what, part in NAMED_BY.items()}
    root.append(_targets(values))
    svg = Markup(ElementTree.tostring(root, encoding="unicode"))  # escaped by ElementTree
    return Picture(
        name, number, caption, note, foot, description, box[2], bool(values), own_title, svg
    )  # fmt: skip


def _box(figure: Figure) -> tuple[float, float, float, float]:
    """Left, top, width and height of what is drawn, in points: without the room that moved to the page."""
    found = figure.get_tightbbox()
    left, right = POINTS * found.x0 - MARGIN, POINTS * found.x1 + MARGIN
    top = POINTS * (figure.get_figheight() - found.y1) - MARGIN
    bottom = POINTS * (figure.get_figheight() - found.y0) + MARGIN
    return left, top, right - left, bottom - top


def _caption(figure: Figure) -> str:
    """The title of the figure, or what it shows over what."""
    if title := figure.get_suptitle() or str(figure.get_label()):
        return _plain(title)
    ups = dict.fromkeys(_plain(axes.get_ylabel()) for axes in figure.axes if axes.axison)
    across = dict.fromkeys(_plain(axes.get_xlabel()) for axes in figure.axes if axes.axison)
    up, along = "; ".join(filter(None, ups)), "; ".join(filter(None, across))
    if up and along:
        said = f"{up}, over {along}"
    else:
        said = up or along or next((t.get_text() for axes in figure.axes for t in axes.texts), "")
    return said[:1].upper() + said[1:]


def describe(figure: Figure) -> str:
    """In words what a reader who does not see it has to know: its panels, its axes, its lines from end to end."""
    panels = [axes for axes in figure.axes if axes.axison]
    titles = [_plain(axes.get_title(loc="left") or axes.get_title()) for axes in panels]
    said = []
    if any(titles):
        named = "; ".join(filter(None, titles))
        said.append(f"{len(panels)} panel{'s' * (len(panels) != 1)}: {named}.")
    for axis, words in (
        ("Across", [axes.get_xlabel() for axes in panels]),
        ("Up", [axes.get_ylabel() for axes in panels]),
    ):
        labels = [word for word in dict.fromkeys(map(_plain, words)) if word]
        said += [f"{axis}: {'; '.join(labels)}."] if labels else []
    names = [_plain(text.get_text()) for legend in figure.legends for text in legend.get_texts()]
    if names:
        more = f" and {len(names) - MOST_LINES} more" if len(names) > MOST_LINES else ""
        said.append(f"Drawn are {'; '.join(names[:MOST_LINES])}{more}.")
    if not said:
        written = [_plain(text.get_text()) for axes in figure.axes for text in axes.texts]
        said.append(f"A drawing. {'; '.join(written[:2])}.")
    return " ".join(said)


def _plain(words: str) -> str:
    """Words in one line, with mathematics as letters: `∝B^x` for `$\\propto B^x$`."""
    return " ".join(re.sub(r"\$([^$]+)\$", lambda found: _letters(found[1]), words).split())


def _letters(formula: str) -> str:
    bare = re.sub(r"\\mathregular|\\mathrm|[{}]", "", formula)
    return re.sub(r"\\([a-z]+)\s*", lambda found: LETTERS.get(found[1], found[1]), bare).replace("\\,", " ")


def _rewritten(root: ElementTree.Element, prefix: str, palette: Palette) -> None:
    """Drop what a page does not need, make names those of this figure alone, and colours those of the page."""
    for parent in root.iter():
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if child.tag.rpartition("}")[2] in LEFT_OUT:
                parent.remove(child)
    # In order of use: matplotlib names by all digits of a position, and the layout leaves the last ones to chance.
    used = dict.fromkeys(
        name for element in root.iter() for key, text in element.attrib.items() for name in _names(key, text)
    )
    short = {name: f"{prefix}{k}" for k, name in enumerate(used)}
    for element in root.iter():
        is_text = element.tag in ("text", "tspan")
        for key, text in list(element.attrib.items()):
            del element.attrib[key]
            if key == "id" and text not in short:
                continue
            element.attrib["href" if key == HREF else key] = _value(key, text, short, palette, is_text)
        if element.tail and not element.tail.strip():
            element.tail = None
        if element.text and not element.text.strip() and not is_text:
            element.text = None


def _names(key: str, text: str) -> list[str]:
    """The elements that an attribute names."""
    return [text[1:]] if key == HREF and text.startswith("#") else REFERENCE.findall(text)


def _value(key: str, text: str, short: dict[str, str], palette: Palette, is_text: bool) -> str:
    """Of one attribute."""
    if key == "id":
        return short[text]
    if key == HREF:
        return f"#{short[text[1:]]}" if text.startswith("#") else text
    text = REFERENCE.sub(lambda found: short[found[0]], text)
    if key in ("style", "fill", "stroke"):
        text = COLOUR.sub(lambda found: palette.variable(found[0], is_text), text)
        text = FONTS.sub("var(--figure-font)", text)
    return LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), text)


def _targets(values: list[Value]) -> ElementTree.Element:
    """What a pointer finds: a rectangle that is not seen, with its value as a title."""
    group = ElementTree.Element("g", {"class": "values"})
    for value in values:
        place = {"x": value.x, "y": value.y, "width": value.width, "height": value.height}
        target = ElementTree.SubElement(group, "rect", {name: f"{size:.1f}" for name, size in place.items()})
        ElementTree.SubElement(target, "title").text = "\n".join(map(_plain, value.lines))
    return group
