"""How a store stands: the funnel from found videos to the model's figures, and whether every sum holds.

    found = status(store, config)
    print(format_status(found))

The object is what `lampworks status --json` prints; `pipeline.inspect.conservation` checks its totals. Columns are
counted by Arrow as they are read, so that memory grows with the number of videos
and not with the clips.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.duplicates import duplicates_are_current
from pipeline.clips.read import scan_clips
from pipeline.config import Config
from pipeline.download.circuit_breaker import breakers
from pipeline.download.ledger import fold_attempts
from pipeline.inspect.conservation import violations
from pipeline.inspect.status_text import format_status
from pipeline.label_events import load_labels
from pipeline.shards.read import current_shards
from pipeline.shards.write import shards_are_current
from pipeline.storage.arrow import Column, counts, pc, rows_with, rows_without, texts, total
from pipeline.storage.models_table import ModelRecord, newest_models
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

__all__ = ["format_status", "status"]

_BATCH_ROWS = 1 << 20
# what differs from clip to clip is cut off, so that reasons can be counted
_REASONS = (
    (r"^duplicate of .*", "duplicate"),
    (r"^score [0-9.]+ ", "score "),
)


def status(store: Store, config: Config) -> dict[str, Any]:
    """Return the state of every stage as one JSON-able object.

    Args:
        store: the root to look at.
        config: says which `clip_spec` is the current one.
    """
    spec = clip_spec(config.clips)
    hidden = texts(taken_down(store).hidden_videos(store))
    videos = store.read("videos", ["video_id", "verdict", "rule", "licence"])
    attempts = fold_attempts(store)
    curated, decided = _curated(store, spec, hidden)
    clips, curated["undecided"] = _clips(store, config, attempts, hidden, decided)
    clips["duplicates"], clips["grouped"] = _duplicates(store, config, spec, hidden)
    newest = newest_models(store)
    result = {
        "root": store.root,
        "videos": _videos(store, videos),
        "downloads": _downloads(videos, attempts, hidden),
        "sites": _sites(store),
        "clips": clips,
        "labels": _labels(store, config),
        "curated": curated,
        "shards": _shards(store, config),
        "models": _models(store, newest, curated["model_version"]),
        "evaluation": _evaluation(newest),
        "evaluation_current": evaluation_is_current(newest),
        "deleted_rows": {name: rows for name in SCHEMAS if (rows := store.deleted_rows(name))},
    }
    broken = violations(result)
    return {**result, "conserved": not broken, "violations": broken}


# -- videos and downloads -----------------------------------------------------------------------------------------


def _videos(store: Store, videos: pa.Table) -> dict[str, Any]:
    """Count what the searches said they found against the rows that there are.

    A search that was killed between its two commits counted less than there is, which is no loss; a row that the
    searches counted and that is gone is one.
    """
    announced = total(store.read("searches", ["new"])["new"])
    return {
        "found": max(announced, len(videos)),
        "kept": len(kept := rows_with(videos, "verdict", "kept")),
        "licences": counts(pc.fill_null(kept["licence"], "unknown")),
        "rejected": counts(rows_without(videos, "verdict", "kept")["rule"]),
    }


def _downloads(videos: pa.Table, attempts: pa.Table, hidden: Column) -> dict[str, Any]:
    """Count attempts by what they left behind; the videos without one are pending too."""
    kept = rows_with(videos, "verdict", "kept")
    shown = rows_without(kept, "video_id", hidden)
    tried = rows_without(attempts, "video_id", hidden)
    states = counts(tried["state"])
    again = counts(rows_with(tried, "state", "pending")["error_class"])
    untried = len(rows_without(shown, "video_id", tried["video_id"]))
    return {
        "ok": states.get("ok", 0),
        "failed": counts(rows_with(tried, "state", "failed")["error_class"]),
        "rejected": counts(rows_with(tried, "state", "rejected")["error_class"]),
        "pending": states.get("pending", 0) + untried,
        "pending_by_class": {**({"new": untried} if untried else {}), **again},
        "taken_down": len(kept) - len(shown),
    }


def _sites(store: Store) -> dict[str, Any]:
    """Return the breaker of every site that ever refused, as of now."""
    now = datetime.now(UTC)
    return {
        site: {
            "state": breaker.state_at(now),
            "refusals": breaker.refusals,
            "error_class": breaker.error_class,
            "message": breaker.message,
            "changed_at": breaker.changed_at.isoformat(),
            "next_try_at": None if breaker.next_try_at is None else breaker.next_try_at.isoformat(),
        }
        for site, breaker in sorted(breakers(store).items())
    }


# -- clips --------------------------------------------------------------------------------------------------------

_CUT_COLUMNS = ["video_id", "state", "error_class", "num_clips", "source_ms", "clip_ms", "remainder_ms"]


def _clips(
    store: Store, config: Config, attempts: pa.Table, hidden: Column, decided: Column
) -> tuple[dict[str, Any], int]:
    """Return the figures of clips, and how many of them no decision was made on."""
    spec = clip_spec(config.clips)
    cuts = rows_without(store.read("clippings", _CUT_COLUMNS, pc.field("clip_spec") == spec), "video_id", hidden)
    good = rows_with(cuts, "state", "ok")
    fetched = rows_without(rows_with(attempts, "state", "ok"), "video_id", hidden)
    num_clips = clip_ms = undecided = 0
    flagged: Counter[str] = Counter()
    for rows in scan_clips(store, config, ["video_id", "start_ms", "end_ms", "flags"]):
        num_clips += len(rows)
        clip_ms += total(pc.subtract(rows["end_ms"], rows["start_ms"]))
        undecided += len(rows_without(rows, "video_id", decided))
        flagged.update(counts(pc.list_flatten(rows["flags"])))
    figures = {
        "clip_spec": spec,
        "total": num_clips,
        "announced": total(good["num_clips"]),
        "videos_cut": len(good),
        "videos_pending": len(rows_without(fetched, "video_id", cuts["video_id"])),
        "failed": counts(rows_without(cuts, "state", "ok")["error_class"]),
        "flagged": dict(sorted(flagged.items())),
        "source_seconds": total(good["source_ms"]) / 1000,
        "clip_seconds": clip_ms / 1000,
        "remainder_seconds": total(good["remainder_ms"]) / 1000,
    }
    return figures, undecided


def _duplicates(store: Store, config: Config, spec: str, hidden: Column) -> tuple[int, int | None]:
    """Return (copies beside a representative, clips that are in a group, or None while the groups are not current)."""
    copies = grouped = 0
    for batch in store.scan("duplicates", ["video_id", "clip_spec", "is_representative"], None, _BATCH_ROWS):
        rows = _of_spec(pa.Table.from_batches([batch]), spec, hidden)
        grouped += len(rows)
        copies += total(pc.invert(rows["is_representative"]))
    return copies, grouped if store.version("duplicates") >= 0 and duplicates_are_current(store, config) else None


def _of_spec(rows: pa.Table, spec: str, hidden: Column) -> pa.Table:
    return rows_without(rows_with(rows, "clip_spec", spec), "video_id", hidden)


# -- labels, decision, shards -------------------------------------------------------------------------------------


def _labels(store: Store, config: Config) -> dict[str, Any]:
    labels = load_labels(store, config)
    return {
        "total": len(labels.ratings),
        "by_rating": {str(rating): count for rating, count in labels.by_rating.items()},
        "unresolved": labels.unresolved,
        "annotators": dict(labels.annotators),
    }


def _curated(store: Store, spec: str, hidden: Column) -> tuple[dict[str, Any], Column]:
    """Return the figures of the decision, and the videos of which some clip was decided on."""
    decisions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    models: Counter[str] = Counter()
    videos: set[str] = set()
    columns = ["video_id", "clip_spec", "decision", "reason", "model_version"]
    for batch in store.scan("curated", columns, None, _BATCH_ROWS):
        rows = _of_spec(pa.Table.from_batches([batch]), spec, hidden)
        decisions.update(counts(rows["decision"]))
        models.update(counts(rows["model_version"]))
        videos.update(pc.unique(rows["video_id"]).to_pylist())
        reason = rows["reason"]
        for pattern, family in _REASONS:
            reason = pc.replace_substring_regex(reason, pattern, family)
        reasons.update(counts(pc.binary_join_element_wise(rows["decision"], reason, ": ")))
    model = min(models, key=lambda name: (-models[name], name), default="none")
    recorded = store.inputs("curated").get("decided_from", {}).get("tables", {})
    figures = {
        **{name: decisions.get(name, 0) for name in ("keep", "drop", "review")},
        "reasons": dict(sorted(reasons.items())),
        "model_version": None if model == "none" else model,
        "current": bool(recorded) and all(recorded[name] == store.version(name) for name in recorded),
    }
    return figures, texts(videos)


def _shards(store: Store, config: Config) -> dict[str, Any]:
    version = current_shards(store)
    result: dict[str, Any] = {"version": version, "current": False, "announced": None}
    rows = store.read("shards", ["split", "samples"], pc.field("version") == (version or "")).to_pylist()
    for split in ("train", "val"):
        own = [row["samples"] for row in rows if row["split"] == split]
        result[split] = {"shards": len(own), "samples": sum(own)}
    if version is None:
        return result
    manifest = json.loads(store.read_blob(f"shards/{version}/manifest.json"))
    result["announced"] = {split: _manifest_samples(manifest, split) for split in ("train", "val")}
    return {**result, "current": shards_are_current(store, config)}


def _manifest_samples(manifest: Mapping[str, Any], split: str) -> int:
    return sum(int(shard["samples"]) for shard in manifest["shards"] if shard["split"] == split)


# -- models -------------------------------------------------------------------------------------------------------


def _models(store: Store, newest: Mapping[str, ModelRecord], deciding: str | None) -> dict[str, Any]:
    known = set(store.read("models", ["model_id"])["model_id"].to_pylist())
    named = {model for record in newest.values() for model in _made_from(record.inputs)} | ({deciding} - {None})
    return {
        **{
            kind: {"model_id": record.model_id, "parameters": record.parameters, "steps": record.steps}
            for kind, record in sorted(newest.items())
            if kind != "world_evaluation"
        },
        "dangling": sorted(str(name) for name in named if name not in known),
    }


def _made_from(inputs: Mapping[str, Any]) -> list[str]:
    # the evaluation names its world, the world its tokenizer
    return [
        inputs[kind] for kind in ("world_model", "video_tokenizer", "tokenizer") if isinstance(inputs.get(kind), str)
    ]


def evaluation_is_current(newest: Mapping[str, ModelRecord]) -> bool:
    """Tell whether the newest evaluation is of the newest world; True where there is none to be of another."""
    evaluation, world = newest.get("world_evaluation"), newest.get("world_model")
    return evaluation is None or world is None or evaluation.inputs.get("world_model") == world.model_id


def _evaluation(newest: Mapping[str, ModelRecord]) -> dict[str, Any]:
    """Return the newest evaluation's figures, each {value, low, high}; {} without one."""
    record = newest.get("world_evaluation")
    metrics = record.metrics if record is not None else {}
    return {
        name: {end: figure.get(end) for end in ("value", "low", "high")}
        for name, figure in sorted(metrics.items())
        if isinstance(figure, dict) and "value" in figure
    }
