"""Results that were saved are drawn again from their files alone, byte for byte; damaged ones are refused in a line."""

import json
import re
import shutil

import pytest

from diagnostics import gradflow, plots
from unrolled.gradients.study import Study

SMALL = ["--hidden", "8", "--input", "3", "--batch", "2", "--length", "31", "--lengths", "5,30", "--quiet"]
DEEP = ["--cell", "lstm", "--layers", "2", "--bidirectional", "--clip", "norm:1", "--clip", "step:0.5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A gradient flow with several layers, directions and ways of clipping, and its plots."""
    out = tmp_path_factory.mktemp("gradflow")
    assert gradflow.main([*SMALL, *DEEP, "--out", str(out)]) == 0
    return out


def test_gradflow_draws_again_what_it_drew_and_says_again_what_it_said(folder, tmp_path, capsys):
    assert gradflow.main([*SMALL, *DEEP, "--no-plots", "--out", str(tmp_path / "first")]) == 0
    said = capsys.readouterr().out
    assert plots.main([str(folder), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    drawn = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert drawn == {
        f"{name}.{kind}" for name in ("reach", "lengths", "layers", "sensitivity") for kind in ("png", "svg")
    }
    for name in drawn:
        # The same numbers, as decimals are read back as the float they were, and no date in the file.
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_loaded_study_has_every_number_of_the_files(folder, tmp_path):
    study = Study.load(folder / "gradflow.json")
    # A float is written with as many decimals as tell it from all others, and read back as itself.
    assert study.flow_frame().to_csv(index=False, na_rep="nan") == (folder / "flow.csv").read_text()
    assert study.lengths_table().to_csv(index=False, na_rep="nan") == (folder / "lengths.csv").read_text()
    files = json.loads((folder / "gradflow.json").read_text())["files"]
    study.save(tmp_path / "gradflow.json", files=files)
    assert (tmp_path / "gradflow.json").read_bytes() == (folder / "gradflow.json").read_bytes()


def test_norms_that_float32_could_not_hold_survive_the_file(tmp_path, capsys):
    arguments = ["--gain", "4", "--init", "orthogonal", "--hidden", "8", "--length", "9", "--lengths", "9,400"]
    assert gradflow.main([*arguments, "--out", str(tmp_path), "--no-plots", "--quiet", "--explain"]) == 0
    said = capsys.readouterr().out
    assert "NaN" in said
    assert plots.main([str(tmp_path), "--no-plots", "--explain"]) == 0
    assert capsys.readouterr().out == said


def test_tables_are_as_wide_as_asked_for_and_saved_as_svg(folder, tmp_path, capsys):
    assert plots.main([str(folder), "--no-plots", "--width", "80", "--svg", str(tmp_path / "table.svg")]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert "LSTM.l1" in (tmp_path / "table.svg").read_text(encoding="utf-8").replace("&#160;", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["table.svg"]


def test_a_file_is_known_by_what_it_says_and_not_by_its_name(folder, tmp_path, capsys):
    shutil.copy(folder / "gradflow.json", tmp_path / "monday.json")
    assert plots.main([str(tmp_path / "monday.json"), "--no-plots"]) == 0
    assert "Reach: log10" in capsys.readouterr().out


def cut_a_profile(content):
    content["reaches"][0]["flow"]["profiles"][0]["log2_norm"].pop()


def name_a_number(content):
    content["reaches"][0]["flow"]["profiles"][0]["log2_min"][0] = "one"


DAMAGE = {
    "no networks": lambda content: content.pop("networks"),
    "none of them": lambda content: content["networks"].clear(),
    "a size": lambda content: content["networks"][0]["workload"].update(hidden_size=0),
    "no bound": lambda content: content["reaches"][0].pop("bound"),
    "a profile cut short": cut_a_profile,
    "a word for a number": name_a_number,
    "an unknown field": lambda content: content["lengths"][0].update(longth=3),
    "no machine": lambda content: content.update(environment={}),
    "reach of a kind": lambda content: content.update(reaches=3),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_one_line_and_status_2(folder, tmp_path, capsys, damage):
    content = json.loads((folder / "gradflow.json").read_text())
    damage(content)
    (tmp_path / "gradflow.json").write_text(json.dumps(content))
    assert plots.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert re.search(r"results: .*gradflow\.json", printed.err)
    assert (len(printed.err.splitlines()), printed.out) == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["gradflow.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"results: .*JSON.*gradflow\.json"),
        ("[]", "results: .*object.*got list"),
        ("{}", r"esults: .*unrolled\.bench, unrolled\.why, unrolled\.gradflow"),
        ('{"format": "unrolled.gradflow", "version": 99}', r"results: .*unrolled\.gradflow, got 99"),
        ('{"format": "unrolled.else", "version": 1}', r"results: .*got 'unrolled\.else' in"),
    ],
)
def test_what_is_no_record_is_one_line_and_status_2(tmp_path, capsys, text, message):
    (tmp_path / "gradflow.json").write_text(text)
    assert plots.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err)
    assert (len(printed.err.splitlines()), printed.out) == (1, "")


def test_a_folder_without_results_is_one_line_and_status_2(tmp_path, capsys):
    assert plots.main([str(tmp_path)]) == 2
    assert "expected bench.json, why.json, gradflow.json, " in capsys.readouterr().err


def test_cells_are_a_benchmarks(folder, capsys):
    assert plots.main([str(folder), "--cell", "lstm"]) == 2
    assert "unrolled.bench, got 'unrolled.gradflow' in" in capsys.readouterr().err
