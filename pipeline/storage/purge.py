"""Take rows out of Delta tables for good: out of the present version, of all old ones, and of the log's statistics.

A deletion alone leaves the rows in the files of older versions, and their smallest and largest texts in the log. So
`purge` deletes the files that the present version does not need, writes a checkpoint, and deletes the log before it.
Every step leaves a table that opens; after a kill the next call goes on. Old versions cannot be read afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, write_deltalake

from pipeline.storage.arrow import Column, pc
from pipeline.storage.checksums import LOG
from pipeline.storage.read_tables import INPUTS_KEY, TAKEDOWN_KEY
from pipeline.storage.rows import sql_texts
from pipeline.storage.s3_options import MARK_KEY
from pipeline.storage.tables import Tables
from pipeline.storage.upkeep import WRITER_PROPERTIES

_CHUNK = 1000
_Change = Callable[[DeltaTable, CommitProperties], dict[str, Any]]
"""Changes a table by a commit that says this of itself."""
_LOG_FILE = re.compile(rf"/{LOG}/(\d{{20}})\.(json|checkpoint.*\.parquet|crc|compacted\.json)\Z")


class PurgedTables(Tables):
    """Tables whose rows can be removed without a trace."""

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        """Open a root without creating it; arguments and errors as of `Root`."""
        super().__init__(root, storage_options)
        self._kept: dict[str, DeltaTable | None] = {}

    @contextmanager
    def kept_open(self, name: str) -> Iterator[None]:
        """Open a table once for all that the block does with it: on S3, each opening takes about 15 requests.

        The block sees its own commits, and those of others after a conflict with one. It is for one thread.
        """
        if name in self._kept:
            yield
            return
        self._kept[name] = None
        try:
            yield
        finally:
            del self._kept[name]

    def _opened(self, name: str) -> DeltaTable | None:
        table = self._kept.get(name)
        if table is None:
            table = super()._opened(name)
            if name in self._kept:
                self._kept[name] = table
        return table

    def _to_read(self, name: str) -> DeltaTable | None:
        return self._open(name) if name in self._kept else super()._to_read(name)

    def _keep(self, name: str, table: DeltaTable | None) -> None:
        if name not in self._kept:  # there it is changed again
            super()._keep(name, table)

    def _forget_opened(self, name: str) -> None:
        super()._forget_opened(name)
        if name in self._kept:
            self._kept[name] = None

    def _commit(self, name: str, commit: Callable[[], object], mark: str | None = None) -> None:
        def attempt() -> None:
            try:
                commit()
            except BaseException:
                self._forget_opened(name)  # another writer was faster, or the answer was lost: it is read again
                raise

        super()._commit(name, attempt, mark)

    def delete_rows(self, name: str, column: str, values: Collection[str], cut: int = 0) -> int:
        """Delete the rows whose text in a column is one of the values, and return their number.

        Args:
            name: the table.
            column: a text column; nothing is deleted where the table has none of this name yet.
            values: what is looked for.
            cut: characters at the end of the text that do not count.
        """
        text = f"substr({column}, 1, character_length({column}) - {cut})" if cut else column
        deleted = 0
        for part in _chunks(sorted(values)):
            found = self._change(name, [column], _delete_where(f"{text} IN ({sql_texts(part)})"))
            deleted += int(found.get("num_deleted_rows") or 0)
        return deleted

    def replace_texts(self, name: str, column: str, texts: Mapping[str, str | None]) -> int:
        """Replace whole texts of a column, in its lists where it holds lists; return how many rows changed.

        Args:
            name: the table.
            column: of texts, or of lists of texts.
            texts: old -> new; None empties a column of texts, and takes the text out of a list.
        """
        changed = 0
        is_list = self._is_list(name, column)
        for part in _chunks(sorted(texts)):
            value = column
            if is_list:
                for old in part:
                    new = texts[old]
                    value = (
                        f"array_remove_all({value}, {sql_texts([old])})"
                        if new is None
                        else f"array_replace_all({value}, {sql_texts([old])}, {sql_texts([new])})"
                    )
                where = " OR ".join(f"array_has({column}, {sql_texts([old])})" for old in part)
            else:
                cases = " ".join(f"WHEN {column} = {sql_texts([old])} THEN {_literal(texts[old])}" for old in part)
                value = f"CASE {cases} ELSE {column} END"
                where = f"{column} IN ({sql_texts(part)})"
            found = self._change(name, [column], _update(column, value, where))
            changed += int(found.get("num_updated_rows") or 0)
        return changed

    def purge(self, name: str) -> bool:
        """Delete what only old versions of a table hold, and its log before the present version; tell whether it did.

        A table of which nothing is old stays as it is, and keeps its version.
        """
        with self.kept_open(name):
            table = self._open(name)
            if table is None or self._is_purged(name, int(table.version())):
                return False
            with self._locked(name, alone=True):
                if self.is_local:
                    self._forget_opened(name)  # others may have committed before they let the lock go
                self._drop_the_old(name)
        return True

    def _drop_the_old(self, name: str) -> None:
        # an empty commit says what the rows were made from: the one that said so before goes with the log
        inputs = self.inputs(name)
        mine = {TAKEDOWN_KEY: "true"} | ({INPUTS_KEY: json.dumps(inputs, sort_keys=True)} if inputs else {})
        self._commit(name, lambda: _vacuum(self._present(name)))
        self._commit(name, lambda: self._append_nothing(name, CommitProperties(custom_metadata=mine)))
        present = self._present(name)
        self._tried(name, present.create_checkpoint)
        version = int(present.version())
        self._delete_files(
            [
                path
                for path, number, ending in self._log_files(self._files_of(name))
                if number < version or (ending != "json" and number != version)
            ]
        )
        self._record_checksums(name)

    def stray_files(self, name: str) -> list[str]:
        """Return the keys of Parquet files in a table's folder that its present version does not name.

        A writer that was killed before its commit leaves them, and one that is at work has not committed yet.
        """
        files = self._files_of(name)
        found = self._strays(name, files)
        if found and name in self._kept:
            # others may have committed since it was opened: what the version after the listing names is not stray
            self._forget_opened(name)
            found = self._strays(name, files)
        return found

    def _strays(self, name: str, files: Iterable[str]) -> list[str]:
        """Return the keys of those files of a table's folder that are data files, and no longer or not yet named."""
        found = [path.rsplit("/", 2)[1:] for path in files if path.endswith(".parquet")]
        data = sorted(one for folder, one in found if folder != LOG)
        named = self.data_files(name) if data else set()
        return [f"tables/{name}/{one}" for one in data if one not in named]

    def texts_of_stray(self, key: str) -> Iterator[str]:
        """Yield the texts that a Parquet file of a table's folder holds; nothing where it is not finished yet."""
        with self._fs.open(self.url(key), "rb") as file:
            try:
                parquet = pq.ParquetFile(file)
            except pa.ArrowException:
                return
            for batch in parquet.iter_batches(1 << 14):
                for column in batch.columns:
                    yield from texts_of_column(column)

    def _is_purged(self, name: str, version: int) -> bool:
        """Tell whether the log is a checkpoint with its commit, and no file is older than the present version."""
        files = self._files_of(name)
        log = self._log_files(files)
        at_present = {ending for _, number, ending in log if number == version}
        only_present = all(number == version for _, number, _ in log)
        return only_present and len(at_present) == 2 and not self._strays(name, files)

    def _files_of(self, name: str) -> list[str]:
        """Return the paths of all files of a table, those of its log too."""
        return [str(path) for path in self._fs.find(self.url(f"tables/{name}"))]

    def _log_files(self, files: Iterable[str]) -> list[tuple[str, int, str]]:
        """Return path, version and ending of those files of a table that are its log."""
        matches = [(path, _LOG_FILE.search(path)) for path in files]
        return [(path, int(match[1]), match[2]) for path, match in matches if match]

    def _delete_files(self, paths: list[str]) -> None:
        if self._s3 is not None:
            self._s3.rm_files(paths)  # a thousand in a request
            return
        for path in paths:
            self._fs.rm_file(path)

    def _present(self, name: str) -> DeltaTable:
        table = self._open(name)
        assert table is not None
        return table

    def _append_nothing(self, name: str, properties: CommitProperties) -> None:
        table = self._present(name)
        empty = pa.schema(table.schema().to_arrow()).empty_table()
        write_deltalake(table, empty, mode="append", commit_properties=properties)

    def _change(self, name: str, columns: Iterable[str], change: _Change) -> dict[str, Any]:
        """Commit a change of the present version; {} where the table lacks a column that it names.

        Returns:
            What delta-rs counted (`num_deleted_rows`, `num_updated_rows`).
        """
        table = self._open(name)
        if table is None or not set(columns) <= {field.name for field in table.schema().fields}:
            return {}
        found: dict[str, Any] = {}
        mark = self._new_mark()
        about = {TAKEDOWN_KEY: "true"} | ({} if mark is None else {MARK_KEY: mark})

        def commit() -> None:
            found.update(change(self._present(name), CommitProperties(custom_metadata=about)))

        self._commit(name, commit, mark)
        if not found and self._s3_tables is not None and mark is not None:
            # the answer was lost, and with it the counts: the commit has them too
            found.update((self._s3_tables.marked(name, mark) or {}).get("operationMetrics", {}))
        return found

    def _is_list(self, name: str, column: str) -> bool:
        table = self._open(name)
        kinds = {} if table is None else {field.name: str(field.type) for field in table.schema().fields}
        return "ArrayType" in kinds.get(column, "")


def texts_of_column(column: Column) -> Iterator[str]:
    """Yield the distinct texts of an Arrow column, those in its lists too; nothing of other types."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.list_flatten(column)  # also of a chunked one, whose own `flatten` gives a list
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        yield from (text for text in column.cast(pa.string()).unique().to_pylist() if text is not None)


def _delete_where(where: str) -> _Change:
    return lambda table, about: table.delete(where, writer_properties=WRITER_PROPERTIES, commit_properties=about)


def _update(column: str, value: str, where: str) -> _Change:
    return lambda table, about: table.update(
        updates={column: value}, predicate=where, writer_properties=WRITER_PROPERTIES, commit_properties=about
    )


def _vacuum(table: DeltaTable) -> None:
    # only files that the log says were removed: those of a writer that has not committed yet stay
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


def _literal(text: str | None) -> str:
    return "NULL" if text is None else sql_texts([text])


def _chunks(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
