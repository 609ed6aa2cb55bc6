"""Take rows out of Delta tables for good: out of the present version, of all old ones, and of the log's statistics.

A deletion alone leaves the rows in the files of older versions, and their smallest and largest texts in the log. So
`purge` deletes the files that the present version does not need, writes a checkpoint, and deletes the log before it.
Every step leaves a table that opens; after a kill the next call goes on. Old versions cannot be read afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, write_deltalake

from pipeline.storage.arrow import Column
from pipeline.storage.checksums import LOG
from pipeline.storage.read_tables import INPUTS_KEY, TAKEDOWN_KEY
from pipeline.storage.rows import sql_texts
from pipeline.storage.s3_options import MARK_KEY
from pipeline.storage.tables import Tables
from pipeline.storage.upkeep import WRITER_PROPERTIES

_CHUNK = 1000
_Change = Callable[[DeltaTable, CommitProperties], dict[str, Any]]
"""Changes a table by a commit that says this of itself."""
_LOG_FILE = re.compile(r"(\d{20})\.(json|checkpoint.*\.parquet|crc|compacted\.json)")


class PurgedTables(Tables):
    """Tables whose rows can be removed without a trace."""

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
        table = self._open(name)
        if table is None or self._is_purged(name, table):
            return False
        self._commit(name, lambda: _vacuum(self._present(name)))
        # an empty commit says what the rows were made from: the one that said so before goes with the log
        inputs = self.inputs(name)
        mine = {TAKEDOWN_KEY: "true"} | ({INPUTS_KEY: json.dumps(inputs, sort_keys=True)} if inputs else {})
        self._commit(name, lambda: self._append_nothing(name, CommitProperties(custom_metadata=mine)))
        present = self._present(name)
        self._tried(name, present.create_checkpoint)
        version = int(present.version())
        for path, number, ending in self._log_files(name):
            if number < version or (ending != "json" and number != version):
                self._fs.rm_file(path)
        self._record_checksums(name)
        return True

    def stray_files(self, name: str) -> list[str]:
        """Return the keys of Parquet files in a table's folder that its present version does not name.

        A writer that was killed before its commit leaves them, and one that is at work has not committed yet.
        """
        table = self._open(name)
        if table is None:
            return []
        named = self.data_files(name)
        folder = self.url(f"tables/{name}")
        names = [str(path).rsplit("/", 1)[-1] for path in self._fs.ls(folder, detail=False)]
        return [f"tables/{name}/{one}" for one in sorted(names) if one.endswith(".parquet") and one not in named]

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

    def _is_purged(self, name: str, table: DeltaTable) -> bool:
        """Tell whether the log is a checkpoint with its commit, and no file is older than the present version."""
        log = self._log_files(name)
        version = int(table.version())
        at_present = {ending for _, number, ending in log if number == version}
        only_present = all(number == version for _, number, _ in log)
        return only_present and len(at_present) == 2 and not self.stray_files(name)

    def _log_files(self, name: str) -> list[tuple[str, int, str]]:
        """Return path, version and ending of the files of a table's log."""
        paths = map(str, self._fs.ls(self.url(f"tables/{name}/{LOG}"), detail=False))
        matches = [(path, _LOG_FILE.fullmatch(path.rsplit("/", 1)[-1])) for path in paths]
        return [(path, int(match[1]), match[2]) for path, match in matches if match]

    def _present(self, name: str) -> DeltaTable:
        table = self._open(name)
        assert table is not None
        return table

    def _append_nothing(self, name: str, properties: CommitProperties) -> None:
        table = self._present(name)
        empty = pa.schema(table.schema().to_arrow()).empty_table()
        write_deltalake(
            self._table_url(name),
            empty,
            mode="append",
            storage_options=self._delta_options(),
            commit_properties=properties,
        )

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
        column = column.flatten()
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
