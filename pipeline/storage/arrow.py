"""Count and filter Arrow columns by plain Python values, and the one import of Arrow's compute functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa
from pyarrow import compute

# pyarrow's stubs do not allow plain values as operands
pc: Any = compute
Column = Any
"""An Arrow array, chunked or not."""


def texts(values: Collection[str] | Column) -> Column:
    """Return plain texts as a sorted Arrow array, and an array unchanged."""
    return pa.array(sorted(values), pa.string()) if isinstance(values, list | set | frozenset | tuple) else values


def among(column: Column, values: Collection[str] | Column) -> Column:
    """Return a mask: True where the column's text is one of the values."""
    return pc.is_in(column, value_set=texts(values))


def is_one_of(name: str, values: Iterable[str]) -> Column:
    """Return a filter for `Store.read` and `Store.scan`: the column's text is one of the values."""
    return pc.field(name).isin(pa.array(list(values), pa.string()))


def rows_with(table: pa.Table, name: str, values: str | Collection[str] | Column) -> pa.Table:
    """Return the rows whose column equals a value, or one of several."""
    return table.filter(among(table[name], [values] if isinstance(values, str) else values))


def rows_without(table: pa.Table, name: str, values: str | Collection[str] | Column) -> pa.Table:
    """Return the rows whose column equals none of the values; rows with null stay."""
    return table.filter(pc.invert(among(table[name], [values] if isinstance(values, str) else values)))


def total(column: Column) -> int:
    """Return the sum of a column, or how often a mask is True; nulls count as 0."""
    return int(pc.sum(column).as_py() or 0)


def counts(column: Column) -> dict[str, int]:
    """Return how often each value occurs, sorted by value; null is counted as `unknown`."""
    pairs = pc.value_counts(column).to_pylist()
    return dict(
        sorted(("unknown" if pair["values"] is None else str(pair["values"]), pair["counts"]) for pair in pairs)
    )


def unique(column: Column) -> list[Any]:
    """Return the distinct values of a column, sorted, without null."""
    return sorted(value for value in pc.unique(column).to_pylist() if value is not None)
