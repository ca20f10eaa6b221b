"""Files of results with one thing wrong, in all the ways that a file goes wrong, and what is held of each."""

import copy
import json
import re
import warnings
from itertools import islice

from unrolled.errors import ResultFileError

# In place of a value; a key in angle brackets stands for itself in the file, as JSON that Python would not write.
WRONG = {
    "null": None,
    "a bool": True,
    "a word": "word",
    "no text": "",
    "negative": -1,
    "zero": 0,
    "huge": 1e308,
    "1e999": "<1e999>",
    "400 digits": 10**400,
    "NaN": "<NaN>",
    "nan": "nan",
    "inf": "inf",
    "-inf": "-inf",
    "a list": [],
    "a dict": {},
}
OTHERS = {
    "nothing": "",
    "a list": "[]",
    "a number": "3",
    "no JSON": "format: unrolled",
    "no fields": "{}",
    "a CSV file": "network,clip\nGRU,none\n",
    "a benchmark of pytest": '{"machine_info": {}, "benchmarks": [], "datetime": "2026-01-01", "version": "5.0.0"}',
    "a notebook": '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    "a package": '{"name": "unrolled", "version": "2.0.0", "dependencies": {"torch": "^2"}}',
    "deep lists": "[" * 5000 + "]" * 5000,
    "deep dicts": '{"format":' * 5000 + "1" + "}" * 5000,
    "a list as format": '{"format": ["a"], "version": 1}',
    "no UTF-8": b"\xff\xfe{\x00}\x00",
}
CUTS = 12


def mutations(text):
    """Where, what and the text, for each of some hundreds of changes of the JSON object in `text`."""
    whole = json.loads(text)
    for path, value in places(whole):
        where = written(path)
        for what, other in changed(value):
            yield where, what, replaced(whole, path, other)
    for number in range(CUTS):
        yield "$", "cut", text[: len(text) * number // CUTS]
    for what, other in OTHERS.items():
        yield "$", what, other
    yield "$", "a key twice", text.replace("{", '{"version": 2, ', 1)
    yield "$", "two of them", text + text
    yield "$", "within a list", f"[{text}]"


def places(value, path=()):
    """Every value in a JSON value with the path to it; of lists the first and the last item."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    kept = {0, len(value) - 1} if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(value, dict) or key in kept:
            yield from places(item, (*path, key))


def written(path):
    """`$.networks[0].name`."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def changed(value):
    """What could stand in place of a value, by the name of the change."""
    other = dict(WRONG)
    if isinstance(value, dict):
        for key, item in value.items():
            rest = {name: one for name, one in value.items() if name != key}
            other[f"without {key}"] = rest
            other[f"{key} renamed"] = rest | {f"{key}s": item}
        for one, two in zip(list(value)[:-1], list(value)[1:], strict=True):
            other[f"{one} and {two} swapped"] = value | {one: value[two], two: value[one]}
        other["an unknown key"] = value | {"colour": "blue"}
    elif isinstance(value, list):
        other |= {"shorter": value[:-1], "longer": [*value, *value[-1:]], "swapped": value[1::-1] + value[2:]}
        other["one more null"] = [*value, None]
    elif isinstance(value, str):
        other |= {"longer": f"{value}s", "in capitals": value.upper()}
    elif type(value) in (int, float):
        other |= {"one more": value + 1, "half": value / 2, "ten times": value * 10, "as text": str(value)}
    other |= {"within a list": [value], "within a dict": {"value": value}}
    return [(what, one) for what, one in other.items() if not same(one, value)]


def same(one, other):
    """Whether both are one value in JSON; 0 and 0.0 are one number."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def replaced(whole, path, value):
    """The text of a copy with another value at one place."""
    if not path:
        return raw(value)
    whole = copy.deepcopy(whole)
    place = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return raw(whole)


def raw(value):
    """JSON, with the words in angle brackets as they are."""
    return re.sub(r'"<(\w+)>"', r"\1", json.dumps(value))


def accepted(kind, text, path, show, every=1):
    """The changes of a file that `kind.load` takes all the same, as `where: what`, and the number of all changes.

    Each of the others is refused by one line. What is taken can be shown (`show(record)`), without a warning, and
    saved and read again. With `every`, one of so many changes is made.
    """
    taken, refusals = [], []
    for where, what, mutated in islice(mutations(text), 0, None, every):
        path.write_bytes(mutated if isinstance(mutated, bytes) else mutated.encode())
        try:
            record = kind.load(path)
        except ResultFileError as error:
            refusals.append(str(error))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            show(record)
        record.save(path)
        kind.load(path)
        taken.append(f"{where}: {what}")
    assert not any("\n" in refusal for refusal in refusals)
    return taken, len(taken) + len(refusals)


def unexplained(taken, free):
    """Those of `taken` that none of the patterns `where: what` in `free` covers whole."""
    return [one for one in taken if not any(re.fullmatch(pattern, one) for pattern in free)]


# What is free in every file: whether it is of a part of a run, and what somebody calls things.
TEXT = "(a word|no text|nan|inf|-inf|longer|in capitals)"
NUMBER = "(negative|zero|half|one more|ten times)"
ANYWHERE = [
    r"\$\.partial: a bool",
    r"\$\.environment: null",
    r"\$\.environment: (os|python|torch|onednn|mkl|cuda|cudnn|matmul_tf32|\w+) and \w+ swapped",
    rf"\$\.environment\.(cpu|os|python|torch): {TEXT}",
    rf"\$\.environment\.(onednn|mkl|cuda|cudnn|gpu|git_commit): ({TEXT}|null)",
    r"\$\.environment\.(cores|threads): (half|one more|ten times)",
    r"\$\.environment\.(matmul|cudnn)_tf32: a bool",
    r"\$\.environment\.load_average: (zero|one more|half|ten times)",
    rf"\$\.networks\[\d\]\.model: {TEXT}",
    rf"\$(\.networks\[\d\])?\.seed: {NUMBER}",  # of what brings its own input; a workload has it a second time
]
