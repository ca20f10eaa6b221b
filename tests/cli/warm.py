"""A warm interpreter: everything is imported once, then every command runs in a fork of it, in milliseconds."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT, environment

MODULES = (
    "torch", "pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
    "unrolled.gradients.study", "unrolled.spectrum.study", "unrolled.forecast.study", "unrolled.shapes.measure",
    "unrolled.speed.run", "unrolled.speed.compare", "unrolled.render.comparison", "unrolled.render.bench", "unrolled.render.gradflow",
    "unrolled.render.spectrum", "unrolled.render.forecast", "unrolled.render.shapes", "unrolled.cli.command",
    "unrolled.networks.model", "unrolled.networks.checkpoint", "unrolled.cli.compare", "unrolled.cli.plots",
)  # fmt: skip
TIMEOUT = 60  # seconds of one command


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status, or minus the signal that ended it, and what it printed."""

    status: int
    out: str
    err: str


class Warm:
    """The interpreter; `run` and `start` fork it."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.warm"],
            cwd=ROOT, env=environment() | {"OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            encoding="utf-8",
        )  # fmt: skip
        self.count = 0
        self.process.stdout.readline()

    def _ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, command, *arguments, cwd, out=None, err=None, encoding="utf-8", env=None, limit=None):
        """Begin `python -m diagnostics.COMMAND ARGUMENTS`; `out` and `err` are files, or None for one beside `cwd`, or
        "closed" or "broken" for a stream that is closed, or a pipe that nobody reads."""
        self.count += 1
        files = [
            str(given or Path(cwd).parent / f".{name}-{Path(cwd).name}-{self.count}")
            for name, given in (("out", out), ("err", err))
        ]
        pid = self._ask(
            command=command, arguments=list(map(str, arguments)), cwd=str(cwd), files=files, encoding=encoding,
            env=env or {}, limit=limit,
        )  # fmt: skip
        return pid, files

    def end(self, pid, files):
        """Wait for it."""
        status = self._ask(wait=pid)
        out, err = (
            Path(file).read_text(encoding="utf-8", errors="replace") if Path(file).is_file() else ""
            for file in files
        )
        return Done(status, out, err)

    def run(self, command, *arguments, **where):
        """Begin and wait."""
        return self.end(*self.start(command, *arguments, **where))

    def close(self):
        """End the interpreter."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)


def serve():
    """Fork for each request, one line of JSON, and wait where asked to."""
    for name in MODULES:
        __import__(name)
    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                child(request)
        print(json.dumps(answer), file=answers, flush=True)


def child(request):
    """Be the command, and never come back."""
    status = 70
    try:
        signal.alarm(TIMEOUT)
        for name in (
            "SIGINT",
            "SIGTERM",
            "SIGHUP",
        ):  # which whoever runs the tests may ignore, as in the background
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        sys.path[:] = [path for path in sys.path if path]
        for number, file in enumerate(request["files"], 1):
            stream(number, file, request["encoding"])
        if request["limit"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
        status = run(request["command"], request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        for file in (sys.stdout, sys.stderr):
            try:
                file.flush()
            except Exception:
                status = 120
        os._exit(status)


def stream(number, file, encoding):
    """Put a file in place of standard output (1) or error (2)."""
    name = ("stdin", "stdout", "stderr")[number]
    if file == "closed":
        os.close(number)
        setattr(sys, name, None)
        return
    if file == "broken":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(writer, number)
    os.close(writer)
    raw = os.fdopen(number, "wb", closefd=False, buffering=0)
    setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, line_buffering=number == 2))


def run(command, arguments):
    """The command's exit status."""
    from unrolled.cli.command import main

    try:
        return main(command, arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)


if __name__ == "__main__":
    serve()
