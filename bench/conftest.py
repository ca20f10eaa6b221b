"""The speed question as pytest-benchmark files: options, the `race` fixture, what a run leaves behind.

    pytest bench/ --benchmark-only

All races are measured together, in several passes over the grid, when the first benchmark begins. Each benchmark then
hands its own rounds to pytest-benchmark, by a clock that shows what was measured: statistics, files and comparisons
are pytest-benchmark's.

torch is imported when a run starts and not before: `--help` and mistyped options answer at once.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import TextIO

import pytest
from pytest_benchmark.utils import load_timer

from unrolled.checks import check_threads
from unrolled.cli.options import path
from unrolled.environment import VOLATILE, Environment
from unrolled.errors import InvalidValueError, UnrolledError
from unrolled.progress import ProgressLine
from unrolled.speed.grid import GRIDS, shown_name
from unrolled.speed.settings import DEFAULT_BUDGET, DEFAULT_OUT, DEFAULT_PASSES, LIST_OPTIONS, Settings
from unrolled.speed.statistics import MIN_ROUNDS
from unrolled.streams import prepare

STARTED = perf_counter()
SESSION = pytest.StashKey["Session"]()
FOLDER = pytest.StashKey["ResultFolder"]()
FILES = pytest.StashKey[list[Path]]()
ERRORS = pytest.StashKey[TextIO]()  # standard error, past pytest's capture
OPEN = pytest.StashKey[ExitStack]()  # to be closed at the end: the folder, the handlers of signals
INTERRUPTED = pytest.StashKey[bool]()  # by Ctrl-C
CUT_OFF = pytest.StashKey[bool]()  # before everything was measured
PROGRESS = pytest.StashKey[ProgressLine]()
REPLAY = pytest.StashKey["Replay"]()
LINES = pytest.StashKey[list[str]]()
# What tells one benchmark from another, in the files of pytest-benchmark.
PARAMS = (
    "cell",
    "num_layers",
    "batch_size",
    "seq_len",
    "input_size",
    "hidden_size",
    "bidirectional",
    "phase",
    "implementation",
    "device",
    "dtype",
    "threads",
)

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


# Options of pytest-benchmark that mean nothing here: what they are by themselves, and why, or what to give.
# A round is one call, all contenders of a workload have the same rounds, and each race is warmed up in every pass.
MEANINGLESS = {
    "min_time": (0.000005, "give --budget SECONDS, for all rounds of a benchmark"),
    "calibration_precision": (10, "a round is one call"),
    "warmup": (False, "every race is warmed up"),
    "warmup_iterations": (100_000, "every race is warmed up"),
    "precision": (None, "give --until-decided SECONDS"),
    "confidence": (0.99, "all intervals are at 99 %"),
}


class Replay:
    """A clock for pytest-benchmark that shows seconds which were measured before: 0, then those of the round."""

    def __init__(self):
        self.seconds = []
        self.started = False

    def __call__(self):
        """The time."""
        self.started = not self.started
        return 0.0 if self.started else self.seconds.pop(0)


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
        metavar="SECONDS",
        help=f"timed rounds per benchmark, in all passes; default: {DEFAULT_BUDGET}",
    )
    if not pluginmanager.hasplugin("timeout"):  # pytest-timeout, which has the same option
        group.addoption(
            "--timeout",
            type=float,
            metavar="SECONDS",
            help="for what a benchmark does in a pass, or in its checks; what takes longer is marked; default: none",
        )
    group.addoption(
        "--passes",
        type=int,
        default=DEFAULT_PASSES,
        metavar="N",
        help=f"over the whole grid, among which the rounds are shared out; default: {DEFAULT_PASSES}",
    )
    group.addoption(
        "--until-decided",
        type=float,
        metavar="SECONDS",
        help="go on with those whose verdict is open, for so long at most; default: 0",
    )
    group.addoption(
        "--as",
        dest="unrolled_as",
        default="ratio",
        choices=("ratio", "speedup"),
        help="time / time of the reference, or the other way round; default: ratio",
    )
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
    config.stash[REPLAY] = Replay()
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
    budget, fewest_rounds = rounds_asked(config)
    before = perf_counter()
    import torch

    from unrolled.ending import ending
    from unrolled.results.folder import ResultFolder
    from unrolled.speed.load import LOOK_S, Watch
    from unrolled.speed.session import Session

    imports_s = perf_counter() - before
    set_threads(config)
    settings = Settings.read(
        {option.flag: config.getoption(option.dest) for option in LIST_OPTIONS},
        grid=config.getoption("grid"),
        budget=budget,
        out=config.getoption("out"),
        devices=("cpu", "cuda") if torch.cuda.is_available() else ("cpu",),
        timeout=config.getoption("timeout"),
        passes=config.getoption("passes"),
        fewest_rounds=fewest_rounds,
        until_decided=config.getoption("until_decided"),
    )
    folder = config.stash[FOLDER] = ResultFolder(settings.out, "bench")
    load = None
    if measures(config):
        config.stash[OPEN].enter_context(folder)
        config.stash[OPEN].enter_context(ending(partial(end, config), ("SIGTERM", "SIGHUP")))
        watch = Watch()
        sleep(LOOK_S)
        load = watch.load()
        if load.is_busy:
            print(
                f"pytest bench/: this machine is busy: {load}; intervals will be wide",
                file=config.stash[ERRORS],
                flush=True,
            )
    config.stash[LINES] += settings.notes
    return Session(settings, folder.keep, started=STARTED, imports_s=imports_s, before=load)


def measures(config):
    """Whether anything will be timed: not in the processes of pytest-xdist, under which benchmarks are disabled."""
    options = config.option
    apart = hasattr(config, "workerinput") or getattr(options, "numprocesses", None)
    return not (apart or options.collectonly or options.benchmark_disable or options.benchmark_skip)


def rounds_asked(config):
    """The budget in seconds, and the fewest rounds, also where pytest-benchmark's options say them."""
    for name, (default, instead) in MEANINGLESS.items():
        value = config.getoption(f"benchmark_{name}", default)
        if default != (value if value is None else float(value)):
            flag = f"--benchmark-{name.replace('_', '-')}"
            raise InvalidValueError(f"{flag}: expected to be left out here, got {value}; {instead}")
    budget, most = config.getoption("budget"), float(config.getoption("benchmark_max_time"))
    if any(str(argument).startswith("--benchmark-max-time") for argument in config.invocation_params.args):
        if budget is not None:
            raise InvalidValueError(
                f"--benchmark-max-time: expected to stand alone, got {most:g} beside --budget {budget:g}; leave one out"
            )
        budget = most
    rounds = max(MIN_ROUNDS, config.getoption("benchmark_min_rounds"))
    return DEFAULT_BUDGET if budget is None else budget, rounds


def end(config, reason):
    """Keep what there is and say so, past pytest's capture."""
    folder, stream = config.stash[FOLDER], config.stash[ERRORS]
    folder.close()
    config.stash[PROGRESS].stop()
    kept = f"; what was measured is in {folder.latest}" if folder.latest else ""
    print(f"\npytest bench/: {reason}{kept}", file=stream, flush=True)


def set_threads(config):
    """What `--threads` asks of torch, where it is one number for all."""
    import torch

    option = next(option for option in LIST_OPTIONS if option.flag == "--threads")
    numbers = option.values(config.getoption(option.dest))
    for number in numbers:
        check_threads("--threads", number)
    if len(numbers) == 1:
        torch.set_num_threads(numbers[0])


def pytest_generate_tests(metafunc):
    """A benchmark that takes a `case` runs once for each case of the grid."""
    if "case" in metafunc.fixturenames:
        cases = metafunc.config.stash[SESSION].settings.cases
        metafunc.parametrize("case", cases, ids=[case.label for case in cases])


def pytest_collection_modifyitems(config, items):
    """All benchmarks of ours have the clock that shows what was measured."""
    for item in items:
        if "replay" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.benchmark(timer=config.stash[REPLAY]))


def pytest_ignore_collect(collection_path, config):
    """`pytest bench/` answers the question of `bench_layers.py`; the others are answered when named."""
    named = [Path(str(arg).partition("::")[0]).resolve() for arg in config.args]
    if collection_path.match("bench_*.py") and collection_path.name != "bench_layers.py":
        return collection_path.resolve() not in named or None
    return None


@pytest.fixture
def replay(benchmark, request):
    """`replay(seconds, call)`: hand rounds that were measured to pytest-benchmark; `call()` is for its profiler."""
    clock = request.config.stash[REPLAY]

    def run(seconds, call):
        clock.seconds, clock.started = list(seconds), False
        benchmark.pedantic(lambda: None if clock.seconds else call(), rounds=len(seconds))

    return run


@pytest.fixture
def time_rounds(benchmark, replay, request):
    """`time_rounds(runner, *others, rounds=n)`: the seconds of each in rounds of all; none where it is disabled.

    Those of the first one are what pytest-benchmark shows.
    """
    from unrolled.speed import rounds as engine

    timer = load_timer(request.config.getoption("benchmark_timer")).target

    def run(*runners, rounds):
        if not benchmark.enabled:
            for runner in runners:
                runner.reset()
                benchmark.pedantic(runner) if runner is runners[0] else runner()
            return []
        seconds = engine.time_rounds(runners, rounds, timer=timer)
        replay(seconds[0], lambda: None)
        return seconds

    return run


@pytest.fixture
def threads_asked(request):
    """`with threads_asked(2):` so many of torch's threads, unless `--threads` asks for another number."""
    import torch

    option = next(option for option in LIST_OPTIONS if option.flag == "--threads")
    numbers = option.values(request.config.getoption(option.dest))

    @contextmanager
    def threads(default):
        before = torch.get_num_threads()
        torch.set_num_threads(numbers[0] if numbers else default)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return threads


@pytest.fixture
def say(request):
    """`say(line)`: a line for the end of the run."""
    return request.config.stash[LINES].append


@pytest.fixture
def race(benchmark, replay, request):
    """`race(case)`: what came of it, through pytest-benchmark; fails where it failed.

    The first one measures all that were selected.
    """
    config = request.config
    session = config.stash[SESSION]

    def run(case):
        if not benchmark.enabled:
            result = session.try_out(case)
            benchmark.pedantic(lambda: None)
        else:
            if not session.races:
                measure(config, request.session.items)
            result = session.result(case)
            if result is None:
                pytest.fail("was not measured, since the run was cut off", pytrace=False)
        benchmark.group = case.race.label
        note(config, case, result)
        if result is not None and result.status != "ok":
            benchmark.has_error = True
            pytest.fail(f"{result.status.upper()}: {result.reason}", pytrace=False)
        if benchmark.enabled:
            row = result.row()
            benchmark.params = {name: row[name] for name in PARAMS}
            benchmark.extra_info |= {key: row[key] for key in ("ratio", "ratio_low", "ratio_high", "verdict")}
            step = session.step(case) if benchmark.cprofile else None
            replay(result.seconds, lambda: step and step())
        return result

    return run


def measure(config, items):
    """All races of the selected benchmarks, in passes."""
    session, progress = config.stash[SESSION], config.stash[PROGRESS]
    cases = [item.callspec.params["case"] for item in items if "race" in getattr(item, "fixturenames", ())]
    timer = load_timer(config.getoption("benchmark_timer")).target
    if progress.live:
        config.pluginmanager.getplugin("terminalreporter").ensure_newline()
    config.stash[CUT_OFF] = True
    session.measure(cases, progress, timer)
    del config.stash[CUT_OFF]
    progress.stop()


def note(config, case, result):
    """What an implementation did beside its work is a line at the end, once."""
    lines = config.stash[LINES]
    name = shown_name(case.workload, case.implementation)
    said = [f"{name}: {note}" for note in (result.notes if result else ())]
    lines += [line for line in said if line not in lines]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """The results go to disk before anything is shown; an interrupted run leaves a part, and status 130."""
    config = session.config
    config.stash[PROGRESS].stop()
    running = config.stash.get(SESSION, None)
    if INTERRUPTED in config.stash or CUT_OFF in config.stash:
        if INTERRUPTED in config.stash:
            session.exitstatus = 130
        if running is not None and running.results:
            config.stash[FOLDER].keep(running.run())
    elif running is not None and running.results:
        try:
            config.stash[FILES] = config.stash[FOLDER].finish(
                running.run(), partial(write, running.run(), config.getoption("unrolled_as"))
            )
        except UnrolledError as error:
            config.stash[LINES].append(str(error))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def write(run, as_, folder):
    """`bench.csv` and the plots."""
    from unrolled.render import bench
    from unrolled.render.files import write_frames

    return [*write_frames(bench.frames(run), folder), *bench.draw(run, folder, as_=as_)]


def pytest_terminal_summary(terminalreporter, config):
    """The tables, two sentences, and where the files are."""
    for line in config.stash[LINES]:
        terminalreporter.write_line(line)
    session = config.stash.get(SESSION, None)
    if session is None or not session.results:
        return
    from unrolled.render import bench
    from unrolled.streams import console

    screen, run = console(), session.run()
    terminalreporter.ensure_newline()
    bench.show(run, screen, as_=config.getoption("unrolled_as"))
    for file in config.stash.get(FILES, ()):
        screen.print(f"  {file}", style="dim", soft_wrap=True)
    if FILES not in config.stash and config.stash[FOLDER].latest:
        screen.print(f"what was measured: python -m diagnostics.plots {config.stash[FOLDER].latest}")
    spent = (
        "{total_s:.0f} s: {timed_s:.0f} s timed rounds, {warm_up_s:.0f} s warm-up, {imports_s:.0f} s imports"
    )
    screen.print(spent.format(**run.accounting) + f", {run.accounting['share_outside']:.0%} outside of these")


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
