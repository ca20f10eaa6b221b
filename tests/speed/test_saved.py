"""A bench.json with one thing wrong is refused in one line, or is one of a run that could have been."""

from dataclasses import replace

import pytest

from tests.results.mutations import ANYWHERE, NUMBER, TEXT, accepted, unexplained
from tests.speed.test_result import ROUNDS, result, run, untimed
from unrolled import Workload
from unrolled.render import bench
from unrolled.render.files import write_frames
from unrolled.render.speed_summary import summary
from unrolled.render.speed_tables import speed_tables
from unrolled.speed.load import Load
from unrolled.speed.run import Run

EVENTS = {"event_seconds": (0.01,) * ROUNDS, "reference_event_seconds": (0.02,) * 2 * ROUNDS, "peak_bytes": 10}
LOAD = Load(2.0, 2, 1.0, 0.5, 0.25, 3, 1.5)
FREE = [
    *ANYWHERE,
    r"\$\.environment\.load_average: null",
    r"\$\.results: (shorter|longer|swapped)",  # those that were not timed take no part in the accounting
    r"\$\.accounting: a dict",  # of a run that was interrupted, in version 1
    r"\$\.accounting\.share_stolen: (half|one more|ten times)",
    rf"\$\.results\[\d\]\.workload\.seed: {NUMBER}",
    r".*\.workload\.(input_size|hidden_size(\[\d\])?|num_layers|batch_size|seq_len): (half|one more|ten times)",
    r".*\.workload(\.hidden_size: |: \w+ and \w+ )swapped",
    r".*\.workload\.bidirectional: a bool",
    rf".*\.(implementation|reason|equivalence_where): {TEXT}",
    r".*\.threads: (half|one more|ten times)",
    r".*\.(seconds|reference_seconds|event_seconds|reference_event_seconds): swapped",
    r".*\.(event_seconds|reference_event_seconds)\[\d+\]: (half|zero|one more|ten times)",
    r"\$\.results\[\d\]: \w*seconds and \w+seconds swapped",  # pairs the other way round; their sum is the same
    r"\$\.results\[0\]\.preempted: (a list|shorter)",  # other rounds are left out then
    r"\$\.results\[0\]\.preempted\[\d\]: (zero|half|one more)",
    r".*\.recheck_error: (nan|zero|half|ten times)",
    r"\$\.results\[1\]\.recheck_error: (huge|inf|one more)",
    r"\$: before and during swapped",
    r"\$\.before: (null|\w+ and \w+ swapped)",
    r"\$\.before\.\w+: (zero|huge|half|one more|ten times)",
    r"\$\.before\.(others|load_average): null",  # where the system does not tell
    r".*\.equivalence_error: (nan|zero|half|ten times)",
    r"\$\.results\[1\]\.equivalence_error: (huge|inf|one more)",  # what is wrong may be wrong by any factor
    r"\$\.results\[0\]\.saved_bytes: null",  # of a run that was interrupted
    r".*\.(saved_bytes|peak_bytes|spent_s\.memory): (zero|half|one more|ten times)",
    r".*\.(compile_s|uncompiled_s): (negative|zero|half|one more|ten times)",
    r"\$\.results\[\d\]: \w+(bytes|_s|error) and \w+(bytes|_s|error) swapped",
]
FIRST_AND_LAST = {
    "on the CPU": [
        result(2.0, equivalence_error=1e-16, recheck_error=1e-7, saved_bytes=1000, preempted=(2, 3)),
        untimed(),
    ],
    "compiled, on CUDA": [
        result(workload=Workload(device="cuda", num_layers=2), **EVENTS, compile_s=3.0, uncompiled_s=0.1),
        untimed(
            "wrong", reason="in float64", equivalence_error=0.5, equivalence_where="output", recheck_error=0.25,
            spent_s={"check": 0.5, "warm_up": 0.25},
        ),
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST_AND_LAST)
def test_of_a_file_with_one_thing_wrong_only_what_could_have_been_measured_is_taken(tmp_path, name):
    def show(one):
        frame = one.frame()
        list(speed_tables(frame, 120))
        summary(frame, explain=True)
        write_frames(bench.frames(one), tmp_path)

    text = replace(run(*FIRST_AND_LAST[name]), before=LOAD).text()
    taken, count = accepted(Run, text, tmp_path / "bench.json", show)
    assert count > 1000
    assert unexplained(taken, FREE) == []
