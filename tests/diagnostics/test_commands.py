"""The commands around the benchmarks: they draw from files alone, compare, list themselves and refuse in one line."""

import dataclasses
import json
import re

import numpy as np
import pytest
from diagnostics.__main__ import commands

from diagnostics import compare, plots
from tests.diagnostics.conftest import status_of
from tests.processes import python
from tests.speed.test_result import MACHINE, noisy, result, run


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    run(result(1.0, name="fused"), result(2.0, name="cells")).save(folder / "bench.json")
    return folder


def test_plots_draws_again_from_the_files_alone(results, tmp_path, capsys):
    out = tmp_path / "again"
    assert plots.main([str(results), "--out", str(out), "--svg", str(out / "table.svg"), "--width", "80"]) == 0
    assert {p.name for p in out.iterdir()} == {"ratio-cpu.png", "ratio-cpu.svg", "table.svg"}
    assert "cells took 2.00 times as long" in capsys.readouterr().out
    assert (out / "table.svg").read_text(encoding="utf-8").startswith("<svg")


def saved(folder, *results, name="bench.json", **machine):
    folder.mkdir(exist_ok=True)
    one = run(*results)
    dataclasses.replace(one, environment=dataclasses.replace(MACHINE, **machine)).save(folder / name)
    return str(folder)


def test_compare_lists_changes_and_warns_of_another_machine(results, tmp_path, capsys):
    other = saved(tmp_path / "other", result(1.0, name="fused"), result(2.2), cpu="another CPU")
    assert compare.main([str(results), other]) == 0
    printed = capsys.readouterr()
    assert re.search("cpu .*a CPU .*another CPU", printed.err)
    assert "+10.0%" in printed.out
    assert "2 changes held to slower:5% and faster:5%: 1 slower, 0 undecided, 1 within." in printed.out


@pytest.mark.parametrize(
    ("after", "machine", "options", "status"),
    [
        ([result(1.0, name="fused"), result(2.02)], {}, [], 0),
        ([result(1.0, name="fused"), result(2.2)], {}, [], 1),
        ([result(1.0, name="fused"), result(2.2)], {"torch": "3.0"}, [], 3),
        ([result(1.0, name="fused"), result(2.2)], {"torch": "3.0"}, ["--allow", "torch,os"], 1),
        ([result(1.0, name="fused"), result(1.5)], {}, [], 0),
        ([result(1.0, name="fused"), result(1.5)], {}, ["--fail", "faster:20%"], 1),
        ([result(1.0, name="fused")], {}, [], 1),
        ([result(1.0, name="fused")], {"cpu": "another"}, [], 1),
        ([result(2.0)], {}, ["--fail", "slower:300%"], 1),
    ],
)
def test_compare_is_a_gate(results, tmp_path, capsys, after, machine, options, status):
    other = saved(tmp_path / "other", *after, **machine)
    assert compare.main([str(results), other, "--fail", "slower:5%", *options]) == status
    assert capsys.readouterr().err.endswith(f"(exit status {status})\n") == bool(status)
    assert compare.main([str(results), other, *options[options.count("--fail") * 2 :]]) == 0  # without a bound


def test_a_strict_gate_does_not_pass_what_is_undecided(tmp_path, capsys):
    wide = saved(tmp_path / "wide", *noisy(np.random.default_rng(0), cells=3, drift=0.2))
    assert compare.main([wide, wide, "--fail", "slower:5%"]) == 0
    assert compare.main([wide, wide, "--fail", "slower:5%", "--strict"]) == 3
    assert "undecided (exit status 3)" in capsys.readouterr().err


def test_a_gate_takes_folders_files_and_parts_of_runs(results, tmp_path, capsys):
    part = saved(tmp_path / "part", result(2.2), name="bench.partial.json")
    for after in (part, f"{part}/bench.partial.json"):
        assert compare.main([f"{results}/bench.json", after, "--fail", "slower:5%"]) == 1
        assert "1 lost; slower: cells" in capsys.readouterr().err


@pytest.mark.parametrize("status", [0, 1])
def test_a_gate_writes_markdown_and_json(results, tmp_path, capsys, status):
    after = saved(tmp_path / "after", result(1.0, name="fused"), result(2.2 if status else 2.0))
    line = [str(results), after, "--fail", "slower:5%", "--format"]
    assert compare.main([*line, "json"]) == status
    assert json.loads(capsys.readouterr().out)["status"] == status
    assert compare.main([*line, "markdown"]) == status
    said = "slower: cells" if status else "nothing beyond slower:5%"
    assert capsys.readouterr().out.startswith(f"### Benchmarks: {said}\n")


def test_compare_says_where_rounds_are_of_one_pass(tmp_path, capsys):
    one = saved(tmp_path / "one", result(passes=(15,)))
    assert compare.main([one, one]) == 0
    assert capsys.readouterr().err.count("all rounds are of one pass") == 2


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (
            plots,
            ["nowhere"],
            "results: .*got nowhere ",
        ),
        (plots, ["{results}", "--width", "3"], "--width: .*got 3"),
        (plots, ["{results}", "--out", "{results}/bench.json/x"], "out: .*got .*bench.json/x"),
        (compare, ["{results}", "nowhere"], "results: .*got nowhere "),
        (
            compare,
            ["{results}", "{results}", "--most", "0"],
            "--most: .*got 0",
        ),
        (compare, ["{results}", "{results}", "--fail", "5%"], "--fail: expected slower:5%, got '5%'; "),
        (compare, ["{results}", "{results}", "--strict"], "--strict: .*add --fail"),
        (compare, ["{results}", "{results}", "--allow", "colour"], "--allow: .*got 'colour'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(results, capsys, module, arguments, message):
    assert module.main([word.format(results=results) for word in arguments]) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err)
    assert len(printed.err.splitlines()) == 1
    assert not printed.out


@pytest.mark.parametrize("arguments", [["--wdith", "3"], ["--width", "wide"]])
def test_a_mistyped_option_is_one_line_and_exit_status_2(capsys, arguments):
    assert status_of(plots, ["somewhere", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_python_m_diagnostics_lists_every_command():
    done = python("-m", "diagnostics")
    assert done.returncode == 0
    assert {"plots", "compare"} <= set(commands())
    for name in commands():
        assert f"python -m diagnostics.{name}" in done.stdout


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_comes_without_torch(name):
    code = f"import sys, runpy; sys.argv = ['x', '--help']\ntry:\n    runpy.run_module('diagnostics.{name}', run_name='__main__')\nexcept SystemExit:\n    sys.exit('torch' in sys.modules)"
    done = python("-c", code)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m diagnostics.")


TINY = {
    "gradflow": "--cell gru --hidden 4 --input 3 --batch 2 --length 5 --lengths 5 --no-plots --out {out}",
    "shapes": "--cell gru --input 3 --hidden 4",
    "spectrum": "--cell gru --hidden 4 --input 3 --batch 2 --length 31 --lags 1,5 --no-plots --out {out}",
    "forecast": "--iterations 3 --length 12 --warm-up 3 --no-plots --out {out}",
    "plots": "{results} --out {out}",
    "compare": "{results} {results}",
    "report": "{results} --no-plots --out {out}/page.html",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("gradflow", "shapes") else pytest.mark.slow) for name in TINY],
)
def test_a_run_in_a_process_of_its_own(name, results, tmp_path):
    options = TINY[name].format(out=tmp_path / "out", results=results).split()
    done = python("-m", f"diagnostics.{name}", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out").exists() == ("{out}" in TINY[name])


@pytest.mark.parametrize("name", TINY)
def test_a_mistake_in_a_process_of_its_own(name):
    done = python("-m", f"diagnostics.{name}", "--clop")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"python -m diagnostics.{name}: ")


@pytest.mark.parametrize("name", ["", *(f".{name}" for name in sorted(commands()))])
def test_an_interpreter_without_the_packages_is_told_where_they_are_in_one_line(name):
    done = python("-S", "-m", f"diagnostics{name}")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("diagnostics: expected packages that ")
    assert "unrolled, torch" in line
    assert line.endswith("install them into .venv, and activate that")
