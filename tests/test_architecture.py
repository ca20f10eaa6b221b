"""The arrows between the rooms point one way, nothing heavy is imported early, and the public names are exact."""

import ast
from pathlib import Path

import pytest

import unrolled
from tests.processes import python

SOURCE = Path(unrolled.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

# What everybody may import; below it, what each room may import besides.
THEIRS = {"hearing", "time_limit", "torch_settings"}  # what somebody else's code may do to a process
GROUND = {"errors", "checks", "extras", "plugins", "environment", "results", "progress"} | THEIRS
MEASURING = {
    "speed",
    "gradients",
    "spectrum",
    "shapes",
    "forecast",
    "learning",
    "advising",
    "sweep",
    "over_time",
}
MAY_IMPORT = {
    "errors": set(),
    "checks": {"errors"},
    "extras": {"errors"},
    "plugins": {"errors", "torch_settings"},
    "torch_settings": set(),
    "time_limit": {"errors"},
    "hearing": set(),
    "environment": {"errors"},
    "progress": set(),
    "streams": set(),
    "ending": set(),
    "results": {"errors"},
    "cells": GROUND,
    "rollout": GROUND | {"cells"},
    "networks": GROUND | {"cells", "rollout"},
    "observed": GROUND | {"cells", "rollout"},
    "newton": GROUND | {"cells", "rollout", "observed"},
    "theory": GROUND | {"cells"},
    "implementations": GROUND | {"cells", "rollout", "networks", "newton"},
    "speed": GROUND | {"cells", "networks", "implementations"},
    "gradients": GROUND | {"cells", "rollout", "networks", "theory", "newton"},
    "spectrum": GROUND | {"cells", "rollout", "networks", "theory", "observed", "newton"},
    "shapes": GROUND | {"cells", "networks", "implementations"},
    "forecast": GROUND | {"cells", "rollout", "networks", "theory", "gradients", "learning", "spectrum"},
    "learning": GROUND | {"cells", "rollout", "networks", "gradients", "implementations"},
    "advising": GROUND | {"cells", "rollout", "networks", "gradients", "learning", "forecast"},
    "sweep": GROUND | {"cells", "networks", "theory", "gradients", "spectrum", "learning"},
    "over_time": GROUND | {"cells", "rollout", "networks", "newton", "observed", "spectrum"},
    "render": {"errors", "extras", "networks", "results"} | MEASURING,
    "loggers": GROUND | {"rollout", "gradients", "render"},
    "pytest_plugin": GROUND | {"extras", "streams", "ending", "networks", "render", "speed", "gradients"},
    "cli": GROUND | {"extras", "streams", "ending", "cells", "networks", "render", "pytest_plugin"} | MEASURING,
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unrolled"):
            names |= {node.module} if node.module != "unrolled" else {f"unrolled.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("unrolled.")}
    return {name.split(".")[1] for name in names}


@pytest.mark.parametrize(
    "path", [p for p in MODULES if room_of(p) != "__init__"], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_arrows_between_rooms_point_one_way(path):
    room = room_of(path)
    assert imported_rooms(path) - {room} <= MAY_IMPORT[room]


def test_a_forbidden_arrow_would_be_seen(tmp_path):
    path = tmp_path / "spy.py"
    path.write_text("def f():\n    from unrolled.speed.race import race\n")
    assert imported_rooms(path) == {"speed"}


def test_public_names_are_exactly_the_exported_ones():
    assert dir(unrolled) == sorted(unrolled.__all__)
    for name in unrolled.__all__:
        assert getattr(unrolled, name) is not None


def test_a_misspelt_public_name_is_answered_with_the_right_ones():
    with pytest.raises(AttributeError, match="unrolled.*'gradientflow'.*Environment"):
        unrolled.gradientflow  # noqa: B018


@pytest.mark.parametrize(
    "module",
    [
        "unrolled",
        "unrolled.speed.settings",
        "unrolled.speed.run",
        "unrolled.render.speed_plots",
        "unrolled.render.gradflow_plots",
        "unrolled.render.shapes_plots",
        "unrolled.shapes.configuration",
        "diagnostics.plots",
        "diagnostics.report",
        "unrolled.render.report",
        "diagnostics.gradflow",
        "diagnostics.shapes",
        "diagnostics.why",
        "unrolled.speed.why.record",
        "unrolled.render.why_plot",
        "unrolled.render.forecast_plots",
        "unrolled.forecast.presets",
        "unrolled.forecast.motion",
        "unrolled.forecast.truth",
        "unrolled.render.forecast_exponents_plot",
        "diagnostics.forecast",
        "diagnostics.learn",
        "diagnostics.advise",
        "diagnostics.sweep",
        "diagnostics.parallel",
        "unrolled.cli.parallel",
        "unrolled.render.parallel_plots",
        "unrolled.cli.sweep",
        "unrolled.sweep.jobs.spectrum",
        "unrolled.sweep.jobs.gradflow",
        "unrolled.sweep.jobs.learn",
        "unrolled.render.spectrum_plots",
        "diagnostics.spectrum",
        "unrolled.pytest_plugin.grid",
        "unrolled.cli.bench",
    ],
)
def test_light_modules_do_not_import_torch(module):
    assert python("-c", f"import sys, {module}; sys.exit('torch' in sys.modules)").returncode == 0


@pytest.mark.parametrize("module", ["unrolled.cli.door", "unrolled.pytest_plugin"])
def test_what_everybody_waits_for_imports_nothing_heavy(module):
    heavy = "{'torch', 'numpy', 'pandas', 'matplotlib', 'rich', 'msgspec'} & set(sys.modules)"
    assert python("-c", f"import sys, {module}; sys.exit(bool({heavy}))").returncode == 0


@pytest.mark.parametrize(
    "name",
    ["bench", "why", "gradflow", "spectrum", "shapes", "forecast", "learn", "advise", "sweep", "parallel"],
)
def test_tables_need_no_matplotlib(name):
    program = (
        "import sys; sys.modules['matplotlib'] = None; import unrolled.render.saved;"
        f"import unrolled.render.{name}, unrolled.cli.{name}"
    )
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
