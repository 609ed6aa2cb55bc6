"""Read the committed rows of a Delta table through Arrow, whatever string type and columns each file has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.storage.arrow import pc
from pipeline.storage.rows import with_columns

BATCH_ROWS = 65536

Dataset = Any
"""A `pyarrow.dataset.Dataset` (its stubs lack the methods used here)."""


def read_dataset(dataset: Dataset, wanted: pa.Schema, where: pc.Expression | None) -> pa.Table:
    """Return the rows that match, with the wanted columns; one that the table lacks is null."""
    present = [column for column in wanted.names if column in dataset.schema.names]
    try:
        return with_columns(dataset.to_table(columns=present, filter=where), wanted)
    except pa.ArrowNotImplementedError:  # `where` compares string_view, see _matching
        batches = _matching(dataset, present, where, BATCH_ROWS)
        tables = [with_columns(pa.Table.from_batches([batch]), wanted) for batch in batches]
        return pa.concat_tables([wanted.empty_table(), *tables])


def scan_dataset(
    dataset: Dataset, wanted: pa.Schema, where: pc.Expression | None, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield what `read_dataset` returns in batches of at most `batch_rows` rows, none of them empty."""
    present = [column for column in wanted.names if column in dataset.schema.names]
    for batch in _matching(dataset, present, where, batch_rows):
        if len(batch):
            yield with_columns(pa.Table.from_batches([batch]), wanted).combine_chunks().to_batches()[0]


def _matching(
    dataset: Dataset, columns: list[str], where: pc.Expression | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that match in batches, whatever string type each file was written with.

    A merge writes string_view, for which Arrow has no comparison: rows of such files are cast to string and filtered
    then. Files whose statistics exclude a match are not opened.
    """
    if where is None:
        yield from dataset.to_batches(columns=columns, batch_size=batch_rows)
        return
    text = str(where)
    needed = [name for name in dataset.schema.names if name in columns or re.search(rf"\b{re.escape(name)}\b", text)]
    for fragment in dataset.get_fragments(filter=where):
        options = {"schema": dataset.schema, "batch_size": batch_rows}
        if not any(pa.types.is_string_view(kind) for kind in fragment.physical_schema.types):
            yield from fragment.to_batches(columns=columns, filter=where, **options)
            continue
        for batch in fragment.to_batches(columns=needed, **options):
            yield from pa.Table.from_batches([batch]).filter(where).select(columns).to_batches()
