"""Records as one HTML file that needs nothing beside it: the answer first, then figures, tables, settings, machine."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from unrolled.extras import need
from unrolled.render.report.colours import Palette
from unrolled.render.report.commands import Options, command_of, options_of
from unrolled.render.report.screen import Screen
from unrolled.render.saved import view_of
from unrolled.results.record import write_atomically

TITLES = {
    "bench": "Speed",
    "why": "Why a loop is slower",
    "gradflow": "Reach of the gradient",
    "spectrum": "Memory and chaos",
    "learn": "What was learned",
    "advise": "Advice that helped",
    "sweep": "A sweep",
    "parallel": "In parallel over time",
    "forecast": "Clipping in training",
    "shapes": "Shapes",
}
FIELDS = {  # of an environment, whose other fields are called as they are
    "cpu": "CPU", "threads": "threads of torch", "os": "operating system", "python": "Python", "torch": "PyTorch",
    "onednn": "oneDNN", "mkl": "MKL", "cuda": "CUDA", "cudnn": "cuDNN", "gpu": "GPU", "load_average": "load average",
    "matmul_tf32": "TF32 in products", "cudnn_tf32": "TF32 in cuDNN", "git_commit": "commit of unrolled",
    "matmul_precision": "precision of float32 products",
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A record, and what is known of it beside: its file, the command that measured it, how its view is called.

    Without a command, the record says itself how it was measured, as far as it knows.
    """

    record: Any
    source: str = ""
    command: str = ""
    is_part: bool = False
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A record on the page."""

    id: str
    title: str
    answer: str
    rest: Sequence[str]
    figures: Sequence[Any]
    tables: Sequence[Any]
    problems: Sequence[str]
    command: str
    settings: Options
    source: str
    is_part: bool

    @property
    def command_parts(self) -> list[str]:
        """The command, to be broken into lines before its options."""
        return re.split("(?<= )(?=--)", self.command)


@dataclass(frozen=True)
class Page:
    """All that the template fills in."""

    title: str
    sections: Sequence[Section]
    machines: Sequence[str]
    environment: Sequence[tuple[str, Sequence[str]]]
    machine_caption: str
    light: str
    dark: str
    command: str


def check_packages(figures: bool = True) -> None:
    """Raise `MissingPackageError` where a page could not be made, before anything is measured for it."""
    need("jinja2", extra="report", why="a report")
    if figures:
        need("matplotlib", extra="plots", why="the figures of a report")


def write_report(
    path: Path, measured: Sequence[Measured], *, figures: bool = True, command: str = ""
) -> list[str]:
    """Write the page at `path`; `command` is what makes the page again. Gives what could not be drawn, a line each.

    Raises `MissingPackageError` where jinja2 is not installed, or matplotlib and figures are asked for.
    """
    check_packages(figures)
    page = page_of(measured, figures=figures, command=command)
    write_atomically(path, html_of(page))
    return [f"{section.title}: {problem}" for section in page.sections for problem in section.problems]


def page_of(measured: Sequence[Measured], *, figures: bool = True, command: str = "") -> Page:
    """The page, as what is in it."""
    palette = Palette()
    titles = _titles(measured)
    sections: list[Section] = []
    for number, (each, title) in enumerate(zip(measured, titles, strict=True), start=1):
        before = sum(len(section.figures) for section in sections)
        sections.append(_section(each, f"result-{number}", title, palette if figures else None, before))
    machines, environment = _environment([each.record for each in measured], titles)
    return Page(
        title=titles[0] if len(titles) == 1 else _listed([TITLES[_name(each.record)] for each in measured]),
        sections=sections,
        machines=machines,
        environment=environment,
        machine_caption="What all of it was measured on" if len(machines) == 1 else "What each was measured on",
        light=palette.css(dark=False),
        dark=palette.css(dark=True),
        command=command,
    )


def html_of(page: Page) -> str:
    """The text of the file."""
    jinja2 = need("jinja2", extra="report", why="a report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    markup = need("markupsafe", extra="report", why="a report").Markup
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text: str = environment.from_string(_asset("report.html.jinja")).render(
        page=page, script=markup(script), style=markup(_asset("report.css")), script_hash=digest,
        version=version("unrolled"),
    )  # fmt: skip
    return text + "\n"


@cache
def _asset(name: str) -> str:
    """A file beside this one, without the end of its last line."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def _name(record: Any) -> str:
    name: str = record.FORMAT.removeprefix("unrolled.")
    return name


def _titles(measured: Sequence[Measured]) -> list[str]:
    """What each section is about; with its folder where there are several of a kind."""
    plain = [TITLES[_name(each.record)] for each in measured]
    return [
        f"{title}, {Path(each.source).parent}" if plain.count(title) > 1 and each.source else title
        for title, each in zip(plain, measured, strict=True)
    ]


def _listed(titles: Sequence[str]) -> str:
    """`Speed, shapes`: each once."""
    first, *others = dict.fromkeys(titles)
    return ", ".join([first, *(f"{other[0].lower()}{other[1:]}" for other in others)])


def _section(each: Measured, id: str, title: str, palette: Palette | None, before: int) -> Section:
    """What a command would print and draw of a record; `before` figures stand above it on the page."""
    from unrolled.render.report.tables import page_table

    view = view_of(each.record)
    screen = Screen()
    view.show(each.record, screen, explain=True, **each.how)
    figures, problems = _figures(view, each, palette, before) if palette is not None else ([], [])
    return Section(
        id=id,
        title=title,
        answer=screen.printed.answer,
        rest=screen.printed.rest,
        figures=figures,
        tables=[page_table(*printed) for printed in screen.printed.tables],
        problems=problems,
        command=each.command or command_of(each.record),
        settings=options_of(each.record) or [],
        source=f"Every number is in {each.source}." if each.source else "",
        is_part=each.is_part,
    )


def _figures(view: ModuleType, each: Measured, palette: Palette, before: int) -> tuple[list[Any], list[str]]:
    """The figures that a view draws, and why there are none where it cannot: the tables are worth having without."""
    from unrolled.render.kept import kept
    from unrolled.render.report.figures import picture

    try:
        with kept() as drawn:
            view.draw(each.record, Path(), **each.how)
        return [picture(*one, number, palette) for number, one in enumerate(drawn, start=before + 1)], []
    except Exception as error:
        return [], [f"The figures could not be drawn ({type(error).__name__}: {error}); the tables are whole."]


def _environment(
    records: Sequence[Any], titles: Sequence[str]
) -> tuple[list[str], list[tuple[str, Sequence[str]]]]:
    """The machine of each record; of one column where all were measured on the same."""
    found = [record.environment.to_dict() for record in records]
    same = all(one == found[0] for one in found)
    shown = found[:1] if same else found
    rows: list[tuple[str, Sequence[str]]] = [
        (FIELDS.get(name, name), [_value(one.get(name)) for one in shown]) for name in found[0]
    ]
    return (["all"] if same else list(titles)), rows


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)
