"""Counting and choosing by column: the few Arrow operations that reading a store's tables needs, on plain values."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa
from pyarrow import compute

# the stubs of pyarrow know no plain values as operands
pc: Any = compute
Column = Any
"""An Arrow array, chunked or not."""


def texts(values: Collection[str] | Column) -> Column:
    """Return plain texts as an Arrow array (sorted); an array as it is."""
    return pa.array(sorted(values), pa.string()) if isinstance(values, list | set | frozenset | tuple) else values


def among(column: Column, values: Collection[str] | Column) -> Column:
    """Return a mask: which of the column's texts are among the values."""
    return pc.is_in(column, value_set=texts(values))


def is_one_of(name: str, values: Iterable[str]) -> Column:
    """Return a filter for `Store.read` and `Store.scan`: the column's text is one of the values."""
    return pc.field(name).isin(pa.array(list(values), pa.string()))


def rows_with(table: pa.Table, name: str, values: str | Collection[str] | Column) -> pa.Table:
    """Return the rows whose column is one of the values (or the one)."""
    return table.filter(among(table[name], [values] if isinstance(values, str) else values))


def rows_without(table: pa.Table, name: str, values: str | Collection[str] | Column) -> pa.Table:
    """Return the rows whose column is none of the values; nulls stay."""
    return table.filter(pc.invert(among(table[name], [values] if isinstance(values, str) else values)))


def total(column: Column) -> int:
    """Return the sum of a column; of a mask, how often it is true. Nulls count nothing."""
    return int(pc.sum(column).as_py() or 0)


def counts(column: Column) -> dict[str, int]:
    """Return how often each value occurs, sorted by value; a null is called `unknown`."""
    pairs = pc.value_counts(column).to_pylist()
    return dict(
        sorted(("unknown" if pair["values"] is None else str(pair["values"]), pair["counts"]) for pair in pairs)
    )


def unique(column: Column) -> list[Any]:
    """Return the distinct values of a column, nulls left out, sorted."""
    return sorted(value for value in pc.unique(column).to_pylist() if value is not None)
