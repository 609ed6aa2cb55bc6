"""Rows in the schema of their table: Python dicts and Arrow tables become the columns that the table has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.storage.schemas import SCHEMAS

Rows = pa.Table | Sequence[Mapping[str, Any]]


def rows_table(name: str, rows: Rows) -> pa.Table:
    """Return rows (dicts or an Arrow table) in the schema of the table `name`; a missing column becomes null."""
    schema = SCHEMAS[name]
    if isinstance(rows, pa.Table):
        return with_columns(rows, schema)
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


def encodable_text(value: Any) -> Any:
    """Return a value whose texts UTF-8 can encode: half a surrogate pair becomes `?`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [encodable_text(item) for item in value] if isinstance(value, list | tuple) else value
