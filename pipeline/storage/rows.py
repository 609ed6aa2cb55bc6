"""Rows in the schema of their table: Python dicts and Arrow tables become the columns that the table has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.ids import CLIP_ID_PATTERN
from pipeline.storage.arrow import Column, pc
from pipeline.storage.schemas import DERIVED_FROM_CLIP_ID, SCHEMAS
from pipeline.usage import count

Rows = pa.Table | Sequence[Mapping[str, Any]]


def rows_table(name: str, rows: Rows) -> pa.Table:
    """Return rows (dicts or an Arrow table) in the schema of the table `name`.

    A missing column becomes null, except that columns that repeat a part of `clip_id` are filled from it.
    """
    schema = SCHEMAS[name]
    table = rows if isinstance(rows, pa.Table) else _from_dicts(rows, schema)
    return with_columns(derive_columns(table, DERIVED_FROM_CLIP_ID.get(name, ())), schema)


def _from_dicts(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    plain = [{field: row.get(field) for field in schema.names} for row in rows]
    try:
        return pa.Table.from_pylist(plain, schema=schema)
    except UnicodeEncodeError:
        # a web page may contain half a surrogate pair (a title cut inside an emoji), which UTF-8 cannot encode
        encodable = [{field: encodable_text(value) for field, value in row.items()} for row in plain]
        return pa.Table.from_pylist(encodable, schema=schema)


def with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the schema's columns of a table; one that the table lacks becomes null."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def derive_columns(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Fill columns that repeat a part of `clip_id`, `video_id` and `clip_spec`, where they are missing or null.

    A row whose `clip_id` is null or of another form keeps null, and a table without the column `clip_id` stays as it
    is.
    """
    if "clip_id" not in table.column_names:
        return table
    lacking = [name for name in names if name not in table.column_names or table[name].null_count]
    if not lacking:
        return table
    parts = pc.extract_regex(table["clip_id"].cast(pa.string()), f"^{CLIP_ID_PATTERN}$")
    for name in lacking:
        found: Column = pc.struct_field(parts, name)
        if name in table.column_names:
            place = table.column_names.index(name)
            table = table.set_column(place, name, pc.coalesce(table[name].cast(pa.string()), found))
        else:
            table = table.append_column(name, found)
    return table


def encodable_text(value: Any) -> Any:
    """Return a value whose texts UTF-8 can encode: half a surrogate pair becomes `?`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [encodable_text(item) for item in value] if isinstance(value, list | tuple) else value


def fitting_rows(
    name: str, rows: Sequence[Mapping[str, Any]], stand_in: Callable[[dict[str, Any], str], Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return rows that the table `name` can hold, in their order: one bad row must not stop those beside it.

    Args:
        name: the table.
        rows: dicts.
        stand_in: called with a row that does not fit, without the values that do not, and with the reason; it returns
            the row that is written instead.
    """
    try:
        rows_table(name, rows)
    except _MISFITS:
        return [_fitting_row(name, row, stand_in) for row in rows]
    return list(rows)


# what pyarrow raises for a value that is no value of its column
_MISFITS = (pa.ArrowException, OverflowError, TypeError, ValueError)


def _fitting_row(
    name: str, row: Mapping[str, Any], stand_in: Callable[[dict[str, Any], str], Mapping[str, Any]]
) -> Mapping[str, Any]:
    misfits = {field: error for field, value in row.items() if (error := _misfit(name, field, value))}
    if not misfits:
        return row
    return stand_in({**row, **dict.fromkeys(misfits)}, "; ".join(misfits.values()))


def _misfit(name: str, field: str, value: Any) -> str:
    """Return why a column of the table cannot hold a value; "" where it can, or where there is no such column."""
    if field not in SCHEMAS[name].names:
        return ""
    try:
        _from_dicts([{field: value}], pa.schema([SCHEMAS[name].field(field)]))
    except _MISFITS as error:
        # the text of an integer of more than 4,300 digits is an error of its own
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else repr(value)[:80]
        return f"table {name!r} cannot hold {field} = {text} ({type(error).__name__}: {str(error)[:100]})"
    return ""


def counted_rows(data: pa.Table | pa.RecordBatchReader) -> pa.Table | pa.RecordBatchReader:
    """Return rows that are about to be written, and count them."""
    count(requests=1)
    if isinstance(data, pa.Table):
        count(written=data.nbytes)
        return data

    def counted() -> Iterator[pa.RecordBatch]:
        for batch in data:
            count(written=batch.nbytes)
            yield batch

    return pa.RecordBatchReader.from_batches(data.schema, counted())


def sql_texts(texts: Iterable[str]) -> str:
    """Return texts as SQL literals, separated by commas."""
    return ", ".join("'{}'".format(encodable_text(text).replace("'", "''")) for text in texts)
