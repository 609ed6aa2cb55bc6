"""Delta tables: read, append, merge and replace rows, each write in one atomic commit."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from pipeline.errors import UserError
from pipeline.storage.arrow import pc
from pipeline.storage.checksums import record_commits
from pipeline.storage.damage import (
    DamagedError,
    check_newest_commits,
    raise_damage,
    stranger_columns,
    telling_damage,
)
from pipeline.storage.read_dataset import BATCH_ROWS, TableReader
from pipeline.storage.root import Root
from pipeline.storage.rows import Rows, counted_rows, rows_table, sql_texts
from pipeline.storage.schemas import DERIVED_FROM_CLIP_ID, SCHEMA_VERSION, SCHEMAS
from pipeline.storage.upkeep import WRITER_PROPERTIES, compact_if_due, retry_commit

_DESCRIPTION = "lampworks schema {}"
INPUTS_KEY = "lampworks.inputs"
TAKEDOWN_KEY = "lampworks.takedown"
"""Marks the commits of a takedown, which say nothing of what the rows were made from."""
_HISTORY = 10  # commits that are looked through for the last one that changed rows


class Tables(Root):
    """The tables of a root, by the names of `SCHEMAS`. Readers see whole commits only."""

    # -- reading --------------------------------------------------------------------------------------------------

    def version(self, name: str) -> int:
        """Return the table's version, which rises with every commit; -1 while the table does not exist."""
        table = self._open(name)
        return -1 if table is None else int(table.version())

    def inputs(self, name: str) -> dict[str, Any]:
        """Return what the table's last commit recorded as its inputs; {} if nothing."""
        table = self._open(name)
        if table is None:
            return {}
        for commit in self._history(name, table, _HISTORY):
            moved = str(commit.get("operation")).startswith(("OPTIMIZE", "VACUUM"))  # the same rows in other files
            if moved or (TAKEDOWN_KEY in commit and INPUTS_KEY not in commit):
                continue
            return self._recorded(name, commit)
        return {}

    def _history(self, name: str, table: DeltaTable, commits: int) -> list[dict[str, Any]]:
        with self._telling_damage(name, opening=True):
            return table.history(commits)

    def _recorded(self, name: str, commit: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return dict(json.loads(commit[INPUTS_KEY])) if INPUTS_KEY in commit else {}
        except ValueError as exc:
            raise DamagedError(
                f"table {name!r} of {self.root}: its last commit says in damaged words what it was made from. Restore "
                f"tables/{name}/_delta_log from a copy, or run `lampworks doctor --deep --mend`."
            ) from exc

    def deleted_rows(self, name: str, commits: int = _HISTORY) -> int:
        """Return how many rows the last commits deleted; those of a takedown are not counted."""
        table = self._open(name)
        history = [] if table is None else self._history(name, table, commits)
        deletions = [one for one in history if one.get("operation") == "DELETE" and TAKEDOWN_KEY not in one]
        gone = [commit["operationMetrics"] for commit in deletions]
        return sum(int(metrics.get("num_deleted_rows") or 0) for metrics in gone)

    def read(self, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Return the committed rows that match; an empty table of the right schema while it does not exist."""
        table, wanted = self._open(name), _columns(name, columns)
        if table is None:
            return wanted.empty_table()
        with self._telling_damage(name):
            return self._reader(name, table).read(wanted, where)

    def scan(
        self, name: str, columns: Sequence[str], where: pc.Expression | None = None, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield the committed rows that match in record batches, so that memory does not grow with the table."""
        table, wanted = self._open(name), _columns(name, columns)
        if table is not None:
            with self._telling_damage(name):
                batches = self._reader(name, table).scan(wanted, where, batch_rows)
            while True:
                # the caller's own errors are raised at `yield`, outside of the block
                with self._telling_damage(name):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, name: str, rows: Rows, inputs: Mapping[str, Any] | None = None) -> int:
        """Append rows in one commit and return the new version; without rows there is no commit."""
        data = rows_table(name, rows)
        if len(data):
            self._write(name, data, "append", inputs)
        return self._compacted_version(name)

    def replace(self, name: str, rows: Rows, where: str | None = None, inputs: Mapping[str, Any] | None = None) -> int:
        """Replace all rows, or those that match a SQL predicate (`batch = 'x'`), in one commit.

        Args:
            name: the table.
            rows: the new rows; with a predicate they must match it themselves.
            where: the predicate; without one, the new rows are all that the table has afterwards.
            inputs: what the rows were made from, recorded with the commit.

        Returns:
            The new version.
        """
        data = rows_table(name, rows)
        if where is not None and self._open(name) is None:
            if not len(data):
                return self.version(name)
            self._create(name, data.schema)
        self._write(name, data, "overwrite", inputs, where)
        return self._compacted_version(name)

    def merge(
        self,
        name: str,
        rows: Rows,
        on: Sequence[str],
        inputs: Mapping[str, Any] | None = None,
        since: tuple[str, datetime] | None = None,
        settled: str | None = None,
    ) -> int:
        """Insert rows, or update those whose `on` columns exist already, in one commit.

        Args:
            name: the table.
            rows: the rows.
            on: columns that identify a row.
            inputs: what the rows were made from, recorded with the commit.
            since: a column of times and a time. The caller knows that no older row matches, so their files are not
                read: with a million videos that takes 40 ms and 150 MB instead of seconds and 2 GB.
            settled: a column that never changes once it is set. A row that another writer has set to another value in
                the meantime is left as it is.

        Returns:
            The new version.
        """
        data = rows_table(name, rows)
        if not len(data):
            return self.version(name)
        if self._open(name) is None:
            self._create(name, data.schema)
        predicate = " AND ".join(f"target.{column} = source.{column}" for column in on)
        if since is not None:
            predicate += f" AND target.{since[0]} >= TIMESTAMP '{since[1].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"

        def commit() -> None:
            table = self._open(name)
            assert table is not None
            merger = table.merge(
                counted_rows(data),
                predicate,
                source_alias="source",
                target_alias="target",
                merge_schema=_lacks_columns(table, data.schema),
                writer_properties=WRITER_PROPERTIES,
                commit_properties=_commit_properties(inputs),
            )
            unless = f"target.{settled} IS NULL OR target.{settled} = source.{settled}" if settled else None
            merger.when_matched_update_all(unless).when_not_matched_insert_all().execute()

        self._commit(name, commit)
        return self._compacted_version(name)

    def add_to_lists(self, name: str, on: str, column: str, additions: Mapping[str, Sequence[str]]) -> int:
        """Append texts to the list column of the rows whose `on` column is a key, in one commit.

        A text that a list has already is not added again. Returns the new version.
        """
        if not additions or self._open(name) is None:
            return self.version(name)
        by_texts: dict[tuple[str, ...], list[str]] = {}
        for key, texts in additions.items():
            by_texts.setdefault(tuple(texts), []).append(key)
        cases = " ".join(
            f"WHEN {on} IN ({sql_texts(keys)}) THEN "
            f"array_concat({column}, array_except(make_array({sql_texts(texts)}), {column}))"
            for texts, keys in by_texts.items()
        )

        def commit() -> None:
            table = self._open(name)
            assert table is not None
            table.update(
                updates={column: f"CASE {cases} ELSE {column} END"},
                predicate=f"{on} IN ({sql_texts(additions)})",
                writer_properties=WRITER_PROPERTIES,
            )

        self._commit(name, commit)
        return self._compacted_version(name)

    # -- mending --------------------------------------------------------------------------------------------------

    def data_files(self, name: str) -> set[str]:
        """Return the data files of the present version, by their path in the table's folder."""
        table = self._open(name)
        # no table is partitioned: every file lies in the folder itself
        return set() if table is None else {unquote(uri.rsplit("/", 1)[-1]) for uri in table.file_uris()}

    def forget_missing_files(self, name: str) -> int:
        """Take the data files that are gone out of the present version, in one commit; return the new version."""
        self._commit(name, lambda: DeltaTable(self._table_url(name), storage_options=self._delta_options()).repair())
        return self.version(name)

    # -- delta-rs -------------------------------------------------------------------------------------------------

    def _table_url(self, name: str) -> str:
        url = self.url(f"tables/{name}")
        return Path(url).as_uri() if self.is_local else url

    def _open(self, name: str) -> DeltaTable | None:
        """Return the table, None while it does not exist; UserError where this version cannot read it."""
        table = self._opened(name)
        if self.is_local:
            check_newest_commits(self.root, name, self._table_folder(name))
        if table is None:
            return None
        # the schema's version is in the description: delta-rs refuses table properties that it does not know
        description = table.metadata().description or _DESCRIPTION.format(SCHEMA_VERSION)
        prefix, _, number = description.rpartition(" ")
        if not number.isdigit() or f"{prefix} {{}}" != _DESCRIPTION:
            if self.is_local:
                raise_damage(self.root, name, self._table_folder(name))
            raise UserError(
                f"table {name!r} of {self.root} was not written by lampworks (its description is {description!r}): "
                "use another --root."
            )
        found = int(number)
        if found > SCHEMA_VERSION:
            raise UserError(
                f"table {name!r} of {self.root} was written by a newer lampworks (schema {found}, this one reads up "
                f"to {SCHEMA_VERSION}): update lampworks, or use another --root."
            )
        return table

    def _opened(self, name: str) -> DeltaTable | None:
        with self._telling_damage(name, opening=True):
            try:
                return DeltaTable(self._table_url(name), storage_options=self._delta_options())
            except TableNotFoundError:
                return None

    def _telling_damage(self, name: str, *, opening: bool = False) -> AbstractContextManager[None]:
        folder = self._table_folder(name) if self.is_local else None
        return telling_damage(self.root, name, folder, opening=opening)

    def _table_folder(self, name: str) -> Path:
        return Path(self.url(f"tables/{name}"))

    def _reader(self, name: str, table: DeltaTable) -> TableReader:
        # In a folder Arrow reads the files itself. delta-rs would read them through Python, and a thread that still
        # reads when the interpreter exits aborts the process (exit code 134 in 4 of 50 short programs).
        local = SubTreeFileSystem(self.url(f"tables/{name}"), LocalFileSystem()) if self.is_local else None
        dataset = table.to_pyarrow_dataset(filesystem=local)
        derived = DERIVED_FROM_CLIP_ID.get(name, ())
        lacking = [field for field in SCHEMAS[name] if field.name not in {*dataset.schema.names, *derived}]
        strangers = functools.partial(stranger_columns, self.root, name) if self.is_local else None
        return TableReader(dataset, derived, lacking, strangers)

    def _create(self, name: str, schema: pa.Schema) -> None:
        # The table is created empty first: two writers that merge into a table that does not exist yet would
        # otherwise both append the same row.
        self._make_folder(name)
        self._commit(
            name,
            lambda: DeltaTable.create(
                self._table_url(name),
                schema,
                mode="ignore",
                description=_DESCRIPTION.format(SCHEMA_VERSION),
                storage_options=self._delta_options(),
            ),
        )

    def _write(
        self,
        name: str,
        data: pa.Table | Callable[[], pa.RecordBatchReader],
        mode: Literal["append", "overwrite"],
        inputs: Mapping[str, Any] | None,
        where: str | None = None,
    ) -> None:
        def commit() -> None:
            table = self._open(name)
            write_deltalake(
                self._table_url(name),
                rows := counted_rows(data() if callable(data) else data),
                mode=mode,
                predicate=where,
                schema_mode="merge" if table is not None and _lacks_columns(table, rows.schema) else None,
                description=_DESCRIPTION.format(SCHEMA_VERSION) if table is None else None,
                storage_options=self._delta_options(),
                writer_properties=WRITER_PROPERTIES,
                commit_properties=_commit_properties(inputs),
            )

        self._make_folder(name)
        self._commit(name, commit)

    def _make_folder(self, name: str) -> None:
        if self.is_local:
            self._table_folder(name).mkdir(parents=True, exist_ok=True)

    def _commit(self, name: str, commit: Callable[[], object]) -> None:
        """Commit, again after a conflict, and record the checksums of what was written."""
        with self._telling_damage(name):
            retry_commit(commit)
        self._record_checksums(name)

    def _record_checksums(self, name: str) -> None:
        # the commit stands, also where its checksums find no room: the next ones are recorded with them
        if self.is_local:
            with suppress(OSError):
                record_commits(self._table_folder(name))

    def _compacted_version(self, name: str) -> int:
        """Compact the table if that is due, and return its version."""
        table = self._open(name)
        if table is None:
            return -1
        if not compact_if_due(name, table):
            return int(table.version())
        self._record_checksums(name)
        return self.version(name)


def _columns(name: str, columns: Sequence[str] | None) -> pa.Schema:
    schema = SCHEMAS[name]
    return schema if columns is None else pa.schema([schema.field(column) for column in columns])


def _lacks_columns(table: DeltaTable, schema: pa.Schema) -> bool:
    """Tell whether a column was added to the schema since the table was created."""
    return not {field.name for field in table.schema().fields}.issuperset(schema.names)


def _commit_properties(inputs: Mapping[str, Any] | None) -> CommitProperties | None:
    if inputs is None:
        return None
    return CommitProperties(custom_metadata={INPUTS_KEY: json.dumps(inputs, sort_keys=True)})
