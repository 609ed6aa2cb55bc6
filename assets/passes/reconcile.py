"""Report to a fresh Dagster home what the store already holds: the store is the truth, Dagster's record can be lost.

Registers every batch as a partition and reports each asset that has its data as materialized, once: what the home
knows already with the same data version is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from assets.graph.partitions import register_batches
from assets.passes.due import is_due
from assets.passes.due_batches import unembedded_batches, unscored_batches
from assets.passes.instance import open_instance, sweep_killed_runs
from assets.settings import Settings, save_config
from pipeline.config import fingerprint
from pipeline.inspect.audit_text import read_audit
from pipeline.model_choice import models_in_use
from pipeline.model_ids import PLAYABLE
from pipeline.storage.models_table import newest_model

# asset -> the table that holds it
_TABLES = {
    "search_results": "videos",
    "near_duplicates": "duplicates",
    "quality_labels": "labels",
}
_BATCH_TABLES = {
    "raw_videos": ("downloads", "video_id"),
    "clips": ("clippings", "video_id"),
    "clip_embeddings": ("embeddings", "clip_id"),
    "clip_scores": ("scores", "clip_id"),
}


@dataclass(frozen=True)
class Reconciled:
    """What a reconciliation reported to the Dagster home."""

    batches: list[str]
    """Batches that were not registered."""
    reported: dict[str, int]
    """Materializations reported per asset."""


def reconcile(settings: Settings) -> Reconciled:
    """Register the store's batches and report its data as materialized in the root's Dagster home."""
    with open_instance(settings.home) as instance:
        save_config(settings)
        sweep_killed_runs(instance)
        batches = register_batches(instance, settings.store)
        reported: Counter[str] = Counter()
        for asset, batch, version, rows in _materialized(settings):
            key = dg.AssetKey(asset)
            known = instance.get_latest_data_version_record(key, partition_key=batch)
            if known is not None and _version(known) == version:
                continue
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    key,
                    partition=batch,
                    description="reported by `lampworks reconcile`: found in the store",
                    metadata={"dagster/row_count": rows},
                    tags={DATA_VERSION_TAG: version},
                )
            )
            reported[asset] += 1
    return Reconciled(batches, dict(reported))


def _version(record: Any) -> str | None:
    event = record.asset_materialization
    return (event.tags or {}).get(DATA_VERSION_TAG) if event is not None else None


def _materialized(settings: Settings) -> Iterator[tuple[str, str | None, str, int]]:
    """Yield (asset, batch, data version, rows) of everything the store holds."""
    store = settings.store
    for asset, table in _TABLES.items():
        version = store.version(table)
        if version >= 0:
            yield asset, None, str(version), _rows(settings, table)
    from classifier.audit.audit import content_of_audit
    from classifier.decision.content import decided_content

    decision, audit = decided_content(store), read_audit(store)
    if decision is not None:
        yield "curated_clips", None, decision, _rows(settings, "curated")
    if audit is not None:
        yield "curation_audit", None, content_of_audit(audit), sum(audit["audit"]["drawn"].values())
    unscored = set(unscored_batches(settings)) if newest_model(store, "quality_classifier") else set()
    unembedded = set(unembedded_batches(settings))
    missing = {"clip_scores": unscored, "clip_embeddings": unembedded}
    for asset, batch, digest, count in _by_batch(settings):
        if batch not in missing.get(asset, ()):
            yield asset, batch, digest, count
    if not is_due("label_queue", settings):
        yield "label_queue", None, "queue", 1
    shards = store.read("shards", ["version", "samples"]).to_pylist()
    for name in sorted({row["version"] for row in shards}):
        yield "training_shards", None, name, sum(row["samples"] for row in shards if row["version"] == name)
    tokens = store.read("tokens", ["version", "clips"]).to_pylist()
    for name in sorted({row["version"] for row in tokens}):
        yield "token_shards", None, name, sum(row["clips"] for row in tokens if row["version"] == name)
    for kind, model in models_in_use(store, settings.config).by_kind().items():
        # what `playable_world` materializes is the world that was tried
        yield kind, None, str(model.inputs["world_model"]) if kind == PLAYABLE else model.model_id, 1


def _rows(settings: Settings, table: str) -> int:
    first = {"videos": "video_id", "labels": "event_id"}.get(table, "clip_id")
    return sum(len(rows) for rows in settings.store.scan(table, [first]))


def _by_batch(settings: Settings) -> Iterator[tuple[str, str, str, int]]:
    for asset, (table, column) in _BATCH_TABLES.items():
        ids: dict[str, set[str]] = {}
        for row in settings.store.read(table, ["batch", column]).to_pylist():
            ids.setdefault(str(row["batch"]), set()).add(str(row[column]))
        for batch, names in sorted(ids.items()):
            yield asset, batch, fingerprint("reconciled", sorted(names)), len(names)
