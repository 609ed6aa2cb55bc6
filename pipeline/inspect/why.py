"""Collect everything that the store knows of one video, clip or channel, in the order in which it happened.

print(format_why(why(store, config, "youtube-dQw4w9WgXcQ")))
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.download.ledger import download_states
from pipeline.inspect.find_id import find_id
from pipeline.label_events import load_labels
from pipeline.label_pictures import of_earlier_pictures
from pipeline.shards.read import current_shards, find_samples
from pipeline.storage.arrow import pc, rows_with, texts
from pipeline.storage.store import Store
from pipeline.storage.takedown import stands_for, taken_down

_CLIP_COLUMNS = [
    "clip_id", "video_id", "batch", "clip_spec", "start_ms", "end_ms", "tar", "offset", "size", "sha256", "num_frames",
    "transfer", "changes", "black_share", "still_share", "letterbox_share", "num_cuts", "cut_ms", "longest_shot_share",
    "overlay_share", "motion", "flags",
]  # fmt: skip


def why(store: Store, config: Config, name: str) -> dict[str, Any]:
    """Return everything known of a video, a clip or a channel as one object for JSON.

    Args:
        store: the store.
        config: its clip settings say which clip_spec is current.
        name: a video id or a clip id, the start of either if it is unique, a URL, a native id, or a file name; or a
            channel's id, URL or name.

    Raises:
        NotInItError: nothing has that name (the message lists similar ones).
        UserError: several have that name (it lists them).
    """
    found = find_id(store, name.strip())
    if found.kind == "channel":
        return {"kind": "channel", "id": found.id, **_of_channel(store, config, found.id)}
    if found.kind == "video":
        of_video = _of_video(store, config, found.id)
        return {"kind": "video", "id": found.id, **of_video, **_clips_of(store, config, found.id)}
    (clip,) = _rows(store, "clips", pc.field("clip_id") == found.id, _CLIP_COLUMNS)
    of_video = _of_video(store, config, clip["video_id"])
    return {"kind": "clip", "id": found.id, **_of_clip(store, config, clip), **of_video}


# -- a video ------------------------------------------------------------------------------------------------------


def _of_video(store: Store, config: Config, video_id: str) -> dict[str, Any]:
    mine = pc.field("video_id") == video_id
    videos = _rows(store, "videos", mine)
    video = videos[0] if videos else None
    attempts = sorted(_rows(store, "downloads", mine), key=lambda row: (row["finished_at"] or "", row["attempt_id"]))
    state = download_states(store, video["batch"]).get(video_id) if video and video["batch"] else None
    gone = taken_down(store)
    channel = video["channel_id"] if video else None
    tombstones = [
        row
        for row in _rows(store, "takedowns")
        if stands_for(row, "video", video_id) or stands_for(row, "channel", channel)
    ]
    return {
        "video": video,
        "taken_down": gone.hides(video_id, channel),
        "takedowns": tombstones,
        "download": None
        if state is None
        else {
            "state": state.state,
            "attempts": state.attempts,
            "path": state.path,
            "earlier_file": state.earlier_file,
        },
        "attempts": attempts,
        "cuts": [
            {**row, "current": row["clip_spec"] == clip_spec(config.clips)} for row in _rows(store, "clippings", mine)
        ],
    }


def _clips_of(store: Store, config: Config, video_id: str) -> dict[str, Any]:
    """Return the decision and the shard of each clip of a video, and the models that were trained on them."""
    mine = (pc.field("video_id") == video_id) & (pc.field("clip_spec") == clip_spec(config.clips))
    clips = _rows(store, "clips", mine, ["clip_id", "start_ms", "end_ms", "flags"])
    decided = {row["clip_id"]: row for row in _rows(store, "curated", pc.field("video_id") == video_id)}
    held = _shards_of(store, [clip["clip_id"] for clip in clips])
    found = []
    for clip in sorted(clips, key=lambda row: row["start_ms"]):
        decision = decided.get(clip["clip_id"], {})
        kept = {name: decision.get(name) for name in ("decision", "reason", "probability", "rating", "split")}
        found.append({**clip, **kept, "shard": held.get(clip["clip_id"])})
    return {"clips": found, "models": _models_that_saw(store, held.values())}


# -- a clip -------------------------------------------------------------------------------------------------------


def _of_clip(store: Store, config: Config, clip: Mapping[str, Any]) -> dict[str, Any]:
    clip_id = clip["clip_id"]
    mine = pc.field("clip_id") == clip_id
    group = _rows(store, "duplicates", mine)
    members = []
    if group and group[0]["group_size"] > 1:
        same = pc.field("representative") == group[0]["representative"]
        members = sorted(row["clip_id"] for row in _rows(store, "duplicates", same, ["clip_id"]))
    decisions = _rows(store, "curated", mine)
    held = _shards_of(store, [clip_id])
    events = _rows(store, "labels", mine)
    earlier = of_earlier_pictures(store, store.read("labels", where=mine).to_pylist())
    return {
        "clip": {**clip, "current": clip["clip_spec"] == clip_spec(config.clips)},
        "duplicates": {**group[0], "members": members} if group else None,
        "labels": [
            {**row, "of_earlier_picture": row["event_id"] in earlier}
            for row in sorted(events, key=lambda row: (row["labelled_at"] or "", row["event_id"]))
        ],
        "replaced": sorted(_rows(store, "replaced", mine), key=lambda row: str(row["replaced_at"])),
        "rating": load_labels(store, config).ratings.get(clip_id) if events else None,
        "embeddings": _rows(store, "embeddings", mine, ["encoder", "error_class", "message"]),
        "scores": _rows(store, "scores", mine),
        "decision": decisions[0] if decisions else None,
        "shard": held.get(clip_id),
        "models": _models_that_saw(store, held.values()),
    }


def _shards_of(store: Store, clip_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return where each clip lies in the published set; those that are not in it are left out."""
    version = current_shards(store)
    if version is None or not clip_ids:
        return {}
    found = find_samples(store, version, clip_ids)
    return {clip_id: {"version": version, "split": row["split"], "path": row["path"]} for clip_id, row in found.items()}


def _of_channel(store: Store, config: Config, channel_id: str) -> dict[str, Any]:
    """Return each video of a channel with its counts, and the models that were trained or evaluated on one."""
    columns = ["video_id", "title", "channel", "verdict", "rule"]
    videos = _rows(store, "videos", pc.field("channel_id") == channel_id, columns)
    models: dict[str, dict[str, Any]] = {}
    for video in videos:
        found = _clips_of(store, config, video["video_id"])
        video["clips"] = len(found["clips"])
        video["kept"] = sum(clip["decision"] == "keep" for clip in found["clips"])
        video["in_shards"] = sum(clip["shard"] is not None for clip in found["clips"])
        models |= {model["model_id"]: model for model in found["models"]}
    return {"videos": videos, "models": list(models.values())}


def _models_that_saw(store: Store, shards: Collection[Mapping[str, Any]]) -> list[dict[str, Any]]:
    versions = {shard["version"] for shard in shards}
    rows = rows_with(store.read("models", ["model_id", "kind", "shards_version"]), "shards_version", texts(versions))
    splits = {shard["split"] for shard in shards}
    # trainings see the train shards, evaluations the held-out ones
    seen = [row for row in rows.to_pylist() if ("val" if row["kind"] == "world_evaluation" else "train") in splits]
    return sorted(seen, key=lambda row: (row["kind"], row["model_id"]))


def _rows(store: Store, table: str, where: Any = None, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Return rows as dicts for JSON: times as ISO text, columns of bytes left out."""
    found = store.read(table, columns, where).to_pylist()
    return [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
            if not isinstance(value, bytes)
        }
        for row in found
    ]
