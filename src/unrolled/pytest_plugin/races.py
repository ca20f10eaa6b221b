"""Races in the tests of one run of pytest: measured when a test asks for one, kept, and shown at the end."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from unrolled.errors import UnrolledError
from unrolled.pytest_plugin.replay import Replay

if TYPE_CHECKING:
    from unrolled.networks.workload import Workload
    from unrolled.results.folder import ResultFolder
    from unrolled.speed.result import Result
    from unrolled.speed.run import Run

# What tells one benchmark from another, in the files of pytest-benchmark.
PARAMS = (
    "cell",
    "num_layers",
    "batch_size",
    "seq_len",
    "input_size",
    "hidden_size",
    "bidirectional",
    "bias",
    "batch_first",
    "proj_size",
    "dropout",
    "packed",
    "phase",
    "implementation",
    "device",
    "dtype",
    "threads",
)
FIGURES = ("ratio", "ratio_low", "ratio_high", "verdict")
NOT_TIMED = "races were checked and not timed, since {}"


class Races:
    """The plugin of one run: its hooks, and what the fixture `race` asks of it."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.replay = Replay()
        self.lines: list[str] = []  # for the end of the run
        self.files: list[Path] = []
        self.stack = ExitStack()  # to be closed at the end: the folder, the handlers of signals
        self.folder: ResultFolder | None = None
        self._results: list[Result] = []
        self._begun: Any = None  # when, where, and on how busy a machine the first race was run

    def option(self, name: str) -> Any:
        """What was asked for."""
        return self.config.getoption(f"unrolled_{name}", None)

    def note(self, line: str) -> None:
        """A line for the end of the run, said once."""
        if line not in self.lines:
            self.lines.append(line)

    @property
    def typed(self) -> str:
        """The command line."""
        return shlex.join(["pytest", *map(str, self.config.invocation_params.args)])

    @property
    def hint(self) -> str:
        """Where more is told."""
        from unrolled.render.text import HINT

        return HINT.replace("--", "--unrolled-")

    def check_report(self) -> None:
        """What a page takes has to be there before anything is measured for it."""
        if self.option("report"):
            from unrolled.render.report import check_packages

            check_packages()

    # What tests ask for.

    def of(self, request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Any]:
        """The fixture `race` of one test; `benchmark` is pytest-benchmark's fixture, where there is one."""
        return partial(self._race, benchmark)

    def _race(
        self, benchmark: Any, workload: Workload, phase: str, implementation: Any, **settings: Any
    ) -> Result:
        """As `unrolled.race`, with the options of this run where `settings` has none."""
        from unrolled.speed.race import race, try_out

        if reason := self.why_not_timed(benchmark):
            kept = {name: settings[name] for name in ("threads", "timeout") if name in settings}
            result = try_out(workload, phase, implementation, **self._asked("timeout") | kept)
            self.tell_not_timed(reason)
        else:
            self._begin()
            result = race(
                workload, phase, implementation, **self._asked("budget", "passes", "timeout") | settings
            )
            self._results.append(result)
            self._keep()
        self.judge(result)
        self.show(benchmark, result)
        return result

    def _asked(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := self.option(name)) is not None}

    def why_not_timed(self, benchmark: Any) -> str:
        """Nothing is timed beside other tests, nor where pytest-benchmark was told not to."""
        if hasattr(self.config, "workerinput"):
            return "pytest-xdist runs tests beside each other; -n 0 times them"
        if benchmark is not None and not benchmark.enabled:
            return "pytest-benchmark is disabled"
        return ""

    def tell_not_timed(self, reason: str) -> None:
        """By pytest-xdist's process for this one, where it is one of many."""
        self.note(NOT_TIMED.format(reason))
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["unrolled"] = self.lines

    def judge(self, result: Result) -> None:
        """Say what the contender did beside its work; fail where it did another work, or came to no end."""
        from unrolled.speed.grid import shown_name

        name = shown_name(result.workload, result.implementation)
        for note in result.notes:
            self.note(f"{name}: {note}")
        if result.status != "ok":
            pytest.fail(f"{result.status.upper()}: {result.reason}", pytrace=False)

    def show(self, benchmark: Any, result: Result, call: Callable[[], object] | None = None) -> None:
        """The first race of a test to pytest-benchmark; `call` is one of the contender's, for its profiler."""
        from unrolled.pytest_plugin import under_codspeed

        if under_codspeed(self.config):
            self.note("pytest-codspeed measures no race: they time themselves")
        if benchmark is None or not result.timed or benchmark._mode:  # it shows one measurement of a test
            return
        from unrolled.speed.grid import RaceKey

        row = result.row()
        benchmark.group = RaceKey(*result.race).label
        benchmark.params = {name: row[name] for name in PARAMS}
        benchmark.extra_info |= {name: row[name] for name in FIGURES}
        self.replay.show(benchmark, result.seconds, lambda: call and call())

    # What is left of them.

    def _begin(self) -> None:
        if self._begun is None:
            from datetime import UTC, datetime

            from unrolled.environment import Environment
            from unrolled.results.folder import ResultFolder
            from unrolled.speed.load import Watch

            self.check_report()
            started = datetime.now(UTC).isoformat(timespec="seconds")
            self._begun = (perf_counter(), started, Environment.capture(), Watch())
            if out := self.option("out"):
                self.folder = self.stack.enter_context(ResultFolder(Path(out), "bench"))

    def run(self) -> Run:
        """All results so far, of which there are some."""
        from unrolled.speed.run import Run, accounting

        began, started, environment, watch = self._begun
        load = watch.load()
        spent = accounting(self._results, perf_counter() - began, 0.0, load.stolen)
        return Run(environment, started, tuple(self._results), spent, None, load)

    def _keep(self) -> None:
        if self.folder:
            self.folder.keep(self.run())

    @property
    def has_results(self) -> bool:
        """Whether anything was raced."""
        return bool(self._results)

    def finish(self) -> None:
        """Put the results in the place of those of the last run."""
        if self.folder:
            run = self.run()
            self.files = self.folder.finish(run, partial(self._write, run))

    def _write(self, run: Run, folder: Path) -> list[Path]:
        """The data and the plots."""
        from unrolled.extras import lacks
        from unrolled.render import bench
        from unrolled.render.files import write_frames

        paths = write_frames(bench.frames(run), folder)
        if lacking := lacks("matplotlib", extra="plots", why="plots"):
            self.note(lacking)
        else:
            paths += bench.draw(run, folder, as_=self.option("as"))
        if self.option("report"):
            paths.append(self._report(run, folder / "bench.html"))
        return paths

    def _report(self, run: Run, page: Path) -> Path:
        from unrolled.render.report import Measured, write_report

        measured = Measured(run, "bench.json", self.typed, how={"as_": self.option("as")})
        for problem in write_report(page, [measured]):
            self.note(problem)
        return page

    # Hooks.

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """All benchmarks with a race have the clock that shows what was measured."""
        from unrolled.pytest_plugin import hands_over

        if hands_over(self.config):
            for item in items:
                if "race" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("benchmark"):
                    item.add_marker(pytest.mark.benchmark(timer=self.replay))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The results go to disk before anything is shown."""
        if self.has_results:
            try:
                self.finish()
            except UnrolledError as error:
                self.note(str(error))
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a process of pytest-xdist has to say."""
        for line in getattr(node, "workeroutput", {}).get("unrolled", ()):
            self.note(line)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The tables, two sentences, and where the files are."""
        for line in self.lines:
            terminalreporter.write_line(line)
        if self.has_results:
            terminalreporter.ensure_newline()
            self.show_run(terminalreporter)

    def show_run(self, terminalreporter: Any) -> None:
        """Print all results."""
        from unrolled.render import bench
        from unrolled.streams import console

        screen = console()
        bench.show(self.run(), screen, as_=self.option("as"), explain=self.option("explain"))
        if not self.option("explain"):
            screen.print(self.hint, style="dim")
        for file in self.files:
            screen.print(f"  {file}", style="dim", soft_wrap=True)

    def pytest_unconfigure(self) -> None:
        """Let go of the folder for results."""
        self.stack.close()

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Our environment goes into every file that pytest-benchmark saves of races."""
        from unrolled.environment import VOLATILE

        if self._begun is not None:
            environment = self._begun[2].to_dict()
            machine_info["unrolled"] = {k: v for k, v in environment.items() if k not in VOLATILE}

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_compare_machine_info(
        self, benchmarksession: Any, machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
    ) -> None:
        """Name the fields in which a saved run's machine differs from this one."""
        here = machine_info.get("unrolled", {})
        there = compared_benchmark["machine_info"].get("unrolled", {})
        fields = [f"{k}: {there.get(k)} -> {here.get(k)}" for k in here if here.get(k) != there.get(k)]
        if fields:
            benchmarksession.logger.warning(
                f"Compared with results of another machine or set-up: {'; '.join(fields)}"
            )
