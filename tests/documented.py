"""Code of Markdown pages, and running it as a reader would: in order, in a folder of their own.

```python                  is run; a ```text right below it is what it prints
```python title="mine.py"  is saved under that name, as is any block with a title
```diff title="file.py"    changes a file: old lines stand in it once, `...` parts places
```sh                      is typed, line by line
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT, environment
from unrolled.cli.command import main

FENCE = re.compile(r"(?P<indent> *)```(?P<language>[a-z]*)(?: title=\"(?P<title>[^\"]*)\")?(?P<rest>.*)")
# Sizes for what a line says none of: the same work, in seconds.
SMALL = {
    "bench": {
        "--layers": "1", "--batch": "2", "--length": "4", "--hidden": "4", "--input": "3", "--phase": "forward",
        "--budget": "0.01", "--passes": "1",
    },
    "why": {"--length": "5", "--hidden": "8", "--input": "4", "--budget": "0.2"},
    "gradflow": {"--length": "21", "--lengths": "5,10", "--hidden": "8"},
    "spectrum": {"--length": "120", "--hidden": "8", "--gains": "none", "--lags": "1,5"},
    "shapes": {},
    "learn": {"--delays": "3,6", "--iterations": "25", "--hidden": "4", "--seeds": "2"},
    "advise": {"--delay": "4", "--iterations": "25", "--hidden": "4", "--seeds": "2"},
    "sweep": {"--workers": "1"},
    "parallel": {"--lengths": "20,40", "--hidden": "4"},
    "forecast": {"--iterations": "30"},
}  # fmt: skip
# Where a line says it, it is as long as said, and done once or so.
SHORTER = {
    "--seeds": "2",
    "--iterations": "25",
    "--delays": "3,6",
    "--until-decided": "0.1",
    "--budget": "0.01",
}
# Of these a model decides itself.
OF_A_MODEL = {"--hidden", "--length", "--lengths", "--layers", "--input", "--delay"}


@dataclass(frozen=True)
class Block:
    """A piece of code, with the line of the page where it begins."""

    language: str
    title: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """The fenced code of a page, in order, without its indentation."""
    return list(_blocks(page.read_text(encoding="utf-8").splitlines(), page))


def _blocks(lines: list[str], page: Path) -> Iterator[Block]:
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        if not (opened := FENCE.fullmatch(line)):
            continue
        assert not opened["rest"], f"{page}:{number}: a fence with {opened['rest']!r}, which nobody reads"
        inside = []
        for _, each in numbered:
            if each == opened["indent"] + "```":
                break
            inside.append(each.removeprefix(opened["indent"]))
        else:
            raise AssertionError(f"{page}:{number}: a fence that does not end")
        yield Block(opened["language"], opened["title"] or "", "\n".join(inside) + "\n", number)


def lines_of(block: Block) -> list[str]:
    """The commands of a `sh` block, without what stands behind a #."""
    joined = block.text.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def commands_of(page: Path) -> list[str]:
    """All lines of a page that are typed."""
    return [line for block in blocks_of(page) if block.language == "sh" for line in lines_of(block)]


def shortened(line: str) -> list[str]:
    """A line of ours, `unrolled X …` or one of its other doors, as words, at sizes that take seconds."""
    words = shlex.split(line)
    if words[:1] == ["unrolled"]:
        name, rest = words[1], words[2:]
    elif words[:2] == ["python", "-m"] and words[2].startswith("diagnostics."):
        name, rest = words[2].removeprefix("diagnostics."), words[3:]
    elif words[:1] == ["examples/gate.sh"]:  # whose options are those of a benchmark
        benchmark = shortened(shlex.join(["unrolled", "bench", *words[2:]]))
        return [*words[:2], *benchmark[2:]]
    elif words[:1] == ["pytest"] and any(word.startswith("bench/bench_") for word in words):
        return ["--benchmark-disable" if word == "--benchmark-only" else word for word in words]  # each once
    else:
        return words
    rest = [word for word in rest if word != "--help"] or rest
    rest = [
        SHORTER.get(before, word) if not word.startswith("--") else word
        for before, word in zip(["", *rest], rest, strict=False)
    ]
    said = {word for word in rest if word.startswith("--")}
    decided = "--model" in said or (name == "advise" and "--preset" in said)
    left_out = said | (OF_A_MODEL if decided else set()) | ({"--gains"} if said & {"--model"} else set())
    more = {} if "--help" in said else {k: v for k, v in SMALL.get(name, {}).items() if k not in left_out}
    return ["unrolled", name, *rest, *(word for pair in more.items() for word in pair)]


class Reader:
    """Does what a page says, in `folder`: its files, its Python, and its lines.

    Lines that are not for a folder of tests (`make`, `git`, `pip`) are in `left` and told by their first word.
    """

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder, self.root = folder, root
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.left: list[str] = []
        self.printed = ""

    def read(self, page: Path) -> None:
        """The whole page, from top to bottom."""
        before: Block | None = None
        with _in(self.folder):
            for block in blocks_of(page):
                self._do(page, block, before)
                before = block

    def _do(self, page: Path, block: Block, before: Block | None) -> None:
        where = f"{page.name}:{block.line}"
        if block.language == "diff":
            change(self.root / block.title if self.root != ROOT else self.folder / block.title, block.text)
        elif block.title:
            path = (self.root if self.root != ROOT else self.folder) / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self.printed = self._run(block.text, where)
        elif block.language == "sh":
            for line in lines_of(block):
                self._type(line, where)
        elif block.language == "text" and before is not None and before.language == "python":
            assert self.printed == block.text, f"{where}: it prints {self.printed!r}"

    def _run(self, source: str, where: str) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(source, where, "exec"), self.names)
        return out.getvalue()

    def _type(self, line: str, where: str) -> None:
        words = shortened(line)
        if words[0] in ("make", "git", "pip", "bash") or words[:3] in (
            ["python", "-m", "build"],
            ["python", "-m", "twine"],
        ):
            self.left.append(line)
            return
        status, said = self._ours(words) if self._is_quick(words) else self._process(words)
        assert status == 0, f"{where}: {line}: exit status {status}\n{said}"

    def _is_quick(self, words: list[str]) -> bool:
        """Whether it runs in this process: torch, which takes seconds to import, is here."""
        return words[0] == "unrolled" and words[1] != "bench" and self.root == ROOT

    def _ours(self, words: list[str]) -> tuple[int, str]:
        """A command in this process, with its status and what it said."""
        name, *rest = words[1:]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                status = main(name, [_of(self.root, word) for word in rest], prog=f"unrolled {name}")
            except SystemExit as left:
                status = int(left.code or 0)
        return status, said.getvalue()

    def _process(self, words: list[str]) -> tuple[int, str]:
        """A line in a process, as typed by someone whose environment is this one."""
        path = os.pathsep.join(map(str, (self.root / "src", self.root, self.folder)))
        programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        done = subprocess.run(
            argv_of(words, self.root), cwd=self.folder, env=environment() | {"PYTHONPATH": path, "PATH": programs}, encoding="utf-8",
            capture_output=True, check=False, timeout=600,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


def argv_of(words: list[str], root: Path = ROOT) -> list[str]:
    """What is started for a line, where `python`, `pytest` and `unrolled` are those of this environment."""
    first, *rest = words
    files = [_of(root, word) for word in rest]
    if first == "unrolled":
        return [sys.executable, "-c", "from unrolled.cli.door import main; raise SystemExit(main())", *files]
    if first == "pytest":
        return [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "unrolled.pytest_plugin",
            *files,
        ]
    if first == "python":
        return [sys.executable, *files]
    return [str(root / first), *rest]


def _of(root: Path, word: str) -> str:
    """A file of the checkout by its whole path, and any other word as it is."""
    is_file = "/" in word and not word.startswith("results/") and (root / word).exists()
    return str(root / word) if is_file else word


def change(path: Path, diff: str) -> None:
    """Change a file as the hunks of `diff` say; each of them fits it in one place."""
    text = path.read_text(encoding="utf-8")
    for hunk in re.split(r"^\.\.\.\n", diff, flags=re.MULTILINE):
        lines = [line or " " for line in hunk.splitlines()]
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] != sign) for sign in "+-")
        assert text.count(old) == 1, f"{path}: {text.count(old)} places for\n{old}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    """The current folder, and where modules are found; what was imported from there is forgotten."""
    before, path, known = Path.cwd(), list(sys.path), set(sys.modules)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]
