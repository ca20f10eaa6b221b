"""The speed question as pytest-benchmark files: options, the paired `race` fixture, what a run leaves behind.

    pytest bench/ --benchmark-only

torch is imported when a run starts and not before: `--help` and mistyped options answer at once.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TextIO

import pytest
from pytest_benchmark.utils import load_timer

from unrolled.checks import check_threads
from unrolled.cli.options import path
from unrolled.environment import VOLATILE, Environment
from unrolled.errors import UnrolledError
from unrolled.progress import ProgressLine
from unrolled.speed.grid import GRIDS, shown_name
from unrolled.speed.settings import DEFAULT_BUDGET, DEFAULT_OUT, LIST_OPTIONS, Settings
from unrolled.streams import prepare

STARTED = perf_counter()
SESSION = pytest.StashKey["Session"]()
FOLDER = pytest.StashKey["ResultFolder"]()
FILES = pytest.StashKey[list[Path]]()
ERRORS = pytest.StashKey[TextIO]()  # standard error, past pytest's capture
OPEN = pytest.StashKey[ExitStack]()  # to be closed at the end: the folder, the handlers of signals
INTERRUPTED = pytest.StashKey[bool]()  # by Ctrl-C
PROGRESS = pytest.StashKey[ProgressLine]()
# Share of a virtual machine's CPU time, given to others by its host, above which timings suffer visibly.
STOLEN_TOO_MUCH = 0.01
LINES = pytest.StashKey[list[str]]()

# Whoever changes one of these wants pytest-benchmark's own table; ours comes in any case.
OWN_TABLE = {
    "compare": [],
    "histogram": [],
    "cprofile": None,
    "verbose": False,
    "columns": None,
    "sort": "min",
    "group_by": "group",
}


def pytest_addoption(parser, pluginmanager):
    """The options of `LIST_OPTIONS`, and the plain ones."""
    group = parser.getgroup("unrolled", "unrolled: fused against unrolled recurrences")
    group.addoption("--grid", default="quick", metavar="GRID", help=f"{', '.join(GRIDS)}; default: quick")
    for option in LIST_OPTIONS:
        group.addoption(
            option.flag,
            dest=option.dest,
            action="append",
            default=[],
            metavar=option.metavar,
            help=option.help,
        )
    group.addoption(
        "--budget",
        type=float,
        default=DEFAULT_BUDGET,
        metavar="SECONDS",
        help=f"timed rounds per benchmark; default: {DEFAULT_BUDGET}",
    )
    if not pluginmanager.hasplugin("timeout"):  # pytest-timeout, which has the same option
        group.addoption(
            "--timeout",
            type=float,
            metavar="SECONDS",
            help="after which a benchmark is marked, and the next one is run; default: none",
        )
    group.addoption("--threads", type=int, metavar="N", help="torch threads on the CPU; default: torch's own")
    group.addoption(
        "--out",
        type=path,
        default=DEFAULT_OUT,
        metavar="FOLDER",
        help=f"for results; default: {DEFAULT_OUT}",
    )


def pytest_configure(config):
    """A benchmark that was refused used no fixture, which is no news; progress goes past pytest's capture."""
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used")
    prepare()
    config.stash[LINES] = []
    config.stash[OPEN] = ExitStack()
    config.pluginmanager.register(Interruption(config))
    config.stash[ERRORS] = os.fdopen(os.dup(2), "w")
    config.stash[PROGRESS] = ProgressLine(config.stash[ERRORS])


class Interruption:
    """Hears of Ctrl-C."""

    def __init__(self, config):
        self.config = config

    def pytest_keyboard_interrupt(self, excinfo):
        """The run is no whole one then."""
        self.config.stash[INTERRUPTED] = True


def pytest_sessionstart(session):
    """Check the request, then import torch and look at the machine."""
    try:
        session.config.stash[SESSION] = start_session(session.config)
    except UnrolledError as error:
        raise pytest.UsageError(str(error)) from None


def start_session(config):
    """From the options of a run to its `Session`."""
    before = perf_counter()
    import torch

    from unrolled.ending import ending
    from unrolled.results.folder import ResultFolder
    from unrolled.speed.session import Session

    imports_s = perf_counter() - before
    set_threads(config)
    settings = Settings.read(
        {option.flag: config.getoption(option.dest) for option in LIST_OPTIONS},
        grid=config.getoption("grid"),
        budget=config.getoption("budget"),
        out=config.getoption("out"),
        devices=("cpu", "cuda") if torch.cuda.is_available() else ("cpu",),
        timeout=config.getoption("timeout"),
    )
    folder = config.stash[FOLDER] = ResultFolder(settings.out, "bench")
    if not config.option.collectonly:
        config.stash[OPEN].enter_context(folder)
        config.stash[OPEN].enter_context(ending(partial(end, config), ("SIGTERM", "SIGHUP")))
    config.stash[LINES] += settings.notes
    return Session(settings, folder.keep, started=STARTED, imports_s=imports_s)


def end(config, reason):
    """Keep what there is and say so, past pytest's capture."""
    folder, stream = config.stash[FOLDER], config.stash[ERRORS]
    folder.close()
    config.stash[PROGRESS].stop()
    kept = f"; what was measured is in {folder.latest}" if folder.latest else ""
    print(f"\npytest bench/: {reason}{kept}", file=stream, flush=True)


def set_threads(config):
    """What `--threads` asks of torch."""
    import torch

    threads = config.getoption("threads")
    if threads is not None:
        check_threads("--threads", threads)
        torch.set_num_threads(threads)


def pytest_generate_tests(metafunc):
    """A benchmark that takes a `case` runs once for each case of the grid."""
    if "case" in metafunc.fixturenames:
        cases = metafunc.config.stash[SESSION].settings.cases
        metafunc.parametrize("case", cases, ids=[case.label for case in cases])


def pytest_ignore_collect(collection_path, config):
    """`pytest bench/` answers the question of `bench_layers.py`; the others are answered when named."""
    named = [Path(str(arg).partition("::")[0]).resolve() for arg in config.args]
    if collection_path.match("bench_*.py") and collection_path.name != "bench_layers.py":
        return collection_path.resolve() not in named or None
    return None


@pytest.fixture
def run_pairs(benchmark, request):
    """`run_pairs(pairs)`: the rounds, through pytest-benchmark; gives seconds, none where it is disabled."""

    def run(pairs):
        try:
            benchmark.pedantic(pairs.contender, setup=pairs.setup, teardown=pairs.teardown, rounds=pairs.rounds)
        except BaseException:
            benchmark.has_error = True  # which it notes of an Exception alone
            raise
        return list(benchmark.stats.stats.data) if benchmark.enabled else []

    return run


@pytest.fixture
def say(request):
    """`say(line)`: a line for the end of the run."""
    return request.config.stash[LINES].append


@pytest.fixture
def race(benchmark, run_pairs, request):
    """`race(case)`: check, time in pairs through pytest-benchmark, keep the result, fail where it failed."""
    session = request.config.stash[SESSION]
    progress = request.config.stash[PROGRESS]
    timer = load_timer(request.config.getoption("benchmark_timer")).target

    def run(case):
        progress.show(case.label)
        benchmark.group = f"{case.workload.label} {case.phase}"
        result = session.race(case, run_pairs, timer, keep=benchmark.enabled)
        progress.advance()
        lines = request.config.stash[LINES]
        said = [f"{shown_name(case.workload, case.implementation)}: {note}" for note in result.notes]
        lines += [line for line in said if line not in lines]
        row = result.row()
        benchmark.extra_info |= {key: row[key] for key in ("ratio", "ratio_low", "ratio_high", "verdict")}
        if result.status != "ok":
            pytest.fail(f"{result.status.upper()}: {result.reason}", pytrace=False)
        return result

    return run


def pytest_runtestloop(session):
    """Show the progress line in place of pytest's dots, where there is a terminal to show it on."""
    config = session.config
    benchmarks = [item for item in session.items if "race" in getattr(item, "fixturenames", ())]
    if config.option.verbose > 0 or config.option.collectonly or not benchmarks:
        return
    progress = config.stash[PROGRESS]
    progress.start(len(benchmarks))
    if progress.live:
        config.pluginmanager.getplugin("terminalreporter").showfspath = False


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report, config):
    """No dots under a live progress line; a failure is told at the end, with its reason."""
    if config.stash[PROGRESS].showing and report.when == "call":
        return report.outcome, "", ""
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """The results go to disk before anything is shown; an interrupted run leaves a part, and status 130."""
    config = session.config
    config.stash[PROGRESS].stop()
    running = config.stash.get(SESSION, None)
    if INTERRUPTED in config.stash:
        session.exitstatus = 130
    elif running is not None and running.results:
        try:
            config.stash[FILES] = config.stash[FOLDER].finish(running.run(), partial(write, running.run()))
        except UnrolledError as error:
            config.stash[LINES].append(str(error))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def write(run, folder):
    """`bench.csv` and the plots."""
    from unrolled.render import bench
    from unrolled.render.files import write_frames

    return [*write_frames(bench.frames(run), folder), *bench.draw(run, folder)]


def pytest_terminal_summary(terminalreporter, config):
    """The tables, two sentences, and where the files are."""
    for line in config.stash[LINES]:
        terminalreporter.write_line(line)
    session = config.stash.get(SESSION, None)
    if session is None or not session.results:
        return
    from unrolled.render import bench
    from unrolled.streams import console

    screen = console()
    terminalreporter.ensure_newline()
    bench.show(session.run(), screen)
    for file in config.stash.get(FILES, ()):
        screen.print(f"  {file}", style="dim", soft_wrap=True)
    if FILES not in config.stash and config.stash[FOLDER].latest:
        screen.print(f"what was measured: python -m diagnostics.plots {config.stash[FOLDER].latest}")
    accounting = session.accounting()
    spent = (
        "{total_s:.0f} s: {timed_s:.0f} s timed rounds, {warm_up_s:.0f} s warm-up, {imports_s:.0f} s imports"
    )
    screen.print(spent.format(**accounting) + f", {accounting['share_outside']:.0%} outside of these")
    if accounting["share_stolen"] > STOLEN_TOO_MUCH:
        screen.print(
            f"the hypervisor gave {accounting['share_stolen']:.0%} of this machine's time to others: "
            "intervals are wide, and another run may differ",
            style="yellow",
        )


def pytest_unconfigure(config):
    """Let go of the folder for results."""
    config.stash[OPEN].close()


def pytest_benchmark_group_stats(config):
    """Replace pytest-benchmark's one long table, unless an option of its own asks for it."""
    session = config.stash.get(SESSION, None)
    asked = not (session and session.results) or any(
        config.getoption(f"benchmark_{name}") != default for name, default in OWN_TABLE.items()
    )
    return None if asked else []


def pytest_benchmark_update_machine_info(config, machine_info):
    """Our environment goes into every saved benchmark file; a saved one is compared before the run starts."""
    try:
        set_threads(config)
    except UnrolledError as error:
        raise pytest.UsageError(str(error)) from None
    environment = Environment.capture().to_dict()
    machine_info["unrolled"] = {name: value for name, value in environment.items() if name not in VOLATILE}


def pytest_benchmark_compare_machine_info(config, benchmarksession, machine_info, compared_benchmark):
    """Name the fields in which a saved run's machine differs from this one."""
    here = machine_info.get("unrolled", {})
    there = compared_benchmark["machine_info"].get("unrolled", {})
    fields = [f"{k}: {there.get(k)} -> {here.get(k)}" for k in here if here.get(k) != there.get(k)]
    if fields:
        benchmarksession.logger.warning(
            f"Compared with results of another machine or set-up: {'; '.join(fields)}"
        )
