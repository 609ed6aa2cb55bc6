"""The store: one root URL with Delta tables (rows) and immutable blobs (tars, models, pictures).

`file:` paths by default, `s3:` through s3fs and delta-rs with one configuration for both, any fsspec URL for
blobs. Blobs are written under a temporary name and renamed (or sent in one PUT), and always before the rows that
name them; a blob that no row names does not exist for readers. Tables are read as committed, never in between.

    store = Store("lampworks-data")
    store.write_blob("reports/index.html", b"...")
    store.append("downloads", rows)
    table = store.read("clips", columns=["clip_id"], where=pc.field("batch") == "2026w47-0001")
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from pipeline.errors import UserError
from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMA_VERSION, SCHEMAS

Rows = pa.Table | Sequence[Mapping[str, Any]]
_DESCRIPTION = "lampworks schema {}"
_INPUTS_KEY = "lampworks.inputs"
_COMMIT_PATIENCE_S = 120.0
_TIDY_EVERY, _MANY_FILES, _FILE_BYTES, _OLD_HOURS = 256, 64, 1 << 25, 168
# tables whose rows of one batch come at many times, and are read by batch
_BY_BATCH = frozenset({"downloads"})
# delta-rs decodes percent signs twice, takes backslashes for slashes and panics on brackets (seen on 1.6.6)
_BAD_ROOT = frozenset("%\\[]|^")


def rows_table(name: str, rows: Rows) -> pa.Table:
    """Return rows (dicts or an Arrow table) as the table's own schema; a missing column becomes null."""
    schema = SCHEMAS[name]
    if isinstance(rows, pa.Table):
        return _with_columns(rows, schema)
    plain = [{field: row.get(field) for field in schema.names} for row in rows]
    try:
        return pa.Table.from_pylist(plain, schema=schema)
    except UnicodeEncodeError:
        # a page may hand out half a surrogate pair (a title cut inside an emoji), which no UTF-8 can hold
        return pa.Table.from_pylist(
            [{field: _utf8(value) for field, value in row.items()} for row in plain], schema=schema
        )


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the schema's columns; one that the table lacks (written before it was added) becomes null."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _utf8(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [_utf8(item) for item in value] if isinstance(value, list | tuple) else value


class Store:
    """A root of tables and blobs. Cheap to make, safe to pickle into worker processes."""

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        """Open (not create) a root.

        Args:
            root: a folder, or an fsspec URL such as `s3://bucket/prefix`.
            storage_options: `key`, `secret`, `endpoint_url`, `region` for S3; empty means the environment's own.
        """
        text = str(root)
        self.storage_options = dict(storage_options or {})
        self.is_local = "://" not in text or text.startswith("file:")
        if self.is_local:
            path = Path(text.removeprefix("file://").removeprefix("file:")).expanduser()
            self.root = str(path.absolute())
            bad = sorted({repr(letter) for letter in self.root if letter in _BAD_ROOT or not letter.isprintable()})
            if bad:
                raise UserError(f"store root {self.root!r} holds {', '.join(bad)}: choose another with --root.")
            self._fs = fsspec.filesystem("file")
        else:
            self.root = text.rstrip("/")
            self._fs = fsspec.filesystem(text.split("://", 1)[0], **self._fsspec_options())

    def __reduce__(self) -> tuple[type[Store], tuple[str, dict[str, str]]]:
        return Store, (self.root, self.storage_options)

    # -- where things are -------------------------------------------------------------------------------------

    def url(self, key: str) -> str:
        """Return the full path or URL of a blob key."""
        if key.startswith("/") or ".." in key.split("/"):
            raise ValueError(f"blob key {key!r} must be relative to the root and hold no '..'")
        return f"{self.root}/{key}"

    def _fsspec_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {k: v for k, v in self.storage_options.items() if k in {"key", "secret", "token"}}
        client = {
            "endpoint_url": self.storage_options.get("endpoint_url"),
            "region_name": self.storage_options.get("region"),
        }
        options["client_kwargs"] = {k: v for k, v in client.items() if v}
        return options

    def _delta_options(self) -> dict[str, str]:
        if self.is_local:
            return {}
        names = {
            "key": "AWS_ACCESS_KEY_ID",
            "secret": "AWS_SECRET_ACCESS_KEY",
            "token": "AWS_SESSION_TOKEN",
            "endpoint_url": "AWS_ENDPOINT_URL",
            "region": "AWS_REGION",
        }
        options = {names[k]: v for k, v in self.storage_options.items() if k in names}
        if options.get("AWS_ENDPOINT_URL", "").startswith("http:"):
            options["AWS_ALLOW_HTTP"] = "true"
        # conditional PUT makes a commit atomic without a lock table (S3 itself and its emulators support it)
        options["conditional_put"] = "etag"
        return options

    def check_writable(self) -> None:
        """Write and delete a probe; raise UserError naming the root and the fix."""
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            self.write_blob(probe, b"lampworks")
            self.delete(probe)
        except Exception as exc:  # each object store has its own exceptions for "no"
            raise UserError(
                f"store root {self.root!r} is not writable: {exc}. Choose another with --root, or free space and "
                "give this user write access."
            ) from exc

    # -- blobs --------------------------------------------------------------------------------------------------

    def write_blob(self, key: str, data: bytes) -> None:
        """Publish bytes under a key, atomically: readers see all of them or none."""
        with self.write_file(key) as file:
            file.write(data)

    @contextmanager
    def write_file(self, key: str) -> Iterator[IO[bytes]]:
        """Yield a local file that is published under the key when the block ends without an error."""
        target = self.url(key)
        if self.is_local:
            folder = Path(target).parent
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".tmp-{uuid.uuid4().hex}"
            try:
                with temporary.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            return
        with tempfile.NamedTemporaryFile(prefix="lampworks-") as file:
            yield file
            file.flush()
            self._fs.put_file(file.name, target)

    def put_file(self, key: str, source: Path) -> None:
        """Publish a local file under a key (copied, the source stays)."""
        with self.write_file(key) as target, source.open("rb") as file:
            shutil.copyfileobj(file, target, 1 << 20)

    def take_file(self, key: str, source: Path) -> None:
        """Publish a local file under a key and take it away from its place: moved where that costs no copy.

        A file that has another name too (a hard link to somebody's own) is copied: writing to that would change ours.
        """
        if self.is_local and source.stat().st_nlink == 1:
            target = Path(self.url(key))
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            with suppress(OSError):  # another file system: copied
                source.replace(target)
                return
        self.put_file(key, source)
        source.unlink()

    def read_blob(self, key: str) -> bytes:
        """Return all bytes of a blob; FileNotFoundError if absent."""
        return bytes(self._fs.cat_file(self.url(key)))

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` of a blob (one ranged GET on S3)."""
        data = bytes(self._fs.cat_file(self.url(key), start=offset, end=offset + size))
        if len(data) != size:
            raise EOFError(f"blob {key} ends before byte {offset + size}: it is not the one its row describes")
        return data

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """Yield the blob as a local path (itself on a folder, a temporary copy elsewhere)."""
        if self.is_local:
            path = Path(self.url(key))
            if not path.exists():
                raise FileNotFoundError(path)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="lampworks-") as folder:
            path = Path(folder) / Path(key).name
            self._fs.get_file(self.url(key), str(path))
            yield path

    def copy_to(self, key: str, target: Path) -> None:
        """Copy a blob to a local path; FileNotFoundError if absent."""
        self._fs.get_file(self.url(key), str(target))

    def size(self, key: str) -> int:
        """Return the bytes of a blob; FileNotFoundError if absent."""
        return int(self._fs.size(self.url(key)))

    def exists(self, key: str) -> bool:
        """Tell whether a blob is there."""
        return bool(self._fs.exists(self.url(key)))

    def list_blobs(self, prefix: str) -> list[str]:
        """Return the sorted keys under a prefix folder (temporary names of unfinished writes included)."""
        base = self.url(prefix)
        self._fs.invalidate_cache()
        if not self._fs.exists(base):
            return []
        start = self._fs._strip_protocol(self.root)
        return sorted(str(path)[len(start) :].lstrip("/") for path in self._fs.find(base))

    def delete(self, key: str) -> None:
        """Delete a blob; one that is absent is fine."""
        if self._fs.exists(self.url(key)):
            self._fs.rm_file(self.url(key))

    # -- tables -------------------------------------------------------------------------------------------------

    def _table_url(self, name: str) -> str:
        url = self.url(f"tables/{name}")
        return Path(url).as_uri() if self.is_local else url

    def _open(self, name: str) -> DeltaTable | None:
        try:
            table = DeltaTable(self._table_url(name), storage_options=self._delta_options() or None)
        except TableNotFoundError:
            return None
        # the table's description holds it: delta-rs refuses table properties that it does not know
        description = table.metadata().description or _DESCRIPTION.format(SCHEMA_VERSION)
        prefix, _, number = description.rpartition(" ")
        if not number.isdigit() or f"{prefix} {{}}" != _DESCRIPTION:
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

    def _dataset(self, name: str, table: DeltaTable) -> Any:
        # on a folder, Arrow's own file access: delta-rs's passes through Python, and a reader thread that is still
        # at it when the interpreter ends aborts the process (exit code 134 in 4 of 50 short programs)
        local = SubTreeFileSystem(self.url(f"tables/{name}"), LocalFileSystem()) if self.is_local else None
        return table.to_pyarrow_dataset(filesystem=local)

    def version(self, name: str) -> int:
        """Return the table's version (-1 while it does not exist): it rises with every commit."""
        table = self._open(name)
        return -1 if table is None else int(table.version())

    def inputs(self, name: str) -> dict[str, Any]:
        """Return what the table's last commit recorded as its inputs ({} if nothing)."""
        table = self._open(name)
        if table is None:
            return {}
        for commit in table.history(10):
            if str(commit.get("operation")).startswith(("OPTIMIZE", "VACUUM")):
                continue  # says the same rows in other files
            return dict(json.loads(commit[_INPUTS_KEY])) if _INPUTS_KEY in commit else {}
        return {}

    def deleted_rows(self, name: str, commits: int = 10) -> int:
        """Return the rows that something other than lampworks deleted in the last commits: lampworks deletes none."""
        table = self._open(name)
        history = [] if table is None else table.history(commits)
        gone = [commit["operationMetrics"] for commit in history if commit.get("operation") == "DELETE"]
        return sum(int(metrics.get("num_deleted_rows") or 0) for metrics in gone)

    def read(self, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Return the committed rows (an empty table of the right schema while it does not exist)."""
        schema = SCHEMAS[name]
        wanted = schema if columns is None else pa.schema([schema.field(column) for column in columns])
        table = self._open(name)
        if table is None:
            return wanted.empty_table()
        dataset = self._dataset(name, table)
        present = [column for column in wanted.names if column in dataset.schema.names]
        try:
            return _with_columns(dataset.to_table(columns=present, filter=where), wanted)
        except pa.ArrowNotImplementedError:
            rows = [
                _with_columns(pa.Table.from_batches([batch]), wanted) for batch in _matching(dataset, present, where)
            ]
            return pa.concat_tables([wanted.empty_table(), *rows])

    def scan(
        self, name: str, columns: Sequence[str], where: pc.Expression | None = None, batch_rows: int = 65536
    ) -> Iterator[pa.RecordBatch]:
        """Yield the committed rows in record batches, so that memory does not grow with the table."""
        table = self._open(name)
        if table is None:
            return
        dataset = self._dataset(name, table)
        wanted = pa.schema([SCHEMAS[name].field(column) for column in columns])
        present = [column for column in wanted.names if column in dataset.schema.names]
        for batch in _matching(dataset, present, where, batch_rows):
            if len(batch):
                yield _with_columns(pa.Table.from_batches([batch]), wanted).combine_chunks().to_batches()[0]

    def append(self, name: str, rows: Rows, inputs: Mapping[str, Any] | None = None) -> int:
        """Append rows in one commit and return the new version; no rows, no commit."""
        data = rows_table(name, rows)
        if len(data):
            self._write(name, data, "append", inputs)
        return self._tidied(name)

    def replace(self, name: str, rows: Rows, where: str | None = None, inputs: Mapping[str, Any] | None = None) -> int:
        """Replace all rows, or those that match a SQL predicate (`batch = 'x'`), in one commit.

        New rows must match the predicate themselves. Without it the rows stand alone afterwards.
        """
        data = rows_table(name, rows)
        if where is not None and self._open(name) is None:
            if not len(data):
                return self.version(name)
            self._create(name, data.schema)
        self._write(name, data, "overwrite", inputs, where)
        return self._tidied(name)

    def merge(
        self,
        name: str,
        rows: Rows,
        on: Sequence[str],
        inputs: Mapping[str, Any] | None = None,
        since: tuple[str, datetime] | None = None,
        settled: str | None = None,
    ) -> int:
        """Insert rows, or update those whose `on` columns are already there, in one commit.

        Args:
            name: the table.
            rows: the rows.
            on: columns that name a row.
            inputs: recorded with the commit.
            since: a column of times, and a time: older rows are known to be others, and their files are not read. With
                a million videos that is 40 ms and 150 MB in place of seconds and 2 GB.
            settled: a column that never changes once it is set: a row in which it is set to something else, by a
                writer that was faster, is left as it is.
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
                data,
                predicate,
                source_alias="source",
                target_alias="target",
                merge_schema=_lacks_columns(table, data),
                commit_properties=_commit(inputs),
            )
            unless = f"target.{settled} IS NULL OR target.{settled} = source.{settled}" if settled else None
            merger.when_matched_update_all(unless).when_not_matched_insert_all().execute()

        self._retrying(commit)
        return self._tidied(name)

    def add_to_lists(self, name: str, on: str, column: str, additions: Mapping[str, Sequence[str]]) -> int:
        """Append texts to a list column of the rows whose `on` column is a key, where it lacks them, in one commit."""
        if not additions or self._open(name) is None:
            return self.version(name)
        by_texts: dict[tuple[str, ...], list[str]] = {}
        for key, texts in additions.items():
            by_texts.setdefault(tuple(texts), []).append(key)
        cases = " ".join(
            f"WHEN {on} IN ({_sql_texts(keys)}) THEN "
            f"array_concat({column}, array_except(make_array({_sql_texts(texts)}), {column}))"
            for texts, keys in by_texts.items()
        )

        def commit() -> None:
            table = self._open(name)
            assert table is not None
            table.update(
                updates={column: f"CASE {cases} ELSE {column} END"},
                predicate=f"{on} IN ({_sql_texts(additions)})",
                writer_properties=WriterProperties(max_row_group_size=1 << 16),
            )

        self._retrying(commit)
        return self._tidied(name)

    def _tidied(self, name: str) -> int:
        """Return the table's version, after every few hundred commits that of one with fewer, larger files.

        Thousands of small files, one a commit, would make every read slow: measured on 3,000,000 attempts, a batch of
        250 is found in 0.2 s where they are ordered by batch, and in 2.5 s where they are not. What a reader of an
        older version may still need stays for a week.
        """
        version = self.version(name)
        if version < 1 or version % _TIDY_EVERY:
            return version
        table = self._open(name)
        assert table is not None
        if len(table.file_uris()) <= _MANY_FILES:
            return version
        properties = WriterProperties(max_row_group_size=1 << 16)
        # a writer came between: the next few hundred commits will see to it
        with suppress(CommitFailedError):
            if name in _BY_BATCH:
                table.optimize.z_order(["batch"], target_size=_FILE_BYTES, writer_properties=properties)
            else:
                table.optimize.compact(target_size=_FILE_BYTES, writer_properties=properties)
            table.vacuum(retention_hours=_OLD_HOURS, dry_run=False)
        return self.version(name)

    def _create(self, name: str, schema: pa.Schema) -> None:
        # empty first, so that two that merge into a table which is not there yet cannot both append the same row
        if self.is_local:
            Path(self.url(f"tables/{name}")).mkdir(parents=True, exist_ok=True)
        self._retrying(
            lambda: DeltaTable.create(
                self._table_url(name),
                schema,
                mode="ignore",
                description=_DESCRIPTION.format(SCHEMA_VERSION),
                storage_options=self._delta_options() or None,
            )
        )

    def _write(
        self, name: str, data: pa.Table, mode: Any, inputs: Mapping[str, Any] | None, where: str | None = None
    ) -> None:
        def commit() -> None:
            table = self._open(name)
            write_deltalake(
                self._table_url(name),
                data,
                mode=mode,
                predicate=where,
                schema_mode="merge" if table is not None and _lacks_columns(table, data) else None,
                description=_DESCRIPTION.format(SCHEMA_VERSION) if table is None else None,
                storage_options=self._delta_options() or None,
                commit_properties=_commit(inputs),
            )

        if self.is_local:
            Path(self.url(f"tables/{name}")).mkdir(parents=True, exist_ok=True)
        self._retrying(commit)

    @staticmethod
    def _retrying(commit: Callable[[], object]) -> None:
        """Commit again after a conflict: delta-rs does so for appends; a merge or an overwrite must read again.

        Writers that fail together must not meet again, so each waits a random, growing time: at once, ten tries of one
        of two mergers beside two appenders were seen to lose to the others on a loaded machine.
        """
        give_up = time.monotonic() + _COMMIT_PATIENCE_S
        for attempt in itertools.count():
            try:
                commit()
                return
            except CommitFailedError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(random.uniform(0, min(2.0, 0.02 * 2**attempt)))


def _sql_texts(texts: Iterable[str]) -> str:
    return ", ".join("'{}'".format(_utf8(text).replace("'", "''")) for text in texts)


def _lacks_columns(table: DeltaTable, data: pa.Table) -> bool:
    # a column was added to the schema since the table was made: old rows read it as null
    return not {field.name for field in table.schema().fields}.issuperset(data.column_names)


def _matching(
    dataset: Any, columns: list[str], where: pc.Expression | None, batch_rows: int = 65536
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that match, in batches, whatever string type each file was written with.

    Files that a merge rewrote hold string_view, for which Arrow has no comparison: those rows are cast first and
    compared then. Files whose statistics exclude a match are not opened.
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


def _commit(inputs: Mapping[str, Any] | None) -> CommitProperties | None:
    if inputs is None:
        return None
    return CommitProperties(custom_metadata={_INPUTS_KEY: json.dumps(inputs, sort_keys=True)})
