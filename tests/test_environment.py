"""The memory that a process may have: the machine's, or what its control group leaves of it."""

import os

import pytest

from unrolled.environment import _control_group_limits, memory_bytes

GIB = 2**30


def group(root, groups, **limits):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for path, text in limits.items():
        file = (
            root
            / "sys/fs/cgroup"
            / path.replace("__", "/").replace("_in_", ".limit_in_").replace("_max", ".max")
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the system does not tell its memory")
def test_it_is_at_most_that_of_the_machine():
    assert 0 < memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/\n", {"memory_max": f"{GIB}\n"}, [GIB]),
        ("0::/\n", {"memory_max": "max\n"}, []),
        ("0::/a/b\n", {"a__b__memory_max": "max\n", "a__memory_max": f"{GIB}\n"}, [GIB]),
        ("0::/a/b\n", {"a__b__memory_max": f"{GIB}\n", "a__memory_max": f"{2 * GIB}\n"}, [GIB, 2 * GIB]),
        ("0::/somewhere/else\n", {"memory_max": f"{GIB}\n"}, [GIB]),
        ("5:cpu,memory:/a\n3:pids:/b\n", {"memory__a__memory_in_bytes": f"{GIB}\n"}, [GIB]),
        ("5:cpu,memory:/a\n0::/\n", {"memory__memory_in_bytes": f"{3 * GIB}\n"}, [3 * GIB]),
        ("3:pids:/\n", {"memory_max": f"{GIB}\n"}, []),
        ("0::/\n", {}, []),
    ],
)
def test_a_control_group_and_those_above_it_set_limits(groups, limits, expected, tmp_path):
    group(tmp_path, groups, **limits)
    assert list(_control_group_limits(tmp_path)) == expected


def test_where_there_are_no_control_groups_there_is_no_limit(tmp_path):
    assert list(_control_group_limits(tmp_path)) == []
