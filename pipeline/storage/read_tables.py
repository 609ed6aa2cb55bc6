"""Read Delta tables: their version, what their last commit was made from, their rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipeline.errors import UserError
from pipeline.storage.arrow import pc
from pipeline.storage.checksums import LOG
from pipeline.storage.damage import (
    DamagedError,
    check_newest_commits,
    raise_damage,
    stranger_columns,
    telling_damage,
)
from pipeline.storage.read_dataset import BATCH_ROWS, Dataset, TableReader, dataset_of
from pipeline.storage.rewrites import files_of_log, names_in_log, rewritten, says_gone, steadily, versions_in_log
from pipeline.storage.root import Root
from pipeline.storage.schemas import DERIVED_FROM_CLIP_ID, SCHEMA_VERSION, SCHEMAS

if TYPE_CHECKING:
    from pipeline.storage.s3_tables import S3Tables

DESCRIPTION = "lampworks schema {}"
INPUTS_KEY = "lampworks.inputs"
TAKEDOWN_KEY = "lampworks.takedown"
"""Marks the commits of a takedown, which say nothing of what the rows were made from."""
_HISTORY = 10  # commits that are looked through for the last one that changed rows
Made = TypeVar("Made")


class ReadTables(Root):
    """The tables of a root, by the names of `SCHEMAS`. Readers see whole commits only."""

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        """Open a root without creating it; arguments and errors as of `Root`."""
        super().__init__(root, storage_options)
        self._seen_before: dict[str, tuple[object, DeltaTable]] = {}
        self._with_statistics: dict[str, tuple[DeltaTable, Dataset]] = {}
        self._s3_tables: S3Tables | None = None
        if self._s3 is not None:
            from pipeline.storage.s3_tables import S3Tables

            self._s3_tables = S3Tables(self._s3, self.url("tables"), self.storage_options)

    def version(self, name: str) -> int:
        """Return the table's version, which rises with every commit; -1 while the table does not exist."""
        if self._s3_tables is not None:
            return self._s3_tables.version(name)
        table = self._to_read(name)
        return -1 if table is None else int(table.version())

    def inputs(self, name: str) -> dict[str, Any]:
        """Return what the table's last commit recorded as its inputs; {} if nothing."""
        for commit in self._history(name, _HISTORY):
            moved = str(commit.get("operation")).startswith(("OPTIMIZE", "VACUUM"))  # the same rows in other files
            if moved or (TAKEDOWN_KEY in commit and INPUTS_KEY not in commit):
                continue
            return self._recorded(name, commit)
        return {}

    def _history(self, name: str, most: int) -> Iterator[dict[str, Any]]:
        """Yield what the newest commits of a table say of themselves, the newest first."""

        def begin() -> tuple[int, Iterator[dict[str, Any]]]:
            table = self._to_read(name)
            if table is None:
                return -1, iter(())
            version = int(table.version())
            if self._s3_tables is not None:
                return version, self._s3_tables.commits(name, version, most)
            # delta-rs has those that came after this version, too
            later = max(versions_in_log(self._table_folder(name) / LOG), default=version) - version
            return version, iter(table.history(most + later)[later:])

        while True:
            version, commits = self._tried(name, begin, opening=True)
            first = next(commits, None)
            if first is not None:
                yield first
                yield from commits
            # a takedown may have deleted the log of what was open, but leaves that of the present version
            if first is not None or self.version(name) == version:
                return

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
        history = self._history(name, commits)
        deletions = [one for one in history if one.get("operation") == "DELETE" and TAKEDOWN_KEY not in one]
        gone = [commit["operationMetrics"] for commit in deletions]
        return sum(int(metrics.get("num_deleted_rows") or 0) for metrics in gone)

    def read(self, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Return the committed rows that match; an empty table of the right schema while it does not exist."""
        return self._read(name, _columns(name, columns), where)

    def _read(self, name: str, wanted: pa.Schema, where: pc.Expression | None) -> pa.Table:
        def read() -> pa.Table:
            table = self._to_read(name)
            return wanted.empty_table() if table is None else self._reader(name, table, where).read(wanted, where)

        return self._tried(name, read)

    def scan(
        self, name: str, columns: Sequence[str], where: pc.Expression | None = None, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield the committed rows that match in record batches, so that memory does not grow with the table."""
        wanted = _columns(name, columns)

        def begin() -> tuple[int, Iterator[pa.RecordBatch], pa.RecordBatch | None]:
            table = self._to_read(name)
            if table is None:
                return -1, iter(()), None
            batches = self._reader(name, table, where).scan(wanted, where, batch_rows)
            return int(table.version()), batches, next(batches, None)

        version, batches, batch = self._tried(name, begin)
        while batch is not None:
            # the caller's own errors are raised at `yield`, outside of the block
            yield batch
            with self._telling_damage(name), self._telling_rewrite(name, version):
                batch = next(batches, None)

    @contextmanager
    def _telling_rewrite(self, name: str, version: int) -> Iterator[None]:
        """Say that a table was rewritten where files of this version are gone, and none of the present version."""
        try:
            yield
        except (DeltaError, pa.ArrowException, OSError) as exc:
            if says_gone(exc) and self._is_rewritten(name, version):
                raise rewritten(self.root, name) from None
            raise

    def _is_rewritten(self, name: str, version: int) -> bool:
        self._forget_opened(name)
        table = self._open(name)
        if table is None or int(table.version()) == version:
            return False
        folder = self._table_folder(name)
        files = (unquote(uri.rsplit("/", 1)[-1]) for uri in table.file_uris())
        return not self.is_local or all((folder / file).exists() for file in files)

    # -- delta-rs -------------------------------------------------------------------------------------------------

    def _table_url(self, name: str) -> str:
        url = self.url(f"tables/{name}")
        return Path(url).as_uri() if self.is_local else url

    def _to_read(self, name: str) -> DeltaTable | None:
        """Return the table as `_open` does, for readers alone: in a folder it is kept while its log stays as it is.

        To open a table takes about a millisecond of a core for each commit since its last checkpoint. Whoever commits
        opens a table of their own, because delta-rs moves it to the new version.
        """
        if not self.is_local:
            return self._open(name)
        folder = self._table_folder(name)
        # before it is opened: what is committed meanwhile makes the next reader open it again
        state = files_of_log(folder / LOG)
        before, table = self._seen_before.get(name, (None, None))
        if table is not None and before == state:
            with suppress(DamagedError):  # `_open` tells it
                check_newest_commits(self.root, name, folder)
                return table
        table = self._open(name)
        if table is not None:
            self._seen_before[name] = state, table
        return table

    def _keep(self, name: str, table: DeltaTable | None) -> None:
        """Keep a table for readers that was just moved to the version of a commit, and is changed no more."""
        if table is None or not self.is_local:
            return
        state = files_of_log(self._table_folder(name) / LOG)
        newest = max((file for file, *_ in state if file.endswith(".json")), default="")
        if newest == f"{int(table.version()):020d}.json":
            self._seen_before[name] = state, table

    def _open(self, name: str) -> DeltaTable | None:
        """Return the table, None while it does not exist; UserError where this version cannot read it."""
        table = self._opened(name)
        if table is None:
            return None
        # the schema's version is in the description: delta-rs refuses table properties that it does not know
        description = table.metadata().description or DESCRIPTION.format(SCHEMA_VERSION)
        prefix, _, number = description.rpartition(" ")
        if not number.isdigit() or f"{prefix} {{}}" != DESCRIPTION:
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
        def opened() -> DeltaTable | None:
            try:
                table = DeltaTable(self._table_url(name), storage_options=self._delta_options())
            except TableNotFoundError:
                table = None
            if self.is_local:
                check_newest_commits(self.root, name, self._table_folder(name))
            return table

        return self._tried(name, opened, opening=True)

    def _tried(self, name: str, work: Callable[[], Made], *, opening: bool = False) -> Made:
        """Return what `work` returns; it is called again beside a takedown, and on S3 while the store has trouble."""

        def told() -> Made:
            with self._telling_damage(name, opening=opening):
                return steadily(work, lambda: self._log_state(name), lambda: self._forget_opened(name))

        return told() if self._s3_tables is None else self._s3_tables.patiently(told)

    def _log_state(self, name: str) -> object:
        """Return what changes with every commit to a table, and with every file of its log that goes."""
        if self._s3_tables is not None:
            return self._s3_tables.newest(name)
        return names_in_log(self._table_folder(name) / LOG)

    def _forget_opened(self, name: str) -> None:
        """Open the table anew the next time, where it is kept open."""
        self._seen_before.pop(name, None)

    def _telling_damage(self, name: str, *, opening: bool = False) -> AbstractContextManager[None]:
        folder = self._table_folder(name) if self.is_local else None
        return telling_damage(self.root, name, folder, opening=opening)

    def _table_folder(self, name: str) -> Path:
        return Path(self.url(f"tables/{name}"))

    def _reader(self, name: str, table: DeltaTable, where: pc.Expression | None) -> TableReader:
        dataset = self._dataset(name, table, where)
        derived = DERIVED_FROM_CLIP_ID.get(name, ())
        lacking = [field for field in SCHEMAS[name] if field.name not in {*dataset.schema.names, *derived}]
        strangers = functools.partial(stranger_columns, self.root, name) if self.is_local else None
        return TableReader(dataset, derived, lacking, strangers)

    def _dataset(self, name: str, table: DeltaTable, where: pc.Expression | None) -> Dataset:
        """Return the files of a table for a condition.

        Whoever reads a store in groups of batches asks each table for many conditions: the statistics of its files are
        taken in once for a version of it, or the work would grow with files times groups.
        """
        of, dataset = self._with_statistics.get(name, (None, None))
        if where is not None and of is table:
            return dataset
        dataset = dataset_of(table, self.url(f"tables/{name}") if self.is_local else None, where)
        if where is not None and self.is_local:
            self._with_statistics[name] = table, dataset
        return dataset

    def latest(self, name: str, column: str, where: pc.Expression | None = None) -> datetime | None:
        """Return the latest time in a column, of the rows that match; None while there is none."""
        rows = self._read(name, pa.schema([SCHEMAS[name].field(column)]), where)
        found: datetime | None = pc.max(rows[column]).as_py()
        return found


def _columns(name: str, columns: Sequence[str] | None) -> pa.Schema:
    schema = SCHEMAS[name]
    return schema if columns is None else pa.schema([schema.field(column) for column in columns])
