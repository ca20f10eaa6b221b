"""The tables of the terminal on a page: the same words, and numbers by which rows can be put in order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table
from rich.text import Text

from unrolled.render import text
from unrolled.render.report.screen import Screen
from unrolled.render.report.tables import number_in, page_table


def table(*columns, rows=(), **options):
    made = Table(**options)
    for name, justify in columns:
        made.add_column(name, justify=justify)
    for row in rows:
        made.add_row(*row)
    return made


@given(st.floats(2e-9, 5e4))
def test_a_time_is_sorted_by_its_seconds(seconds):
    assert number_in(text.seconds(seconds)) == pytest.approx(seconds, rel=0.005)


@given(st.integers(1000, 10**12), st.sampled_from([("", 1000), ("B", 1024)]))
def test_an_amount_is_sorted_by_its_size(value, unit):
    assert number_in(text.amount(value, *unit)) == pytest.approx(value, rel=0.005)


@given(st.floats(0, 1))
def test_a_share_is_sorted_by_its_size(share):
    assert number_in(text.percent(share)) == pytest.approx(share, abs=0.00501)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("★ 2.21 ms", 2.21e-3), ("~590 µs", 590e-6), ("1.05 (1.02–1.08)", 1.05), ("0.987 ±1.2%", 0.987), ("±1.2%", 0.012),
        ("-12.3", -12.3), ("+0.5", 0.5), ("13+", 13.0), ("200+", 200.0), ("-∞", -math.inf), ("∞", math.inf),
        ("zero", 0.0), ("inf", math.inf), ("2.13e-4", 2.13e-4), ("4.10e12", 4.1e12), ("52,297,728", 52297728.0),
        ("2.5×", 2.5), ("12 calls", 12.0), ("always", 1.0), ("–", None), ("?", None), ("NaN", None), ("", None), ("OUT OF MEMORY", None),
    ],
)  # fmt: skip
def test_the_number_of_a_cell(words, expected):
    assert number_in(words) == expected if expected is None else pytest.approx(expected) == number_in(words)


def test_a_table_keeps_heads_cells_and_styles():
    made = page_table(
        table(("network", "left"), ("time", "right"), ("", "left"), rows=[("a", Text("1.5 ms", style="bold red"), Text("slower", style="red"))]),
        "title", ["note"],
    )  # fmt: skip
    assert [(head.words, head.name, head.is_number) for head in made.heads] == [
        ("network", "network", False), ("time", "time", True), ("", "verdict", False),
    ]  # fmt: skip
    (row,) = made.rows
    assert [str(cell.shown) for cell in row] == [
        "a",
        '<span class="bold red">1.5 ms</span>',
        '<span class="red">slower</span>',
    ]
    assert [cell.key for cell in row] == ["", "0.0015", ""]
    assert (made.title, made.notes) == ("title", ("note",))


def test_what_is_written_in_a_cell_is_no_html():
    hostile = "<script>alert(1)</script>"
    styled = 'red" onclick="alert(1)'
    made = page_table(
        table(("a", "left"), ("b", "left"), rows=[(hostile, Text(hostile, style="bold"))]), "", []
    )
    assert [str(cell.shown) for cell in made.rows[0]] == [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        '<span class="bold">&lt;script&gt;alert(1)&lt;/script&gt;</span>',
    ]
    (row,) = page_table(table(("a", "left"), rows=[(Text("x", style=styled),)]), "", []).rows
    assert "onclick" not in row[0].shown


def test_a_name_that_is_left_out_below_itself_is_on_every_row():
    made = page_table(
        table(("network", "left"), ("input", "left"), rows=[("GRU", "noise"), ("", "zero"), ("LSTM", "noise")]),
        "",
        [],
    )
    assert [str(row[0].shown) for row in made.rows] == ["GRU", "GRU", "LSTM"]


def test_rows_below_a_heading_say_what_they_are_of():
    lines = [
        ("RNN", "", ""),
        (" first step", "-3.0", "-9.1"),
        ("   float32", "-3.0", "zero"),
        ("GRU", "", ""),
        (" first step", "-1.0", "-2.0"),
    ]
    made = page_table(table(("gradient of", "left"), ("T=10", "right"), ("T=20", "right"), rows=lines), "", [])
    assert [head.words for head in made.heads] == ["network", "gradient of", "T=10", "T=20"]
    assert [[str(cell.shown) for cell in row] for row in made.rows] == [
        ["RNN", "first step", "-3.0", "-9.1"],
        ["RNN", "first step: float32", "-3.0", "zero"],
        ["GRU", "first step", "-1.0", "-2.0"],
    ]
    assert [cell.number for cell in made.rows[1]] == [None, None, -3.0, 0.0]


def test_tables_in_cells_are_lines():
    grid = Table.grid()
    grid.add_row("weight_ih", "(20, 100)")
    grid.add_row("bias_ih", "(20,)")
    made = page_table(
        table(("built", "left"), ("parameters", "left"), rows=[(Group(Text("nn.RNN"), Text("cells")), grid)]),
        "",
        [],
    )
    assert [str(cell.shown) for cell in made.rows[0]] == [
        "nn.RNN<br>cells",
        "weight_ih (20, 100)<br>bias_ih (20,)",
    ]


def test_a_screen_keeps_tables_with_their_notes_and_the_answer_apart():
    screen = Screen()
    one = table(("a", "left"), rows=[("x",)], title="first")
    screen.print(one)
    screen.print("what it means", style="dim")
    screen.print()
    two = table(("b", "left"), rows=[("y",)])
    screen.print(Group(Text("second"), two, Text("below")))
    screen.print("It is so. And this too.")
    assert screen.printed.tables == [(one, "first", ["what it means"]), (two, "second", ["below"])]
    assert (screen.printed.answer, screen.printed.rest) == ("It is so.", ["And this too."])


def test_of_a_summary_in_lines_the_first_is_the_answer():
    screen = Screen()
    screen.print("2 of 3 hear it. So it is.\nGRU: yes.\n\nLSTM: no.")
    assert (screen.printed.answer, screen.printed.rest) == (
        "2 of 3 hear it. So it is.",
        ["GRU: yes.", "LSTM: no."],
    )


def test_a_head_that_is_broken_after_a_hyphen_is_whole_again():
    made = page_table(
        table(("half-\nlife", "right"), ("at the\nlast - step", "right"), rows=[("1", "2")]), "", []
    )
    assert [head.words for head in made.heads] == ["half-life", "at the last - step"]
