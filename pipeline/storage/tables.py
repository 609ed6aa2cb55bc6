"""Write Delta tables: append, merge and replace rows, each write in one atomic commit."""

from __future__ import annotations

import functools
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from pipeline.storage.checksums import record_commits
from pipeline.storage.read_tables import DESCRIPTION, INPUTS_KEY, ReadTables
from pipeline.storage.rewrites import locked, rewritten, says_gone, steadily
from pipeline.storage.rows import Rows, counted_rows, rows_table, sql_texts
from pipeline.storage.s3_options import CHECKPOINT_EVERY, MARK_KEY
from pipeline.storage.schemas import SCHEMA_VERSION
from pipeline.storage.upkeep import COMPACT_EVERY_COMMITS, WRITER_PROPERTIES, compact_if_due, is_check_due, retry_commit


class Tables(ReadTables):
    """The tables of a root, by the names of `SCHEMAS`. Readers see whole commits only."""

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        """Open a root without creating it; arguments and errors as of `Root`."""
        super().__init__(root, storage_options)
        self._alone: dict[str, int] = {}

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
        if where is not None and self._to_read(name) is None:
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
        if self._to_read(name) is None:
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
                commit_properties=commit_properties(inputs),
            )
            unless = f"target.{settled} IS NULL OR target.{settled} = source.{settled}" if settled else None
            merger.when_matched_update_all(unless).when_not_matched_insert_all().execute()
            self._keep(name, table)

        self._commit(name, commit)
        return self._compacted_version(name)

    def add_to_lists(self, name: str, on: str, column: str, additions: Mapping[str, Sequence[str]]) -> int:
        """Append texts to the list column of the rows whose `on` column is a key, in one commit.

        A text that a list has already is not added again. Returns the new version.
        """
        if not additions or self._to_read(name) is None:
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
        table = self._to_read(name)
        # no table is partitioned: every file lies in the folder itself
        return set() if table is None else {unquote(uri.rsplit("/", 1)[-1]) for uri in table.file_uris()}

    def forget_missing_files(self, name: str) -> int:
        """Take the data files that are gone out of the present version, in one commit; return the new version."""
        self._commit(name, lambda: DeltaTable(self._table_url(name), storage_options=self._delta_options()).repair())
        return self.version(name)

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
                description=DESCRIPTION.format(SCHEMA_VERSION),
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
        # what is appended twice is there twice: a commit whose answer is lost is known again by its mark
        mark = self._new_mark() if mode == "append" else None

        def commit() -> None:
            table = self._open(name)
            write_deltalake(
                self._table_url(name) if table is None else table,
                rows := counted_rows(data() if callable(data) else data),
                mode=mode,
                predicate=where,
                schema_mode="merge" if table is not None and _lacks_columns(table, rows.schema) else None,
                description=DESCRIPTION.format(SCHEMA_VERSION) if table is None else None,
                storage_options=self._delta_options() if table is None else None,
                writer_properties=WRITER_PROPERTIES,
                commit_properties=commit_properties(inputs, mark),
            )
            self._keep(name, table)

        self._make_folder(name)
        self._commit(name, commit, mark)

    def _new_mark(self) -> str | None:
        """Return a mark by which a commit is found again; None in a folder, where no answer is lost."""
        return None if self._s3_tables is None else uuid.uuid4().hex

    def _make_folder(self, name: str) -> None:
        if self.is_local:
            self._table_folder(name).mkdir(parents=True, exist_ok=True)

    def _has_folder(self, name: str) -> bool:
        return self.is_local and self._table_folder(name).is_dir()

    def _commit(self, name: str, commit: Callable[[], object], mark: str | None = None) -> None:
        """Commit, again after a conflict, and record the checksums of what was written.

        Args:
            name: the table.
            commit: makes the commit; must be harmless when it is called twice, or have a mark.
            mark: what the commit says of itself, so that it is found where the answer of the store was lost.
        """
        remote = self._s3_tables

        def has_landed() -> bool:
            return remote is not None and mark is not None and remote.marked(name, mark) is not None

        def told() -> None:
            with self._telling_damage(name):
                retry_commit(commit, has_landed)

        if remote is None:
            with self._locked(name):
                told()
                self._record_checksums(name)
        else:
            remote.commit(name, functools.partial(self._told_on_s3, name, told, mark), mark)

    def _told_on_s3(self, name: str, told: Callable[[], None], mark: str | None) -> None:
        """Commit; a commit that may be made twice is made again where a takedown deleted files meanwhile."""
        if mark is None:
            steadily(told, lambda: self._log_state(name), lambda: self._forget_opened(name))
            return
        try:
            told()
        except DeltaError as exc:
            if not says_gone(exc):
                raise
            assert self._s3_tables is not None
            # without its mark it may have landed all the same: a takedown deletes the log
            if self._s3_tables.marked(name, mark) is None:
                raise rewritten(self.root, name) from None

    @contextmanager
    def held_alone(self, name: str) -> Iterator[None]:
        """Keep others from writing to a table that there is, until the block ends; on an object store nobody is kept.

        Who was at work has committed before the block begins.
        """
        with self._locked(name, alone=True) if self._has_folder(name) else nullcontext():
            yield

    @contextmanager
    def _locked(self, name: str, *, alone: bool = False) -> Iterator[None]:
        """Hold the lock of a table in a folder for a write, or alone; who has it alone needs no other."""
        me = threading.get_ident()
        if not self.is_local or self._alone.get(name) == me:
            yield
            return
        self._make_folder(name)
        with locked(self._table_folder(name), alone=alone):
            if not alone:
                yield
                return
            self._alone[name] = me
            try:
                yield
            finally:
                del self._alone[name]

    def _record_checksums(self, name: str) -> None:
        # the commit stands, also where its checksums find no room: the next ones are recorded with them
        if self.is_local:
            with suppress(OSError):
                record_commits(self._table_folder(name))

    def _compacted_version(self, name: str) -> int:
        """Compact the table if that is due, and return its version."""
        if self._s3_tables is not None:
            version, checkpoint = self._s3_tables.newest(name)
            is_due = version - max(checkpoint, 0) >= CHECKPOINT_EVERY
            if not is_due and (version < 1 or version % COMPACT_EVERY_COMMITS):
                return version
        with self._locked(name) if self._has_folder(name) else nullcontext():
            if self._s3_tables is None and not is_check_due(version := self.version(name)):
                return version
            table = self._open(name)
            if table is None:
                return -1
            if self._s3_tables is not None and is_due:
                # each reader fetches every log since the last one
                self._tried(name, table.create_checkpoint)
            if not self._tried(name, lambda: compact_if_due(name, table)):
                return int(table.version())
            self._record_checksums(name)
        return self.version(name)


def _lacks_columns(table: DeltaTable, schema: pa.Schema) -> bool:
    """Tell whether a column was added to the schema since the table was created."""
    return not {field.name for field in table.schema().fields}.issuperset(schema.names)


def commit_properties(inputs: Mapping[str, Any] | None, mark: str | None = None) -> CommitProperties | None:
    """Return what a commit is told to say of itself."""
    told = {} if inputs is None else {INPUTS_KEY: json.dumps(inputs, sort_keys=True)}
    if mark is not None:
        told[MARK_KEY] = mark
    return CommitProperties(custom_metadata=told) if told else None
