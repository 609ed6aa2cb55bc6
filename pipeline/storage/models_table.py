"""Read and write the rows of table `models`: one published model or evaluation each.

world = newest_model(store, "world_model")
world.metrics["codes_used"]
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.storage.arrow import pc
from pipeline.storage.damage import ADVICE, DamagedError
from pipeline.storage.moments import moment_after
from pipeline.storage.store import Store

_PRESENT = timedelta(days=1)
"""A record dated earlier was made then: its date stays."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One row of `models`, its JSON columns read."""

    model_id: str
    kind: str
    """`quality_classifier`, `video_tokenizer`, `world_model`, `world_evaluation` or `playable_world`."""
    path: str
    """Key of the folder that holds its blobs."""
    config: Mapping[str, Any]
    """Settings that it was made with."""
    metrics: Mapping[str, Any]
    """What was measured (column `figures`)."""
    inputs: Mapping[str, Any]
    """What it was made from, e.g. the ids of other models."""
    parameters: int | None = None
    steps: int | None = None
    """Training steps."""
    shards_version: str | None = None
    created_at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Name of a file in the folder -> its SHA-256; `append_model` fills it. Empty in rows of older versions."""


def all_models(store: Store) -> list[ModelRecord]:
    """Return all records, the oldest first."""
    return _records(store, None)


def sound_models(store: Store) -> tuple[list[ModelRecord], dict[str, str]]:
    """Return all records that can be read, and the ids of the others with the reason."""
    records, odd = [], {}
    for row in store.read("models").to_pylist():
        try:
            records.append(_record(row))
        except DamagedError as exc:
            odd[str(row["model_id"])] = str(exc)
    return records, odd


def models_of_kind(store: Store, kind: str) -> list[ModelRecord]:
    """Return the records of a kind, the oldest first."""
    return _records(store, pc.field("kind") == kind)


def newest_model(store: Store, kind: str) -> ModelRecord | None:
    """Return the newest record of a kind; None without one."""
    return next(reversed(models_of_kind(store, kind)), None)


def find_model(store: Store, kind: str, model_id: str) -> ModelRecord | None:
    """Return the record of a kind with this id; None without one."""
    return next((record for record in models_of_kind(store, kind) if record.model_id == model_id), None)


def append_model(store: Store, record: ModelRecord) -> None:
    """Append a record to the table, with the hashes of its files, which are read back for it.

    Write its files first: a row must not name files that are not there. A record of the present moment becomes the
    newest of all, also where the clock was set back.
    """
    store.append("models", [_row(_dated_last(store, _with_files(store, record)))])


def replace_model(store: Store, record: ModelRecord) -> None:
    """Write a record in place of the one with its id, or append it where there is none; dated as `append_model` does.

    One that keeps the date of the record before keeps its place among the others.
    """
    before = store.latest("models", "created_at", pc.field("model_id") == record.model_id)
    dated = record if before == record.created_at else _dated_last(store, record)
    store.merge("models", [_row(_with_files(store, dated))], on=["model_id"])


def forget_files(store: Store, record: ModelRecord, names: Collection[str]) -> None:
    """Take the hashes of files out of a record's row, before they are changed or deleted.

    A writer that is killed in between leaves a row without them (`files_without_hash`), and never one with wrong ones.
    """
    files = {name: digest for name, digest in record.files.items() if name not in names}
    store.merge("models", [_row(dataclasses.replace(record, files=files))], on=["model_id"])


def files_without_hash(store: Store, record: ModelRecord) -> list[str]:
    """Return the files of a model of which its row has no hash; none for a row of an older version, without any."""
    return sorted(set(_file_names(store, record)) - record.files.keys()) if record.files else []


def read_model_file(store: Store, record: ModelRecord, name: str) -> bytes:
    """Return the bytes of a file of a model, compared with the hash in its row.

    Raises:
        DamagedError: it is not the file that was published, or not there although the row has its hash.
        FileNotFoundError: there is none, and the row (of an older version) has no hash of it.
    """
    known, key = record.files.get(name), f"{record.path}/{name}"
    try:
        data = store.read_blob(key)
    except FileNotFoundError:
        if known is None:
            raise
        raise _damaged(record, key, "is not there") from None
    if known is not None and hashlib.sha256(data).hexdigest() != known:
        raise _damaged(record, key, f"is not the file that was published (its {len(data)} bytes give another SHA-256)")
    return data


def check_model_file(store: Store, record: ModelRecord, name: str) -> None:
    """Compare a file of a model with the hash in its row, without loading it; DamagedError where it is another."""
    known, key = record.files.get(name), f"{record.path}/{name}"
    if known is None:
        return
    if not store.exists(key):
        raise _damaged(record, key, "is not there")
    if store.sha256(key) != known:
        raise _damaged(record, key, "is not the file that was published (another SHA-256)")


def _dated_last(store: Store, record: ModelRecord) -> ModelRecord:
    if datetime.now(UTC) - record.created_at > _PRESENT:
        return record
    return dataclasses.replace(record, created_at=moment_after(store.latest("models", "created_at"), record.created_at))


def _damaged(record: ModelRecord, key: str, why: str) -> DamagedError:
    return DamagedError(f"{key} of {record.kind} {record.model_id} {why}. To go on, {ADVICE}.")


def _with_files(store: Store, record: ModelRecord) -> ModelRecord:
    """Return a record with the hashes of the files in its folder, checkpoints and unfinished writes left out."""
    if not record.path:
        return record
    folder = record.path.rstrip("/")
    files = {name: store.sha256(f"{folder}/{name}") for name in _file_names(store, record)}
    return dataclasses.replace(record, files=files)


def _file_names(store: Store, record: ModelRecord) -> list[str]:
    if not record.path:
        return []
    folder = record.path.rstrip("/") + "/"
    names = [key.removeprefix(folder) for key in store.list_blobs(record.path)]
    return [name for name in names if "/" not in name and not name.startswith(".tmp-")]


def _records(store: Store, where: Any) -> list[ModelRecord]:
    rows = store.read("models", where=where).to_pylist()
    return sorted(map(_record, rows), key=lambda record: (record.created_at, record.model_id))


def _object_in(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    """Return the JSON object in a column; DamagedError names the row where it is none."""
    try:
        found = json.loads(row[column] or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DamagedError(
            f"table 'models', row {row['model_id']!r}: its column {column!r} is no JSON object. To go on, {ADVICE}."
        )
    return found


def _record(row: dict[str, Any]) -> ModelRecord:
    if row["created_at"] is None:
        raise DamagedError(f"table 'models', row {row['model_id']!r} has no date. To go on, {ADVICE}.")
    config, metrics, inputs, files = (_object_in(row, name) for name in ("config", "figures", "inputs", "files"))
    return ModelRecord(
        model_id=row["model_id"],
        kind=row["kind"],
        path=row["path"] or "",
        config=config,
        metrics=metrics,
        inputs=inputs,
        parameters=row["parameters"],
        steps=row["steps"],
        shards_version=row["shards_version"],
        created_at=row["created_at"],
        files=files,
    )


def _row(record: ModelRecord) -> dict[str, Any]:
    return {
        "model_id": record.model_id,
        "kind": record.kind,
        "path": record.path,
        "parameters": record.parameters,
        "steps": record.steps,
        "config": json.dumps(record.config, sort_keys=True),
        "figures": json.dumps(record.metrics, sort_keys=True),
        "inputs": json.dumps(record.inputs, sort_keys=True),
        "shards_version": record.shards_version,
        "created_at": record.created_at,
        "files": json.dumps(record.files, sort_keys=True),
    }
