"""The page: one file, the answer first, every number that of the record, and nothing in a record can break it."""

import dataclasses
import json
import math
import re
import shutil
import sys
from itertools import pairwise

import pytest

from diagnostics import forecast, gradflow, report, shapes, spectrum
from tests.diagnostics.conftest import status_of
from tests.render.report.pages import RESULTS, heads, number, read, rows, tables
from tests.render.runs import race, run
from unrolled import Workload
from unrolled.forecast.outcome import OUTCOMES
from unrolled.render.report import Measured, page, write_report
from unrolled.render.report.screen import Screen
from unrolled.render.saved import load, view_of
from unrolled.render.speed_reading import read as read_frame

MOST_BYTES = 2_000_000
HOSTILE = "<script>alert('1')</script>\"&{{ 7*7 }}"
TINY = "--hidden 4 --input 3 --batch 2 --length 9 --lengths 5 --quiet"


def written(folder, *measured, **options):
    path = folder / "page.html"
    write_report(path, measured, **options)
    return read(path.read_text(encoding="utf-8"))


def flow_file(folder, line=TINY):
    assert gradflow.main([*line.split(), "--no-plots", "--out", str(folder)]) == 0
    return folder / "gradflow.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All committed results, without figures, which take longer than all else."""
    out = tmp_path_factory.mktemp("report") / "all.html"
    assert report.main([*map(str, RESULTS), "--no-plots", "--out", str(out)]) == 0
    return read(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The file of all committed results with their figures; whoever asks for it is slow."""
    out = tmp_path_factory.mktemp("report") / "all.html"
    assert report.main([*map(str, RESULTS), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def pictures(drawn):
    return read(drawn.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def records():
    return {
        name: load(RESULTS[name == "forecast"] / f"{name}.json")
        for name in ("bench", "gradflow", "spectrum", "forecast")
    }


def section(root, title):
    return next(each for each in root.all("section") if each.one("h2").words == title)


@pytest.mark.slow
def test_it_is_at_most_2_megabytes(drawn):
    assert drawn.stat().st_size <= MOST_BYTES


@pytest.mark.slow
def test_it_needs_nothing_beside_it(pictures):
    root = pictures
    for element in root:
        for name, value in element.attributes.items():
            if name in ("src", "href", "data", "srcset", "poster", "action"):
                assert value.startswith(("#", "data:image/png")), (element.tag, name, value[:60])
            assert not re.search(r"url\((?!#)", value or ""), (element.tag, name)
    assert root.all("link", "iframe", "object", "embed", "img", "base") == []
    assert not re.search(r"@import|url\(", root.all("style")[0].text)
    (policy,) = [e.get("content") for e in root.all("meta") if e.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_the_answer_comes_first_and_is_that_of_the_terminal(root, records):
    order = list(root)
    answers = root.one("header").all("li")
    assert len(answers) == len(records)
    for record in records.values():
        screen = Screen()
        view_of(record).show(record, screen)
        assert " ".join(screen.printed.answer.split()) in " ".join(each.words for each in answers)
    assert max(map(order.index, answers)) < min(map(order.index, root.all("table")))


def test_one_record_has_its_answer_under_the_title(tmp_path, records):
    one = written(tmp_path, Measured(records["gradflow"]), figures=False)
    assert one.one("head").one("title").text == one.one("h1").words == "Reach of the gradient"
    assert one.one("header").all("p")[1].classes == ["answer"]


@pytest.mark.slow
def test_its_structure_can_be_heard(pictures):
    root = pictures
    assert root.one("html").get("lang") == "en"
    assert root.one("head").one("title").text
    for tag in ("header", "main", "footer", "h1", "nav"):
        root.one(tag)
    levels = [int(each.tag[1]) for each in root.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = [each.get("id") for each in root if each.get("id")]
    assert len(names) == len(set(names))
    for element in root:
        for name in ("aria-labelledby", "aria-describedby"):
            if element.get(name):
                assert element.get(name) in names
        if element.tag == "a":
            assert element.get("href").removeprefix("#") in names


@pytest.mark.slow
def test_every_figure_has_a_caption_and_a_description(pictures):
    root = pictures
    figures = root.all("figure")
    assert len(figures) == 15
    by_id = {each.get("id"): each for each in root if each.get("id")}
    for figure in figures:
        drawing = figure.one("svg")
        assert drawing.get("role") == "img"
        caption = by_id[drawing.get("aria-labelledby")]
        assert caption in list(figure.one("figcaption"))
        assert len(caption.words) > 10
        assert len(by_id[drawing.get("aria-describedby")].words) > 40
        assert drawing.get("viewbox") or drawing.get("viewBox")
        assert drawing.all("text")


@pytest.mark.slow
def test_every_figure_has_values_under_a_pointer(pictures):
    root = pictures
    said = [title.text for figure in root.all("figure") for title in figure.one("svg").all("title")]
    assert all(len(figure.one("svg").all("title")) > 20 for figure in root.all("figure"))
    assert all(re.search(r"-?\d", each) for each in said)


def test_every_table_has_a_caption_and_heads_that_sort(root):
    for table in root.all("table"):
        assert len(table.one("caption").words) > 5
        assert all(head.get("scope") == "col" for head in table.one("thead").all("th"))
        for row in table.one("tbody").all("tr"):
            first, *others = row.all("th", "td")
            assert (first.tag, first.get("scope")) == ("th", "row")
            assert all(cell.tag == "td" for cell in others)
            assert len(row.all("th", "td")) == len(table.one("thead").all("th"))
        if "sortable" in table.classes:
            for head in table.one("thead").all("th"):
                assert head.get("aria-sort") == "none"
                assert head.one("button").words or head.one("button").get("aria-label")


def test_times_and_ratios_are_those_of_the_record(root, records):
    """Each to the three digits that a table shows."""
    frame = read_frame(records["bench"].frame())
    shown = 0
    for caption, table in tables(section(root, "Speed")).items():
        if "sortable" not in table.classes:
            continue
        cell, phase, _ = caption.split(" · ")
        of = frame[(frame["cell"] == cell) & (frame["phase"] == phase)]
        columns = heads(table)
        for row in rows(table):
            at = dict(zip(columns, row, strict=False))
            part = of[
                (of["num_layers"] == int(at["layers"].words)) & (of["batch_size"] == int(at["batch"].words))
            ]
            assert number(at["fused"]) == pytest.approx(part["reference_median_s"].iloc[0], rel=0.006)
            for name in ("cells", "hoisted"):
                (found,) = part[part["implementation"] == name].to_dict("records")
                ratio = row[columns.index(name) + 1]
                assert number(at[name]) == pytest.approx(found["median_s"], rel=0.006)
                assert number(ratio) == pytest.approx(found["ratio"], rel=0.006)
                assert row[columns.index(name) + 2].words == found["verdict"]
                shown += 1
    assert shown == (frame["implementation"] != frame["reference"]).sum()


def test_the_reach_is_that_of_the_record(root, records):
    frame = records["gradflow"].reach_frame()
    reach = next(table for caption, table in tables(root).items() if caption.startswith("Reach: "))
    columns = heads(reach)
    assert len(rows(reach)) == len(frame)
    for row, expected in zip(rows(reach), frame.to_dict("records"), strict=True):
        at = dict(zip(columns, row, strict=True))
        assert row[0].words.startswith(expected["network"])
        for lag in (1, 10, 50, 200):
            assert number(at[f"k={lag}"]) == pytest.approx(expected[f"lag {lag}"], abs=0.051)
        assert number(at["slope, decades per step"]) == pytest.approx(expected["decades_per_step"], abs=0.00051)
        assert number(at["horizon, steps"]) == expected["horizon"]
        assert at["verdict"].words == expected["verdict"]


def test_norms_over_length_are_those_of_the_record(root, records):
    frame = records["gradflow"].lengths_frame()
    table = next(table for caption, table in tables(root).items() if caption.startswith("Length: "))
    columns, found = heads(table), {(row[0].words, row[1].words): row for row in rows(table)}
    for expected in frame.to_dict("records"):
        what = "parameters" if expected["clip"] == "none" else f"parameters, {expected['clip']}"
        row = found[expected["network"], what]
        cell = row[columns.index(f"T={expected['length']}")]
        assert number(cell) == pytest.approx(expected["log10_parameters"], abs=0.051)
    assert len(found) >= frame.groupby(["network", "clip"]).ngroups


def test_exponents_are_those_of_the_record(root, records):
    frame = records["spectrum"].table_frame()
    table = next(table for caption, table in tables(root).items() if caption.startswith("Spectrum: "))
    columns = heads(table)
    assert len(rows(table)) == len(frame)
    for row, expected in zip(rows(table), frame.to_dict("records"), strict=True):
        at = dict(zip(columns, row, strict=False))
        assert (row[0].words, row[1].words) == (expected["network"], expected["drive"])
        assert number(at["largest"]) == pytest.approx(expected["largest"], abs=0.00051)
        assert number(at["of n"]) == expected["size"]


def test_losses_are_those_of_the_record(root, records):
    frame = records["forecast"].table_frame()
    table = next(table for caption, table in tables(root).items() if caption.startswith("Training"))
    columns = heads(table)
    for row, expected in zip(rows(table), frame.to_dict("records"), strict=True):
        at = dict(zip(columns, row, strict=True))
        assert number(at["final loss"]) == pytest.approx(expected["final_loss"], rel=0.006)
        assert at["ended"].words == next(word for word in OUTCOMES if expected[word])


def test_machine_and_versions_are_all_there(root, records):
    table = section(root, "Machine and versions").one("table")
    for k, record in enumerate(records.values(), start=1):
        fields = [value for value in dataclasses.asdict(record.environment).values() if value is not None]
        shown = [row[k].words for row in rows(table)]
        for value in fields:
            assert (
                {True: "yes", False: "no"}.get(value, str(value))
                if isinstance(value, bool)
                else str(value) in shown
            )


def test_every_section_says_how_to_measure_again(root):
    commands = [each.words for each in root.all("pre")]
    assert [command.split()[:2] for command in commands] == [
        ["unrolled", name] for name in ("bench", "gradflow", "spectrum", "forecast")
    ]
    assert "--seed 0" in commands[1]
    assert "report.py" not in root.one("footer").words


def test_the_same_records_give_the_same_bytes(tmp_path):
    measured = [Measured(load(flow_file(tmp_path)))]
    for name in ("one.html", "two.html"):
        write_report(tmp_path / name, measured)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def hostile_flow(folder):
    path = flow_file(folder)
    content = json.loads(path.read_text())
    names = {network["name"]: f"{HOSTILE} {k}" for k, network in enumerate(content["networks"])}
    for network in content["networks"]:
        network["name"] = names[network["name"]]
    for each in (*content["reaches"], *content["lengths"]):
        each["network"] = names[each["network"]]
    content["environment"]["cpu"] = HOSTILE
    path.write_text(json.dumps(content))
    return load(path)


@pytest.mark.slow
def test_names_in_a_record_are_text_on_the_page(tmp_path):
    bench = run(
        race({"fused": 1, HOSTILE: 2.0, "</svg><b>": 3.0}, Workload(cell="gru"))
        + race({"fused": 1, "</style>": 1.5}, wrong=("</style>",))
    )
    made = written(
        tmp_path,
        Measured(bench, source=HOSTILE, command=HOSTILE),
        Measured(hostile_flow(tmp_path)),
        command=HOSTILE,
    )
    assert len(made.all("script")) == len(made.all("style")) == 1
    assert made.all("b", "i") == []
    assert made.one("script").text == page._asset("report.js")
    assert made.text.count(HOSTILE) > 10
    assert "49" not in made.one("footer").words
    assert any(HOSTILE[:20] in title.text for figure in made.all("figure") for title in figure.all("title"))
    assert not any(name.startswith("on") for element in made for name in element.attributes)


def test_only_the_script_of_the_page_may_run(root):
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(root.one("script").text.encode()).digest()).decode()
    (policy,) = [e.get("content") for e in root.all("meta") if e.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_a_part_of_a_run_is_said_to_be_one(tmp_path):
    path = flow_file(tmp_path)
    load(path).save(tmp_path / "gradflow.partial.json", partial=True)
    path.unlink()
    assert report.main([str(tmp_path)]) == 0
    assert "This is a part of a run" in read((tmp_path / "report.html").read_text()).one("main").words


def test_figures_that_cannot_be_drawn_cost_the_figures(tmp_path, monkeypatch, capsys):
    path = flow_file(tmp_path)
    monkeypatch.setattr("unrolled.render.gradflow_plots.draw_gradflow", lambda *_: 1 / 0)
    assert report.main([str(path)]) == 1
    captured = capsys.readouterr()
    assert "The figures could not be drawn (ZeroDivisionError" in captured.err
    made = read((tmp_path / "report.html").read_text())
    assert made.all("figure") == []
    assert len(made.all("table")) == 4


LINES = {
    "gradflow": (gradflow, TINY),
    "spectrum": (spectrum, "--hidden 4 --input 3 --batch 2 --length 21 --gains none --lags 1,5 --quiet"),
    "forecast": (forecast, "--iterations 3 --length 12 --warm-up 3 --quiet"),
    "shapes": (shapes, "--cell lstm --input 3 --hidden 4 --layers 2 --quiet"),
}


@pytest.mark.parametrize(
    "name",
    ["gradflow", "shapes", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spectrum", "forecast"))],
)
def test_report_of_a_command_is_a_file_of_its_run(name, tmp_path, capsys):
    command, line = LINES[name]
    words = [*line.split(), "--report", "--out", str(tmp_path / "out")]
    assert command.main(words) == 0
    made = read((tmp_path / "out" / f"{name}.html").read_text())
    assert f"{name}.html" in json.loads((tmp_path / "out" / f"{name}.json").read_text())["files"]
    assert made.one("pre").words.endswith(f"{name} {' '.join(words)}")
    assert len(made.all("figure")) == len(list((tmp_path / "out").glob("*.svg")))
    assert command.main([*words, "--no-plots"]) == 0
    assert read((tmp_path / "out" / f"{name}.html").read_text()).all("figure") == []
    assert (tmp_path / "out" / "previous" / f"{name}.html").exists()


def test_report_of_a_command_without_a_folder_is_one_line(capsys):
    assert shapes.main(["--cell", "gru", "--report"]) == 2
    assert capsys.readouterr().err.count("--report: expected --out beside it") == 1


def test_a_folder_of_folders_gives_all_of_them_once(tmp_path):
    flow_file(tmp_path / "results" / "flow")
    for other in ("again", "previous", ".hidden"):
        shutil.copytree(tmp_path / "results" / "flow", tmp_path / "results" / other)
    folder = tmp_path / "results"
    assert report.main([str(folder), str(folder / "flow"), "--no-plots"]) == 0
    titles = [each.words for each in read((folder / "report.html").read_text()).all("h2")]
    assert titles == [
        *(f"Reach of the gradient, {folder / name}" for name in ("again", "flow")),
        "Machine and versions",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "results: .*got nowhere"),
        (["{tmp}/empty"], "expected bench.json, why.json, gradflow.json, .* in .*"),
        (["{tmp}/broken.json"], "results: expected JSON in .*broken.json"),
        (["{tmp}/damaged.json"], "results: expected what unrolled wrote in .*damaged.json, got damage"),
        (["{flow}", "--out", "{tmp}"], "--out: expected a file, got the folder"),
        (["{flow}", "--out", "{flow}/x.html"], "out: expected a folder that can be written"),
        ([], "required: FOLDER"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, capsys, arguments, message):
    flow = flow_file(tmp_path / "flow")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "damaged.json").write_text(json.dumps(json.loads(flow.read_text()) | {"seed": "one"}))
    capsys.readouterr()
    assert status_of(report, [word.format(tmp=tmp_path, flow=flow) for word in arguments]) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err)
    assert (len(captured.err.splitlines()), captured.out) == (1, "")
    assert list(tmp_path.rglob("*.html")) == []


@pytest.mark.parametrize(("package", "extra"), [("jinja2", "report"), ("matplotlib", "plots")])
def test_a_package_that_is_missing_is_one_line_before_anything_is_measured(
    package, extra, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    assert gradflow.main([*TINY.split(), "--report", "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.endswith(f"which is not installed; pip install 'unrolled[{extra}]'\n")
    assert len(captured.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_infinite_and_missing_numbers_are_sorted_and_shown(root):
    cells = [cell for table in root.all("table") for row in rows(table) for cell in row]
    words = {cell.words: cell.get("data-key") for cell in cells if "number" in cell.classes}
    assert [words[word] for word in ("zero", "inf", "∞", "–", "-∞")] == ["0.0", "inf", "inf", "", "-inf"]
    assert not any(math.isnan(number(cell) or 0.0) for cell in cells)
