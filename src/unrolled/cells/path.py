"""Where a cell that somebody else wrote is: `package.module:Name`, beside the names of torch's own."""

from __future__ import annotations


def is_path(cell: str) -> bool:
    """Whether this names a module and what is in it."""
    module, colon, name = cell.partition(":")
    return bool(module and colon and name)


def short_name(cell: str) -> str:
    """For labels, tables and names of files: the name without its module."""
    return cell.rpartition(":")[2]
