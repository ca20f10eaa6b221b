"""A page as a tree, read by Python's own parser, and the questions that tests ask it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[3]
RESULTS = [ROOT / "docs" / "results" / "cpu", ROOT / "docs" / "results" / "cpu" / "forecast"]
# Elements of HTML that have no end; those of SVG end where they say so.
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Element:
    """A tag with its attributes, and what is in it."""

    def __init__(self, tag, attributes, parent=None):
        self.tag, self.attributes, self.parent = tag, dict(attributes), parent
        self.children = []

    def __iter__(self):
        """All elements inside, in the order of the page."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child

    def get(self, name):
        return self.attributes.get(name)

    def all(self, *tags):
        return [element for element in self if element.tag in tags]

    def one(self, *tags):
        (found,) = self.all(*tags)
        return found

    @property
    def classes(self):
        return (self.get("class") or "").split()

    @property
    def text(self):
        """All text inside; that of a line break is a space."""
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " " if self.tag == "br" else "".join(parts)

    @property
    def words(self):
        return " ".join(self.text.split())


class _Builder(HTMLParser):
    def __init__(self):
        super().__init__()
        self.root = self.open = Element("", [])

    def handle_starttag(self, tag, attributes):
        element = Element(tag, attributes, self.open)
        self.open.children.append(element)
        if tag not in VOID:
            self.open = element

    def handle_startendtag(self, tag, attributes):
        self.open.children.append(Element(tag, attributes, self.open))

    def handle_endtag(self, tag):
        assert tag == self.open.tag, f"</{tag}> where <{self.open.tag}> is open"
        self.open = self.open.parent

    def handle_data(self, data):
        self.open.children.append(data)


def read(text):
    """The tree; fails where an element is not ended, or ended twice."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    assert builder.open is builder.root
    return builder.root


def tables(root):
    """By caption: the heads, and the rows as lists of words."""
    return {table.one("caption").words: table for table in root.all("table")}


def heads(table):
    return [
        (button and button[0].get("aria-label")) or head.words
        for head in table.one("thead").all("th")
        for button in [head.all("button")]
    ]


def rows(table):
    return [row.all("th", "td") for row in table.one("tbody").all("tr")]


def number(cell):
    """What a cell is sorted by."""
    key = cell.get("data-key")
    return float(key) if key else None
