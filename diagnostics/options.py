"""The options that commands on networks share, in the same words: which one, how large, on what, where to."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from diagnostics.command import Parser
from unrolled.cells import CELLS, check_cell
from unrolled.errors import InvalidValueError

# At these sizes a second thread gains nothing, and on a busy machine costs five times the time.
THREADS = 1


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The sizes a command takes where none are given, and the folder it writes to."""

    input: int
    hidden: int
    batch: int
    length: int
    out: Path


def parser(command: str, description: str | None, examples: str) -> Parser:
    """An empty parser for `python -m diagnostics.COMMAND`, with examples below its options."""
    return Parser(
        prog=f"python -m diagnostics.{command}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def cell(text: str) -> str:
    """One of torch's, or where one of your own is."""
    try:
        check_cell(text)
    except InvalidValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_network(parser: Parser, textbook: str) -> None:
    """What describes one network in place of `textbook`. What is None was not given."""
    one = parser.add_argument_group(f"one network in place of {textbook} (any of these options)")
    one.add_argument("--cell", type=cell, metavar="CELL", help=f"{', '.join(CELLS)}, or your own package.module:Name; "
                     "default: lstm with --forget-bias or chrono, else rnn_tanh")  # fmt: skip
    one.add_argument("--init", help="default, orthogonal, identity, normal:STD or chrono:T")
    one.add_argument("--gain", type=float, help="factor on all recurrent weights, after --init")
    one.add_argument("--forget-bias", type=float, metavar="BIAS", help="of an LSTM, both biases together")
    one.add_argument("--model", metavar="PACKAGE.MODULE:FACTORY",
                     help="returns a model, or (model, input); --cell names cells of yours in it")  # fmt: skip
    one.add_argument("--checkpoint", type=Path, metavar="FILE", help="a state dict to fill the network with")


def add_sizes(parser: Parser, defaults: Defaults, length: str) -> argparse._ArgumentGroup:
    """Sizes; `length` says what its steps are of. Gives the group, for more of them."""
    sizes = parser.add_argument_group("sizes")
    sizes.add_argument("--hidden", type=int, metavar="H", help=f"hidden units; default: {defaults.hidden}")
    sizes.add_argument("--layers", type=int, metavar="L", help="layers; default: 1")
    sizes.add_argument("--input", type=int, metavar="I", help=f"input features; default: {defaults.input}")
    sizes.add_argument("--bidirectional", action="store_true", help="run every layer both ways")
    sizes.add_argument("--batch", type=int, metavar="B", help=f"samples; default: {defaults.batch}")
    sizes.add_argument("--length", type=int, metavar="T", help=f"{length}; default: {defaults.length}")
    return sizes


def add_machine(how: argparse._ArgumentGroup, dtype: str = "float32") -> None:
    """Precision, device, seed and threads."""
    how.add_argument("--dtype", choices=("float64", "float32", "bfloat16"), help=f"default: {dtype}")
    how.add_argument("--device", help="cpu, cuda or cuda:N; default: cpu")
    how.add_argument("--seed", type=int, default=0, help="of weights and input; default: 0")
    how.add_argument("--threads", type=int, default=THREADS, help=f"of torch; default: {THREADS}")


def add_output(parser: Parser, defaults: Defaults) -> None:
    """Where results go, and how much is said."""
    where = parser.add_argument_group("where results go")
    where.add_argument("--out", type=Path, default=defaults.out, metavar="FOLDER",
                       help=f"for plots and data; default: {defaults.out}")  # fmt: skip
    where.add_argument("--no-plots", action="store_true", help="tables and data only")
    where.add_argument("--quiet", action="store_true", help="no progress, and no list of the files written")


def numbers(option: str, text: str) -> tuple[float, ...]:
    """`0.5,1,2`. Raises `InvalidValueError` that names the option."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"{option}: expected numbers with commas in between, got {text!r}; try 0.5,1,2"
        ) from None


def integers(option: str, text: str) -> tuple[int, ...]:
    """`10,20,50`. Raises `InvalidValueError` that names the option."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"{option}: expected numbers with commas in between, got {text!r}; try 10,20,50"
        ) from None
