"""What the pages of the site say can be done is done here, and every column and word of a screen is explained there."""

import ast
import io
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec

import pytest
import yaml
from docs.screens import LINES, SCREENS, screen
from rich.console import Console
from rich.table import Table

from tests.documented import Reader, blocks_of, commands_of, shortened
from tests.processes import ROOT
from unrolled.cli.bench import _parser
from unrolled.cli.command import Command
from unrolled.cli.door import COMMANDS

DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md"))}
# Seconds are a matter of the machine; of these some line compiles, trains, times or draws for more than five.
SLOW = {
    "extending.md", "first-steps.md", "guides/gate.md", "guides/lecture.md", "guides/server.md", "guides/your-cell.md",
    "guides/your-implementation.md", "guides/your-model.md", "reading/advise.md", "reading/bench.md", "reading/forecast.md",
    "reading/gradflow.md", "reading/learn.md", "reading/parallel.md", "reading/spectrum.md", "reading/sweep.md", "reading/why.md",
}  # fmt: skip
# A gate that says what two timings say, so nothing may run beside it.
TIMING = {"guides/gate.md"}
# Lines that install, publish or do everything: what can be told of them is told below.
LEFT = {
    "pip install 'unrolled[all]'", "make gradflow", "make test", "make lint", "make docs", "bash .ci/run",
    'git tag --annotate v0.1.0 --message "unrolled 0.1.0"', "git push origin v0.1.0", "python -m build",
    "python -m twine check --strict dist/*", "python -m twine upload dist/*",
}  # fmt: skip


def page(name):
    return PAGES[name].read_text(encoding="utf-8")


@pytest.fixture
def plain(monkeypatch, tmp_path):
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def pages(slow):
    return [
        pytest.param(
            name,
            marks=[pytest.mark.slow] * (name in SLOW) + [pytest.mark.timing] * (name in TIMING),
        )
        for name in PAGES
        if (name in SLOW) == slow
    ]


@pytest.mark.parametrize("name", [*pages(slow=False), *pages(slow=True)])
def test_what_a_page_says_can_be_done_is_done(name, plain):
    reader = Reader(plain, copied(plain / "checkout") if name == "extending.md" else ROOT)
    reader.read(PAGES[name])
    assert set(reader.left) <= LEFT


def copied(folder):
    """What the recipes of `extending.md` change, in a checkout of its own."""
    for part in ("src", "diagnostics", "bench", "tests", "examples", "pyproject.toml"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


# What the recipes of `extending.md` add is there when they are followed.
OURS = sorted(
    {
        line
        for name in PAGES
        for line in commands_of(PAGES[name])
        if line.startswith("unrolled ") and "--help" not in line and name != "extending.md"
    }
)


@pytest.mark.parametrize("line", OURS)
def test_every_option_that_a_page_shows_is_one(line):
    name, *options = shlex.split(line)[1:]
    assert name in COMMANDS
    if name == "bench":
        _parser().parse_args(options)
    else:
        Command(name, f"unrolled {name}").parser.parse_args(options)


def test_what_only_installs_or_publishes_is_there_to_do_so():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in LEFT:
        words = line.split()
        if words[0] == "make":
            assert words[1] in targets, line
        if words[0] == "bash":
            assert (ROOT / words[1]).exists()


# Every column of every table, at the widths of narrow and wide terminals.


def headings(monkeypatch, show, *widths):
    """The heads of the tables that `show(screen)` makes."""
    found, add = set(), Table.add_column

    def noted(table, header="", *args, **kwargs):
        if table.show_header:
            found.add(str(header))
        return add(table, header, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "add_column", noted)
        for width in widths:
            show(Console(file=io.StringIO(), width=width))
    return {head.removesuffix(" (99 %)") for head in found if head.strip()}


def plain_words(text):
    """Without the spaces, lines and hyphens that a narrow column puts into a head."""
    return re.sub(r"[\s-]", "", text).lower()


def missing(name, heads):
    """What of these stands on a page nowhere in bold."""
    bold = {plain_words(words) for words in re.findall(r"\*\*(.+?)\*\*", page(name))}
    return sorted(head for head in heads if plain_words(head) not in bold)


def benchmark():
    """A run whose tables have every column: several values on each axis, and one contender that compiles."""
    from tests.render.runs import race, run
    from unrolled import Workload
    from unrolled.speed.network import Horizon, Network

    base = Workload(cell="lstm", num_layers=1, input_size=8, hidden_size=16, batch_size=2, seq_len=10)
    network = Network("gru", 1000, 1e6, Horizon(20, False))
    changes = (
        {},
        {"seq_len": 20},
        {"input_size": 9},
        {"hidden_size": 32},
        {"bidirectional": True},
        {"dtype": "bfloat16"},
        {"bias": False},
        {"batch_first": True},
        {"proj_size": 4},
        {"num_layers": 2, "dropout": 0.1},
        {"packed": True},
    )
    results = []
    for number, change in enumerate(changes):
        for threads in (1, 2):
            results += race(
                {"fused": 1.0, "cells": 2.0, "hoisted": 1.5, "compiled": 0.5}, base.replace(**change),
                threads=threads, compile_s=1.0 + number, uncompiled_s=0.02,
            )  # fmt: skip
    results += race({"fused": 1.0, "network:gru": 0.75}, base.replace(seq_len=30), network=network)
    return run(results)


def of_bench(screen):
    from unrolled.render import bench

    for as_ in ("ratio", "speedup"):
        bench.show(benchmark(), screen, as_)


def of_compare(screen):
    from unrolled.render import comparison
    from unrolled.speed.compare import BOUNDS, compare_runs

    comparison.show(compare_runs(benchmark(), benchmark(), BOUNDS), screen, 10)


def of(record, view, **how):
    """What shows a record that is kept in the repository."""

    def show(screen):
        from importlib import import_module

        from unrolled.render.saved import load

        import_module(f"unrolled.render.{view}").show(load(ROOT / record), screen, **how)

    return show


TABLES = {
    "reading/bench.md": of_bench,
    "reading/compare.md": of_compare,
    "reading/why.md": of("docs/results/cpu/why/why.json", "why", explain=True),
    "reading/gradflow.md": of("docs/results/cpu/gradflow.json", "gradflow"),
    "reading/spectrum.md": of("docs/results/cpu/spectrum.json", "spectrum"),
    "reading/learn.md": of("docs/results/cpu/learn/learn.json", "learn"),
    "reading/advise.md": of("docs/results/cpu/advise/advise.json", "advise"),
    "reading/parallel.md": of("docs/results/cpu/parallel/parallel.json", "parallel"),
    "reading/shapes.md": of("docs/screens/shapes.json", "shapes"),
    "reading/forecast.md": of("docs/results/cpu/forecast/forecast.json", "forecast", suggest=True),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_explained_on_its_page(name, monkeypatch):
    heads = headings(monkeypatch, TABLES[name], 80, 100, 140)
    assert len(heads) > 5
    assert missing(name, heads) == []


def words_of():
    """The words that a table has in place of a number, by the page that has to explain them."""
    from unrolled.forecast.motion import MOTIONS
    from unrolled.forecast.outcome import OUTCOMES
    from unrolled.render import gradflow_tables, learn_tables, speed_tables
    from unrolled.speed.result import STATUSES

    statuses = [status.upper() for status in STATUSES if status != "ok"]
    return {
        "reading/bench.md": [*speed_tables.STYLES, *statuses],
        "reading/gradflow.md": list(gradflow_tables.STYLES),
        "reading/learn.md": list(learn_tables.STYLES),
        "reading/forecast.md": [*OUTCOMES, *MOTIONS],
        "reading/compare.md": [
            "slower",
            "faster",
            "undecided",
            "within",
            "lost",
            "mended",
            "new",
            "still without a time",
        ],
    }


@pytest.mark.parametrize("name", words_of())
def test_every_verdict_is_explained_on_its_page(name):
    assert missing(name, words_of()[name]) == []


def files_of():
    """The frames that a command saves, by the page that has to explain their columns."""
    from unrolled.render import advise, bench, forecast, gradflow, learn, parallel, shapes, spectrum, sweep, why
    from unrolled.render.saved import load

    return {
        "reading/bench.md": bench.frames(benchmark()),
        "reading/why.md": why.frames(load(ROOT / "docs/results/cpu/why/why.json")),
        "reading/gradflow.md": gradflow.frames(load(ROOT / "docs/results/cpu/gradflow.json")),
        "reading/spectrum.md": spectrum.frames(load(ROOT / "docs/results/cpu/spectrum.json")),
        "reading/learn.md": learn.frames(load(ROOT / "docs/results/cpu/learn/learn.json")),
        "reading/advise.md": advise.frames(load(ROOT / "docs/results/cpu/advise/advise.json")),
        "reading/sweep.md": {"sweep": sweep.frames(load(ROOT / "docs/results/cpu/sweep/sweep.json"))["sweep"]},
        "reading/parallel.md": parallel.frames(load(ROOT / "docs/results/cpu/parallel/parallel.json")),
        "reading/shapes.md": shapes.frames(load(ROOT / "docs/screens/shapes.json")),
        "reading/forecast.md": forecast.frames(load(ROOT / "docs/results/cpu/forecast/forecast.json")),
    }


def test_every_column_of_a_file_is_explained_on_its_page():
    for name, frames in files_of().items():
        for file, frame in frames.items():
            assert len(frame.columns) > 1, file
            assert [column for column in frame if f"`{column}`" not in page(name)] == [], f"{name}: {file}.csv"


@pytest.mark.parametrize("name", LINES)
def test_the_screens_are_what_the_commands_print_now(name):
    kept = (SCREENS / f"{name}.txt").read_text(encoding="utf-8")
    assert kept == screen(name), f"python docs/screens.py {name} renews it; then read its page again"


# The site.


class Linked(HTMLParser):
    """What a page loads by itself, where its links lead, and the places that links lead to."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.links, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag != "a":
            self.loaded += [found[name] for name in ("src", "href", "srcset", "data") if found.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        path.relative_to(folder): Linked(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")
    }, folder


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_is_built_and_loads_nothing_from_elsewhere(site):
    parsed, folder = site
    assert len(parsed) >= len(PAGES)
    for path, found in parsed.items():
        assert [each for each in found.loaded if re.match("(https?:)?//", each)] == [], path
    for style in folder.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style
    assert "<math" in (folder / "mathematics.html").read_text(encoding="utf-8")
    assert "arithmatex" not in (folder / "mathematics.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_links_within_the_site_lead_somewhere(site):
    parsed, folder = site
    for path, found in parsed.items():
        for link in found.links if path.name != "404.html" else ():  # which may be shown anywhere
            if re.match("[a-z]+:", link):
                continue
            target, _, place = link.partition("#")
            file = (folder / path.parent / target).resolve().relative_to(folder.resolve()) if target else path
            assert (folder / file).exists(), f"{path}: {link}"
            if place and file in parsed and not place.startswith("__"):
                assert place in parsed[file].ids, f"{path}: {link}"


def test_every_page_is_in_the_table_of_contents():
    class Loader(yaml.SafeLoader):
        """Names of Python functions stay what they are."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)

    def listed(entry):
        if isinstance(entry, str):
            return [entry]
        return [
            page for each in (entry.values() if isinstance(entry, dict) else entry) for page in listed(each)
        ]

    assert sorted(listed(settings["nav"])) == sorted(PAGES)
    assert settings["theme"]["font"] is False
    assert settings["strict"]


@pytest.mark.parametrize("name", PAGES)
def test_python_of_a_page_is_python(name):
    for block in blocks_of(PAGES[name]):
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "yaml":
            assert yaml.safe_load(block.text)


def test_a_page_that_says_what_is_not_so_is_found(plain):
    wrong = ROOT / "docs" / "wrong.md"
    for text, words in (
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "it prints"),
        ("```sh\nunrolled gradflow --cell ltsm\n```\n", "exit status 2"),
        ('```diff title="a.py"\n-not there\n+here\n```\n', "0 places"),
        ("```sh\n", "does not end"),
    ):
        (plain / "a.py").write_text("something\n")
        assert not wrong.exists()
        other = plain / "wrong.md"
        other.write_text(text, encoding="utf-8")
        with pytest.raises(AssertionError, match=words):
            Reader(plain).read(other)


def test_lines_are_made_short_and_say_what_they_said():
    words = shortened("unrolled gradflow --cell gru --length 401")
    assert words[:6] == ["unrolled", "gradflow", "--cell", "gru", "--length", "401"]
    assert "--hidden" in words
    assert words.count("--length") == 1
    assert shortened("unrolled forecast --seeds 10")[:4] == ["unrolled", "forecast", "--seeds", "2"]
    assert shortened("unrolled bench --help") == ["unrolled", "bench", "--help"]
