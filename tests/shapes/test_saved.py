"""A shapes.json with one thing wrong is refused in one line, or is one of shapes that could have been measured."""

import pytest

from tests.results.mutations import ANYWHERE, NUMBER, accepted, unexplained
from tests.shapes.helpers import configuration
from unrolled.render.shapes_tables import parameter_table, shapes_table
from unrolled.shapes.configuration import both_forms
from unrolled.shapes.measure import measure
from unrolled.shapes.record import Shapes

FREE = [
    *ANYWHERE,
    r"\$\.descriptions: (shorter|swapped)",
    rf".*\.workload\.seed: {NUMBER}",
    r".*\.differences\[\d\]\.(largest|scale): (nan|inf|zero|huge|half|one more|ten times)",
    r".*\.differences\[\d\]: largest and scale swapped",
]
# Of a cell that somebody else wrote nobody knows the parameters, nor the state beyond its batch.
FREE_OWN = [
    *FREE,
    r".*\.parameters: (a list|shorter|swapped)",
    r".*\.parameters\[\d+\]\.pattern: (a word|nan|inf|-inf|longer|in capitals)",
    r".*\.parameters\[\d+\]\.shape: (a list|shorter|longer|swapped)",
    r".*\.parameters\[\d+\]\.shape\[\d\]: (zero|half|one more|ten times)",
    r".*\.states\.h\[\d\]: (shorter|longer)",
    r".*\.states\.h\[\d\]\[[12]\]: (zero|half|one more|ten times)",
]


def show(one):
    frame, parameters = one.frame(), one.parameter_frame()
    shapes_table(frame, parameters, 120)
    parameter_table(parameters)
    one.summary()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "free"),
    [
        (both_forms(configuration("lstm", num_layers=2, proj_size=2, bidirectional=True)), FREE),
        (both_forms(configuration("gru", hidden_size=(7, 4), bias=False)), FREE),
        (both_forms(configuration("examples.cells.min_gru:MinGRU")), FREE_OWN),
    ],
    ids=["projected", "chain", "somebody's"],
)
def test_of_a_file_with_one_thing_wrong_only_what_could_have_been_measured_is_taken(tmp_path, asked, free):
    taken, count = accepted(Shapes, measure(asked).text(), tmp_path / "shapes.json", show)
    assert count > 1000
    assert unexplained(taken, free) == []
