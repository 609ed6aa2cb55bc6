"""Read the committed rows of a Delta table through Arrow, whatever string type and columns each file has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from pipeline.storage.arrow import pc
from pipeline.storage.rows import derive_columns, with_columns
from pipeline.usage import count

BATCH_ROWS = 65536
_FEW_FILES = 8
_PLAIN_READER_VERSION = 1

Dataset = Any
"""A `pyarrow.dataset.Dataset` (its stubs lack the methods used here)."""


def dataset_of(table: DeltaTable, folder: str | None, where: pc.Expression | None) -> Dataset:
    """Return the files of a table for a condition.

    Args:
        table: one version of it.
        folder: of the table; None on an object store.
        where: what the rows that are read will match; None: all rows are read.
    """
    if folder is None:
        return table.to_pyarrow_dataset()
    # In a folder Arrow reads the files itself. delta-rs would read them through Python, and a thread that still
    # reads when the interpreter exits aborts the process (exit code 134 in 4 of 50 short programs).
    files = SubTreeFileSystem(folder, LocalFileSystem())
    names = [uri.removeprefix(f"{folder}/") for uri in table.file_uris()]
    # Statistics of the log tell which files a condition excludes. To take them in costs 4 ms of a core for each file
    # of 41 columns, and tells nothing without a condition; to look into the file costs 0.5 ms.
    if (where is None or len(names) <= _FEW_FILES) and _is_plain(table, names):
        import pyarrow.dataset as ds

        # on a disk, columns that are fetched before they are needed save nothing and stay until the file is read
        options = ds.ParquetFragmentScanOptions(pre_buffer=False)
        parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
        fragments = [parquet.make_fragment(name, files) for name in names]
        return ds.FileSystemDataset(fragments, pa.schema(table.schema().to_arrow()), parquet, files)
    return table.to_pyarrow_dataset(filesystem=files)


def _is_plain(table: DeltaTable, names: Sequence[str]) -> bool:
    """Tell whether every row of every file is one of the table, and every file lies under its own name in the folder.

    Others are left to delta-rs, which refuses what it cannot read.
    """
    return table.protocol().min_reader_version == _PLAIN_READER_VERSION and not any(
        "/" in name or "%" in name for name in names
    )


@dataclass(frozen=True)
class TableReader:
    """The rows of one version of a table."""

    dataset: Dataset
    derived: Sequence[str] = ()
    """Columns that are filled from `clip_id`: files written before these columns existed lack them."""
    lacking: Sequence[Any] = ()
    """Fields that the schema has and the table has not yet: null in every row, in conditions too."""
    strangers: Callable[[str, set[str]], Exception] | None = None
    """Makes the error of a file (path, columns) with columns that the table does not have; None: do not look.

    A damaged name in a file or in the log would otherwise read as a column of nulls.
    """

    def read(self, wanted: pa.Schema, where: pc.Expression | None) -> pa.Table:
        """Return the rows that match, with the wanted columns; one that the table lacks is null."""
        self._check_names(where)
        if not self._names_derived(where):
            try:
                rows = self.dataset.to_table(columns=self._stored(wanted), filter=where)
                count(read=rows.nbytes, requests=1)
                return self._complete(rows, wanted)
            except pa.ArrowNotImplementedError:
                pass  # `where` compares string_view: see _matching
        batches = counted(self._matching(self._stored(wanted), where, BATCH_ROWS))
        return pa.concat_tables([wanted.empty_table(), *(self._complete(batch, wanted) for batch in batches)])

    def scan(
        self, wanted: pa.Schema, where: pc.Expression | None, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield what `read` returns in batches of at most `batch_rows` rows, none of them empty."""
        self._check_names(where)
        for rows in counted(self._matching(self._stored(wanted), where, batch_rows)):
            if len(rows):
                yield self._complete(rows, wanted).combine_chunks().to_batches()[0]

    def _check_names(self, where: pc.Expression | None) -> None:
        if self.strangers is None:
            return
        known = set(self.dataset.schema.names)
        for fragment in self.dataset.get_fragments(filter=None if self._names_derived(where) else where):
            unknown = set(fragment.physical_schema.names) - known
            if unknown:
                raise self.strangers(str(fragment.path), unknown)

    def _complete(self, rows: pa.Table, wanted: pa.Schema) -> pa.Table:
        derived = [name for name in self.derived if name in wanted.names]
        return with_columns(derive_columns(rows, derived), wanted)

    def _stored(self, wanted: pa.Schema) -> list[str]:
        """Return the columns to read for the wanted ones: `clip_id` too where one is derived from it."""
        names = list(wanted.names)
        if "clip_id" not in names and any(name in self.derived for name in names):
            names.append("clip_id")
        return [name for name in names if name in self.dataset.schema.names]

    def _names_derived(self, where: pc.Expression | None) -> bool:
        late = (*self.derived, *(field.name for field in self.lacking))
        return where is not None and any(_names(where, name) for name in late)

    def _matching(self, columns: list[str], where: pc.Expression | None, batch_rows: int) -> Iterator[pa.Table]:
        """Yield the rows that match in batches, whatever string type each file was written with.

        A merge writes string_view, for which Arrow has no comparison: rows of such files are cast to string and
        filtered then. Files whose statistics exclude a match are not opened. Neither filter can be used on columns
        that are derived, because a file may lack them: those rows are filtered last.
        """
        if where is None:
            for batch in self.dataset.to_batches(columns=columns, batch_size=batch_rows):
                yield pa.Table.from_batches([batch])
            return
        derived = [name for name in self.derived if _names(where, name)]
        lacking = [field for field in self.lacking if _names(where, field.name)]
        needed = [
            name
            for name in self.dataset.schema.names
            if name in columns or _names(where, name) or (derived and name == "clip_id")
        ]
        options = {"schema": self.dataset.schema, "batch_size": batch_rows}
        for fragment in self.dataset.get_fragments(filter=None if derived or lacking else where):
            if (
                not derived
                and not lacking
                and not any(pa.types.is_string_view(kind) for kind in fragment.physical_schema.types)
            ):
                for batch in fragment.to_batches(columns=columns, filter=where, **options):
                    yield pa.Table.from_batches([batch])
                continue
            for batch in fragment.to_batches(columns=needed, **options):
                rows = derive_columns(pa.Table.from_batches([batch]), derived)
                for field in lacking:
                    rows = rows.append_column(field, pa.nulls(len(rows), field.type))
                rows = rows.filter(where)
                yield from (pa.Table.from_batches([part]) for part in rows.select(columns).to_batches())


def counted(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield parts of a table that is read, and count them as one request."""
    count(requests=1)
    for part in parts:
        count(read=part.nbytes)
        yield part


def _names(where: pc.Expression, column: str) -> bool:
    """Tell whether a condition may refer to a column."""
    return re.search(rf"\b{re.escape(column)}\b", str(where)) is not None
