"""One skeleton for all commands: measure, save, then show; one line for whatever goes wrong.

A command is a module of this folder. Its docstring says in one line what it is for, `EXAMPLES` how it is called, and
`add_options(parser)` what it takes. One that measures has `plan(options)`, which checks all that can be wrong and
gives a function that measures, and `VIEW`, the module of `render` that shows its record; another has `run(command)`.

The exit status is 0; 1 where something failed that was measured, drawn or shown; 2 for what cannot be run as it was
asked; 124 where time was up; 128 and the number of the signal that ended it.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from unrolled.ending import ending
from unrolled.errors import InvalidValueError, UnrolledError, is_out_of_memory
from unrolled.streams import console, list_files, prepare, say, shown, unshown

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.progress import ProgressLine
    from unrolled.results.record import Record

Measure = Callable[[Callable[[Any], None], "ProgressLine"], "Record"]


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line."""

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        """What one of our own functions refuses is told as everywhere: with the name first."""
        try:
            return action.type(text) if isfunction(action.type) else super()._get_value(action, text)
        except UnrolledError as error:
            raise InvalidValueError(f"{'/'.join(action.option_strings) or action.dest}: {error}") from None

    def _get_values(self, action: argparse.Action, texts: list[str]) -> Any:
        """Of `--option=--` argparse makes an empty list."""
        if texts == ["--"] and action.option_strings:
            self.error(f"argument {action.option_strings[0]}: expected one argument, got --")
        return super()._get_values(action, texts)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to learn more; exit with status 2."""
        say(f"{self.prog}: {message} (see --help)")
        raise SystemExit(2)


def main(name: str, argv: Sequence[str] | None = None, prog: str = "") -> int:
    """Run a command, which calls itself `prog`; gives the exit status."""
    prepare()
    command = Command(name, prog or f"python -m diagnostics.{name}")
    try:
        command.words = list(sys.argv[1:] if argv is None else argv)
        command.options = command.parser.parse_args(argv)
    except UnrolledError as error:
        return command.ended(error)
    with ending(command.end, timeout=getattr(command.options, "timeout", None)):
        try:
            if hasattr(command.module, "run"):
                command.module.run(command)
            else:
                command.measure_save_show()
            return command.status
        except BaseException as error:
            return command.ended(error)


class Command:
    """One call of a command."""

    def __init__(self, name: str, prog: str) -> None:
        self.name, self.prog = name, prog
        self.module: Any = import_module(f"unrolled.cli.{name}")
        self.parser = Parser(
            prog=self.prog,
            description=self.module.__doc__,
            epilog=self.module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.module.add_options(self.parser)
        self.options = argparse.Namespace()
        self.words: list[str] = []
        self.status = 0
        self.folder: Any = None
        self.progress: Any = None

    def say(self, line: str) -> None:
        """A line about this command on standard error."""
        say(f"{self.prog}: {line}")

    def fail(self, line: str) -> None:
        """The same about something that failed."""
        self.say(line)
        self.status = 1

    @property
    def line(self) -> str:
        """What to type for the same call."""
        return f"{self.prog} {shlex.join(self.words)}"

    @property
    def _so_far(self) -> str:
        """What was going on, and where what was measured is, unless it is nowhere."""
        theirs = [getattr(self.options, "model", None), *(getattr(self.options, "cell", None) or ())]
        doing = f" during {self.progress.what}" if self.progress and self.progress.what else ""
        if not doing:  # it is looked at first what there is to measure
            doing = "".join(f", as {path} was loaded" for path in theirs if path and ":" in path)
        kept = f"; what was measured is in {self.folder.latest}" if self.folder and self.folder.latest else ""
        return doing + kept

    def end(self, reason: str) -> None:
        """Keep what there is and say so, in the middle of whatever was going on."""
        if held := getattr(self.options, "held", None):  # a checkpoint, by this training
            held.__exit__()
        if self.folder:
            self.folder.close()
        if self.progress:
            self.progress.stop()
        hint = getattr(self.module, "resume", lambda options: "")(self.options)
        self.say(f"{reason}{self._so_far}{hint}")

    def ended(self, error: BaseException) -> int:
        """One line, and the exit status, for what was raised."""
        if isinstance(error, KeyboardInterrupt):  # by no signal
            self.end("interrupted")
            return 128 + signal.SIGINT
        if isinstance(error, UnrolledError):
            self.say(f"{error}{self._so_far}" if self.folder and self.folder.latest else str(error))
            return 2
        if isinstance(error, OSError):
            self.say(f"expected files that can be used, got {error}{self._so_far}; name others")
            return 2
        if isinstance(error, SystemExit):
            self.fail(f"expected a network that returns, got sys.exit({error.code!r}){self._so_far}")
        elif not isinstance(error, Exception):
            self.fail(f"expected a network that returns, got {type(error).__name__}: {error}{self._so_far}")
        elif is_out_of_memory(error):
            self.fail(f"expected sizes that fit into memory, got none left{self._so_far}; choose smaller ones")
        else:
            raise error
        return self.status

    def measure_save_show(self) -> None:
        """Nothing is shown that is not on disk, and nothing that cannot be shown or drawn costs what was measured."""
        import torch

        from unrolled.progress import ProgressLine
        from unrolled.results.folder import ResultFolder

        options = self.options
        if options.threads:
            torch.set_num_threads(options.threads)
        self.progress = ProgressLine(sys.stderr, quiet=options.quiet)
        self._check_report()
        if options.out:
            self.folder = ResultFolder(options.out, self.name)
        with self._looking_on():
            measure: Measure = self.module.plan(options)
        paths: list[Path] = []
        with getattr(options, "held", None) or nullcontext(), self.folder or nullcontext():
            try:
                with self._looking_on():
                    record = measure(self.folder.keep if self.folder else ignore, self.progress)
                self.progress.show("plots")
                if self.folder:
                    paths = self._save(record)
            finally:
                self.progress.stop()
        self._show(record, paths)
        if hasattr(self.module, "status"):
            self.status = self.status or self.module.status(record)

    @contextmanager
    def _looking_on(self) -> Iterator[None]:
        """While somebody else's code may run: what it prints and what it changes for everybody is said, no more."""
        from unrolled.hearing import heard
        from unrolled.torch_settings import settings_kept

        with heard() as printed, settings_kept() as changed:
            yield
        if printed.lines:
            self.say(f"the network {printed}")
        if changed:
            self.say(f"the network changed settings of torch, which are put back: {', '.join(changed)}")

    def _save(self, record: Record) -> list[Path]:
        from unrolled.extras import lacks
        from unrolled.render.files import write_frames

        view = import_module(self.module.VIEW)

        def write(beside: Path) -> list[Path]:
            paths = write_frames(view.frames(record), beside)
            if not getattr(self.options, "no_plots", False):
                if lacking := lacks("matplotlib", extra="plots", why="plots"):
                    self.say(f"{lacking}, or give --no-plots")
                else:
                    paths += self._drawn(view, record, beside)
            if self.options.report:
                paths += self._reported(record, beside / f"{self.name}.html")
            return paths

        try:
            return list(self.folder.finish(record, write))
        except UnrolledError as error:
            self.fail(f"{error}{self._so_far}")
            return []

    def _drawn(self, view: ModuleType, record: Record, beside: Path) -> list[Path]:
        try:
            return list(view.draw(record, beside))
        except OSError:
            raise
        except Exception as error:  # a picture is not worth a measurement
            self.fail(f"the plots could not be drawn ({type(error).__name__}: {error}); the data are whole")
            return []

    def _check_report(self) -> None:
        """What a page takes has to be there before anything is measured for it."""
        if self.options.report:
            from unrolled.render.report import check_packages

            if not self.options.out:
                raise InvalidValueError(
                    "--report: expected --out beside it, got none; name a folder for the page"
                )
            check_packages(figures=not self.options.no_plots)

    def _reported(self, record: Record, page: Path) -> list[Path]:
        """All of it as one page, as far as it can be drawn."""
        from unrolled.render.report import Measured, write_report

        measured = Measured(record, source=f"{self.name}.json", command=self.line)
        for problem in write_report(page, [measured], figures=not self.options.no_plots):
            self.fail(problem)
        return [page]

    def _show(self, record: Record, paths: list[Path]) -> None:
        view = import_module(self.module.VIEW)

        def work() -> None:
            screen = console()
            if hasattr(self.module, "show"):
                self.module.show(record, screen, self.options)
            else:
                view.show(record, screen, explain=self.options.explain)
            hint(screen, self.options)
            if paths and not (self.options.quiet or getattr(self.options, "json", False)):
                list_files(screen, paths)

        self.shown(work, paths)

    def shown(self, work: Callable[[], object], paths: Sequence[Path]) -> None:
        """Print; what cannot be shown costs the display alone, and a line says so."""
        where = f"; results are in {paths[0].parent}" if paths else ""
        if problem := shown(work):
            self.fail(f"{problem}, so the tables are not shown{where}")
        elif lacking := unshown():
            self.say(f"{sys.stdout.encoding} lacks {len(lacking)} of the characters: ? stands for them{where}")


def hint(screen: Console, options: argparse.Namespace) -> None:
    """A last line about `--explain`, where that was not given."""
    from unrolled.render.text import HINT

    if not (options.explain or getattr(options, "json", False)):
        screen.print(HINT, style="dim")


def ignore(record: Record) -> None:
    """Where nothing is to be written, nothing is kept."""
