"""A grid of races as benchmarks, one for each contender: `pytest bench/ --benchmark-only`, or `unrolled bench`.

All races are measured together, in several passes over the grid, when the first benchmark begins. Each benchmark then
hands its own rounds to pytest-benchmark, by a clock that shows what was measured: statistics, files and comparisons
are pytest-benchmark's.

torch is imported when a run starts and not before: `--help` and mistyped options answer at once.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.utils import load_timer

from unrolled.checks import check_threads
from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.progress import ProgressLine
from unrolled.pytest_plugin.options import add_options
from unrolled.pytest_plugin.races import Races
from unrolled.speed.grid import GRIDS, LADDER, Case
from unrolled.speed.settings import DEFAULT_BUDGET, DEFAULT_OUT, DEFAULT_PASSES, LIST_OPTIONS, Settings
from unrolled.speed.statistics import MIN_ROUNDS
from unrolled.streams import prepare

if TYPE_CHECKING:
    from unrolled.results.folder import ResultFolder
    from unrolled.speed.load import Load
    from unrolled.speed.result import Result
    from unrolled.speed.run import Run
    from unrolled.speed.session import Session

STARTED = perf_counter()
HERE = Path(__file__).parent
# What `unrolled bench` is to pytest, before the options that were typed: nothing of the current folder is looked at.
INSTALLED = (
    *("-c", str(HERE / "bench.ini"), "--rootdir", str(HERE), "-p", "no:cacheprovider"),
    *("--benchmark-only", "-q", str(HERE / "bench_layers.py")),
)
THREADS = next(option for option in LIST_OPTIONS if option.flag == "--threads")

# Whoever changes one of these wants pytest-benchmark's own table; ours comes in any case.
OWN_TABLE: dict[str, Any] = {
    "compare": [],
    "histogram": [],
    "cprofile": None,
    "verbose": False,
    "columns": None,
    "sort": "min",
    "group_by": "group",
}

# Options of pytest-benchmark that mean nothing here: what they are by themselves, and why, or what to give.
# A round is one call, all contenders of a workload have the same rounds, and each race is warmed up in every pass.
MEANINGLESS: dict[str, tuple[Any, str]] = {
    "min_time": (0.000005, "give --budget SECONDS, for all rounds of a benchmark"),
    "calibration_precision": (10, "a round is one call"),
    "warmup": (False, "every race is warmed up"),
    "warmup_iterations": (100_000, "every race is warmed up"),
    "precision": (None, "give --until-decided SECONDS"),
    "confidence": (0.99, "all intervals are at 99 %"),
}
GRID_OPTIONS: dict[str, dict[str, Any]] = {
    "grid": {"default": "quick", "metavar": "GRID", "help": f"{', '.join(GRIDS)}; default: quick"},
    "until-decided": {
        "type": float,
        "metavar": "SECONDS",
        "help": "go on with those whose verdict is open, for so long at most; default: 0",
    },
    "advise": {
        "action": "store_true",
        "help": "in the end, try other threads, dtypes and layouts on what takes longest, and say what helped",
    },
    "why": {
        "action": "store_true",
        "help": "time the rungs between cells and fused as well, and say what each saves",
    },
}


def add_grid_options(add: Callable[..., object], but: tuple[str, ...] = ()) -> None:
    """Hand each option of a grid to `add`, by its short name."""
    for name, words in GRID_OPTIONS.items():
        add(f"--{name}", dest=f"unrolled_{name.replace('-', '_')}", **words)
    for option in LIST_OPTIONS:
        add(
            option.flag,
            dest=option.dest,
            action="append",
            default=[],
            metavar=option.metavar,
            help=option.help,
        )
    add_options(add, "--", but)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The options of a grid; pytest-timeout has one of the same name, which is then used."""
    group = parser.getgroup("unrolled", "unrolled: races of recurrent networks")
    add_grid_options(group.addoption, ("timeout",) if pluginmanager.hasplugin("timeout") else ())


class Grid(Races):
    """The benchmarks of a grid, all of which are measured when the first one begins."""

    session: Session  # from the start of pytest's own

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        # A benchmark that was refused used no fixture, which is no news.
        config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used")
        # Nor is that oneDNN has no projections: what it costs is what is measured.
        config.addinivalue_line("filterwarnings", "ignore:LSTM with projections is not supported with oneDNN")
        prepare()
        self.errors = os.fdopen(os.dup(2), "w")  # past pytest's capture
        self.progress = ProgressLine(self.errors)
        self._interrupted = False  # by Ctrl-C
        self._cut_off = False  # before everything was measured

    # From options to a session.

    def pytest_sessionstart(self) -> None:
        """Check the request, then import torch and look at the machine."""
        from unrolled.pytest_plugin import hands_over

        if not hands_over(self.config):
            raise pytest.UsageError("a grid: expected pytest-benchmark, which is switched off; leave it on")
        try:
            self.session = self._start()
        except UnrolledError as error:
            raise pytest.UsageError(str(error)) from None

    def _start(self) -> Session:
        self.check_report()
        budget, fewest_rounds = self._rounds_asked()
        before = perf_counter()
        import torch

        from unrolled.pytest_plugin.horizon import horizon
        from unrolled.results.folder import ResultFolder
        from unrolled.speed.session import Session

        imports_s = perf_counter() - before
        self.set_threads()
        passes = self.option("passes")
        settings = Settings.read(
            self._lists(),
            grid=self.option("grid"),
            budget=budget,
            out=_folder(self.option("out")),
            devices=("cpu", "cuda") if torch.cuda.is_available() else ("cpu",),
            timeout=self._timeout(),
            passes=DEFAULT_PASSES if passes is None else passes,
            fewest_rounds=fewest_rounds,
            until_decided=self.option("until_decided"),
            advise=bool(self.option("advise")),
        )
        self.folder = ResultFolder(settings.out, "bench")
        load = self._look_around(self.folder) if self.measures else None
        self.lines += settings.notes
        return Session(
            settings, self.folder.keep, started=STARTED, imports_s=imports_s, before=load, horizon=horizon
        )

    def _lists(self) -> dict[str, list[str]]:
        """The texts of `LIST_OPTIONS`, by flag; with `--why` the rungs of the ladder among the implementations."""
        lists = {option.flag: self.config.getoption(option.dest) for option in LIST_OPTIONS}
        if self.option("why"):
            lists["--implementation"] = [*lists["--implementation"], ",".join(LADDER)]
        return lists

    def _timeout(self) -> float | None:
        """Of this plugin, or of pytest-timeout, whose option it is where that is installed."""
        own: float | None = self.option("timeout")
        return self.config.getoption("timeout", None) if own is None else own

    def _look_around(self, folder: ResultFolder) -> Load:
        from unrolled.ending import ending
        from unrolled.speed.load import LOOK_S, Watch

        self.stack.enter_context(folder)
        self.stack.enter_context(ending(partial(self._end, folder), ("SIGTERM", "SIGHUP")))
        watch = Watch()
        sleep(LOOK_S)
        load = watch.load()
        if load.is_busy:
            self._say(f"this machine is busy: {load}; intervals will be wide")
        return load

    @property
    def measures(self) -> bool:
        """Whether anything will be timed: not in the processes of pytest-xdist, under which benchmarks are disabled."""
        options = self.config.option
        apart = hasattr(self.config, "workerinput") or getattr(options, "numprocesses", None)
        return not (apart or options.collectonly or options.benchmark_disable or options.benchmark_skip)

    def _rounds_asked(self) -> tuple[float, int]:
        """The budget in seconds, and the fewest rounds, also where pytest-benchmark's options say them."""
        for name, (default, instead) in MEANINGLESS.items():
            value = self.config.getoption(f"benchmark_{name}", default)
            if default != (value if value is None else float(value)):
                flag = f"--benchmark-{name.replace('_', '-')}"
                raise InvalidValueError(f"{flag}: expected to be left out here, got {value}; {instead}")
        budget, most = self.option("budget"), float(self.config.getoption("benchmark_max_time"))
        if any(
            str(argument).startswith("--benchmark-max-time") for argument in self.config.invocation_params.args
        ):
            if budget is not None:
                raise InvalidValueError(
                    f"--benchmark-max-time: expected to stand alone, got {most:g} beside --budget {budget:g}; "
                    "leave one out"
                )
            budget = most
        rounds = max(MIN_ROUNDS, self.config.getoption("benchmark_min_rounds"))
        return DEFAULT_BUDGET if budget is None else budget, rounds

    def set_threads(self) -> None:
        """What `--threads` asks of torch, where it is one number for all."""
        import torch

        numbers = THREADS.values(self.config.getoption(THREADS.dest))
        for number in numbers:
            check_threads("--threads", number)
        if len(numbers) == 1:
            torch.set_num_threads(numbers[0])

    def _say(self, line: str) -> None:
        print(f"{self.door}: {line}", file=self.errors, flush=True)

    @property
    def is_installed(self) -> bool:
        """Whether this is `unrolled bench`, and not the folder of a checkout."""
        return self.config.inipath == HERE / "bench.ini"

    @property
    def door(self) -> str:
        """What it is called by."""
        return "unrolled bench" if self.is_installed else "pytest bench/"

    @property
    def typed(self) -> str:
        """The command line."""
        arguments = list(map(str, self.config.invocation_params.args))
        if self.is_installed:
            return shlex.join(["unrolled", "bench", *arguments[len(INSTALLED) :]])
        return shlex.join(["pytest", *arguments])

    @property
    def hint(self) -> str:
        """Where more is told."""
        from unrolled.render.text import HINT

        return HINT

    def _end(self, folder: ResultFolder, reason: str) -> None:
        """Keep what there is and say so, past pytest's capture."""
        folder.close()
        self.progress.stop()
        kept = f"; what was measured is in {folder.latest}" if folder.latest else ""
        self.errors.write("\n")
        self._say(f"{reason}{kept}")

    # From cases to results.

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A benchmark marked `unrolled_grid` runs once for each case."""
        if metafunc.definition.get_closest_marker("unrolled_grid"):
            cases = self.session.settings.cases
            metafunc.parametrize("case", cases, ids=[case.label for case in cases])

    def of(self, request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Any]:
        """The fixture `race` of one benchmark, which takes its case."""
        return partial(self._case, request, benchmark)

    def _case(
        self, request: pytest.FixtureRequest, benchmark: Any, case: Case, *rest: Any, **settings: Any
    ) -> Result:
        """What came of it, through pytest-benchmark; the first one measures all that were selected."""
        if not isinstance(case, Case):
            raise InvalidTypeError(
                f"race: expected a case of the grid, got {type(case).__name__}; race single ones in a folder of tests"
            )
        session = self.session
        if self.why_not_timed(benchmark):
            result = session.try_out(case)
            benchmark.pedantic(lambda: None)
        else:
            if not session.races:
                self._measure(request.session.items)
            found = session.result(case)
            if found is None:
                pytest.fail("was not measured, since the run was cut off", pytrace=False)
            result = found
        benchmark.group = case.race.label
        benchmark.has_error = result.status != "ok"
        self.judge(result)
        step = session.step(case) if benchmark.cprofile and result.timed else None
        self.show(benchmark, result, step)
        return result

    def _measure(self, items: list[pytest.Item]) -> None:
        """All races of the selected benchmarks, in passes, in the order of the grid."""
        params = (
            getattr(item, "callspec", None) for item in items if "race" in getattr(item, "fixturenames", ())
        )
        asked = [each.params["case"] for each in params if each is not None and "case" in each.params]
        cases = [case for case in self.session.settings.cases if case in set(asked)]
        if len(asked) > len(cases):  # pytest-repeat
            self.note(
                "each benchmark is measured once, however often it is repeated; --passes measures more often"
            )
        timer = load_timer(self.config.getoption("benchmark_timer")).target  # type: ignore[no-untyped-call]
        if self.progress.live:
            self.config.pluginmanager.get_plugin("terminalreporter").ensure_newline()  # type: ignore[union-attr]
        self._cut_off = True
        self.session.measure(cases, self.progress, timer)
        self._cut_off = False
        self.progress.stop()

    # What is left of them.

    @property
    def has_results(self) -> bool:
        """Whether anything was raced."""
        return hasattr(self, "session") and bool(self.session.results)

    def run(self) -> Run:
        """All results so far."""
        return self.session.run()

    def pytest_keyboard_interrupt(self) -> None:
        """The run is no whole one then."""
        self._interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """An interrupted run leaves a part, and status 130."""
        self.progress.stop()
        if not (self._interrupted or self._cut_off):
            super().pytest_sessionfinish(session)
            return
        if self._interrupted:
            session.exitstatus = 130
        if self.has_results and self.folder:
            self.folder.keep(self.run())

    def show_run(self, terminalreporter: Any) -> None:
        """Print all results, and where the time went."""
        from unrolled.streams import console

        super().show_run(terminalreporter)
        run, screen = self.run(), console()
        if not self.files and self.folder and self.folder.latest:
            screen.print(f"what was measured: unrolled plots {self.folder.latest}")
        spent = "{total_s:.0f} s: {timed_s:.0f} s timed rounds, {warm_up_s:.0f} s warm-up, {imports_s:.0f} s imports"
        screen.print(
            spent.format(**run.accounting) + f", {run.accounting['share_outside']:.0%} outside of these"
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_group_stats(self) -> list[Any] | None:
        """Replace pytest-benchmark's one long table, unless an option of its own asks for it."""
        asked = not self.has_results or any(
            self.config.getoption(f"benchmark_{name}") != default for name, default in OWN_TABLE.items()
        )
        return None if asked else []

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Our environment goes into every saved benchmark file; a saved one is compared before the run starts."""
        from unrolled.environment import VOLATILE, Environment

        try:
            self.set_threads()
        except UnrolledError as error:
            raise pytest.UsageError(str(error)) from None
        environment = Environment.capture().to_dict()
        machine_info["unrolled"] = {k: v for k, v in environment.items() if k not in VOLATILE}


def _folder(asked: str | None) -> Path:
    if asked == "":
        raise InvalidValueError("--out: expected a path, got ''; name one, such as . for the current folder")
    return DEFAULT_OUT if asked is None else Path(asked)
