"""What a maintainer works with is well-formed, and says the same everywhere."""

import re
import tomllib

import pytest
import yaml

from tests.documented import commands_of
from tests.processes import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path", [path for path in FORMS if path.name != "config.yml"], ids=lambda path: path.stem
)
def test_a_form_asks_for_the_environment(path):
    form = read(path)
    assert form["name"]
    assert form["description"]
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    assert {each["type"] for each in form["body"]} <= KINDS
    assert len({each["id"] for each in fields}) == len(fields)
    assert all(each["attributes"]["label"] for each in fields)
    (environment,) = (each for each in fields if each["id"] == "env")
    assert "`unrolled env`" in environment["attributes"]["description"]


def test_a_bug_is_not_reported_without_its_environment():
    (environment,) = (
        each for each in read(".github/ISSUE_TEMPLATE/bug.yml")["body"] if each.get("id") == "env"
    )
    assert environment["validations"]["required"]


def test_the_hosted_workflow_tries_every_python_and_system_that_is_promised():
    workflow = read(".github/workflows/ci.yml")
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    classifiers = " ".join(PROJECT["classifiers"])
    promised = re.findall(r"Python :: (3\.\d+)", classifiers)
    assert promised
    assert set(promised) <= set(matrix["python"])
    assert f">={matrix['python'][0]}" == PROJECT["requires-python"]
    lowest = [each for each in matrix["include"] if each["versions"] == "lowest"]
    assert [each["python"] for each in lowest] == [matrix["python"][0]]
    for job in workflow["jobs"].values():
        assert all("uses" in step or "run" in step for step in job["steps"])


def test_hooks_are_ruff_and_mypy_of_the_environment():
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"  # nothing is fetched
    assert {hook["id"] for hook in local["hooks"]} == {"ruff-check", "ruff-format", "mypy"}
    for hook in local["hooks"]:
        assert {"id", "name", "entry", "language"} <= set(hook)
        assert hook["entry"].startswith(".venv/bin/")


def test_the_citation_has_what_its_format_asks_for_and_the_version_of_the_project():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["authors"]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_changelog_has_what_is_to_come_and_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\S+)(?: - (unreleased|\d{4}-\d{2}-\d{2}))?$", text, re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert versions[1][0] == PROJECT["version"]
    assert all(date for _, date in versions[1:])
    groups = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert groups <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    released = versions[1][1] != "unreleased"
    assert released == ("date-released" in read("CITATION.cff"))


def test_what_the_guide_to_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:src|tests|docs|bench|examples|diagnostics)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lines = commands_of(ROOT / "CONTRIBUTING.md")
    assert {line.split()[1] for line in lines if line.startswith("make ")} <= targets
    assert all((ROOT / line.split()[1]).exists() for line in lines if line.startswith("pytest "))
