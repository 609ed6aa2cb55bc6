"""Read and write the rows of table `models`: one published model or evaluation each.

world = newest_model(store, "world_model")
world.metrics["codes_used"]
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.storage.arrow import pc
from pipeline.storage.store import Store


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


def all_models(store: Store) -> list[ModelRecord]:
    """Return all records, the oldest first."""
    return _records(store, None)


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
    """Append a record to the table. Write its blobs first: a row must not name files that are not there."""
    store.append("models", [_row(record)])


def replace_model(store: Store, record: ModelRecord) -> None:
    """Write a record in place of the one with its id, or append it where there is none."""
    store.merge("models", [_row(record)], on=["model_id"])


def _records(store: Store, where: Any) -> list[ModelRecord]:
    rows = store.read("models", where=where).to_pylist()
    return [_record(row) for row in sorted(rows, key=lambda row: (row["created_at"], row["model_id"]))]


def _record(row: dict[str, Any]) -> ModelRecord:
    config, metrics, inputs = (json.loads(row[name] or "{}") for name in ("config", "figures", "inputs"))
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
    }
