"""Why is this video, or this clip, where it is? Everything that the store knows of one id, in the order it happened.

    print(format_why(why(store, config, "youtube-dQw4w9WgXcQ")))

An id may be a video's id, a clip's id, a URL, a source's own id, or a file's name.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.download.ledger import download_states
from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.inspect.why_text import format_why
from pipeline.label_events import find_videos, load_labels
from pipeline.shards.plan import plan_shards
from pipeline.shards.read import current_shards
from pipeline.storage.arrow import pc, rows_with, texts
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

__all__ = ["format_why", "why"]

_MOST_CLOSE, _MOST_COMPARED = 5, 20_000
_CLIP_COLUMNS = [
    "clip_id", "video_id", "batch", "clip_spec", "start_ms", "end_ms", "tar", "offset", "size", "sha256", "num_frames",
    "black_share", "still_share", "letterbox_share", "num_cuts", "overlay_share", "motion", "flags",
]  # fmt: skip


def why(store: Store, config: Config, id: str) -> dict[str, Any]:
    """Return everything known of a video or a clip as one JSON-able object.

    Args:
        store: the store.
        config: says which clip_spec is the current one.
        id: a video's id, a clip's id, a URL, a native id, or a file name.

    Raises:
        UserError: nothing goes by that name (the message says what comes close), or several videos do.
    """
    name = id.strip()
    clip = _clip(store, name)
    if clip is not None:
        return {
            "kind": "clip",
            "id": name,
            **_of_clip(store, config, clip),
            **_of_video(store, config, clip["video_id"]),
        }
    found = sorted(find_videos(store, [name]).get(name, ()))
    if not found:
        raise UserError(_unknown(store, name))
    if len(found) > 1:
        raise UserError(f"{name!r} names {len(found)} videos; say which: {', '.join(found[:_MOST_CLOSE])}")
    return {"kind": "video", "id": found[0], **_of_video(store, config, found[0]), **_clips_of(store, config, found[0])}


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
        if row["target"] == (video_id if row["kind"] == "video" else channel) and row["target"] is not None
    ]
    return {
        "video": video,
        "taken_down": gone.hides(video_id, channel),
        "takedowns": tombstones,
        "download": None if state is None else {"state": state.state, "attempts": state.attempts, "path": state.path},
        "attempts": attempts,
        "cuts": [
            {**row, "current": row["clip_spec"] == clip_spec(config.clips)} for row in _rows(store, "clippings", mine)
        ],
    }


def _clips_of(store: Store, config: Config, video_id: str) -> dict[str, Any]:
    """Return what became of a video's clips, a line each."""
    mine = (pc.field("video_id") == video_id) & (pc.field("clip_spec") == clip_spec(config.clips))
    clips = _rows(store, "clips", mine, ["clip_id", "start_ms", "end_ms", "flags"])
    decided = {row["clip_id"]: row for row in _rows(store, "curated", pc.field("video_id") == video_id)}
    held = _shards_of(store, config, [clip["clip_id"] for clip in clips])
    found = []
    for clip in sorted(clips, key=lambda row: row["start_ms"]):
        decision = decided.get(clip["clip_id"], {})
        kept = {name: decision.get(name) for name in ("decision", "reason", "probability", "rating", "split")}
        found.append({**clip, **kept, "shard": held.get(clip["clip_id"])})
    return {"clips": found, "models": _models_that_saw(store, held.values())}


# -- a clip -------------------------------------------------------------------------------------------------------


def _clip(store: Store, name: str) -> dict[str, Any] | None:
    try:
        split_clip_id(name)
    except ValueError:
        return None
    rows = _rows(store, "clips", pc.field("clip_id") == name, _CLIP_COLUMNS)
    return rows[0] if rows else None


def _of_clip(store: Store, config: Config, clip: Mapping[str, Any]) -> dict[str, Any]:
    clip_id = clip["clip_id"]
    mine = pc.field("clip_id") == clip_id
    group = _rows(store, "duplicates", mine)
    members = []
    if group and group[0]["group_size"] > 1:
        same = pc.field("representative") == group[0]["representative"]
        members = sorted(row["clip_id"] for row in _rows(store, "duplicates", same, ["clip_id"]))
    decisions = _rows(store, "curated", mine)
    held = _shards_of(store, config, [clip_id])
    events = _rows(store, "labels", mine)
    return {
        "clip": {**clip, "current": clip["clip_spec"] == clip_spec(config.clips)},
        "duplicates": {**group[0], "members": members} if group else None,
        "labels": sorted(events, key=lambda row: (row["labelled_at"] or "", row["event_id"])),
        "rating": load_labels(store, config).ratings.get(clip_id) if events else None,
        "scores": _rows(store, "scores", mine),
        "decision": decisions[0] if decisions else None,
        "shard": held.get(clip_id),
        "models": _models_that_saw(store, held.values()),
    }


def _shards_of(store: Store, config: Config, clip_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the shard that holds each clip; nothing where the set is not what is decided now.

    No list says which tar holds which clip: the plan of the set does, and its version tells whether it still applies.
    """
    version, wanted = current_shards(store), set(clip_ids)
    if version is None or not wanted:
        return {}
    try:
        plan = plan_shards(store, config)
    except UserError:
        return {}
    if plan.version != version:
        return {}
    placed: Counter[str] = Counter()
    found = {}
    for clip_id, split in zip(*(plan.clips[name].to_pylist() for name in ("clip_id", "split")), strict=True):
        if clip_id in wanted:
            path = f"shards/{version}/{split}/clips-{placed[split] // config.shards.samples_per_shard:06d}.tar"
            found[clip_id] = {"version": version, "split": split, "path": path}
        placed[split] += 1
    return found


def _models_that_saw(store: Store, shards: Collection[Mapping[str, Any]]) -> list[dict[str, Any]]:
    versions = {shard["version"] for shard in shards}
    rows = rows_with(store.read("models", ["model_id", "kind", "shards_version"]), "shards_version", texts(versions))
    splits = {shard["split"] for shard in shards}
    # trainings see the train shards, evaluations the held-out ones
    seen = [row for row in rows.to_pylist() if ("val" if row["kind"] == "world_evaluation" else "train") in splits]
    return sorted(seen, key=lambda row: (row["kind"], row["model_id"]))


# -- names --------------------------------------------------------------------------------------------------------


def _unknown(store: Store, name: str) -> str:
    ids = store.read("videos", ["video_id", "native_id", "url", "title"])
    if not len(ids):
        return f"nothing is known of {name!r}: {store.root} holds no video yet"
    close: list[str] = []
    try:
        video_id = split_clip_id(name)[0]
        mine = pc.field("video_id") == video_id
        close = sorted(row["clip_id"] for row in _rows(store, "clips", mine, ["clip_id"]))
    except ValueError:
        video_id = name
    if len(video_id) >= 3:
        for column in ("video_id", "native_id", "url", "title"):
            hit = pc.match_substring(ids[column], video_id, ignore_case=True)
            close += map(str, ids.filter(hit)["video_id"].slice(0, _MOST_CLOSE).to_pylist())
    if not close:
        some = ids.slice(0, _MOST_COMPARED).to_pylist()
        named = {str(row["video_id"]): row["video_id"] for row in some}
        titled = {str(row["title"]): row["video_id"] for row in some}
        close = [named[text] for text in difflib.get_close_matches(video_id, named, n=_MOST_CLOSE, cutoff=0.5)]
        close += [titled[text] for text in difflib.get_close_matches(name, titled, n=2, cutoff=0.6)]
    shown = list(dict.fromkeys(close))[:_MOST_CLOSE]
    hint = f"close: {', '.join(shown)}" if shown else "ids are listed by `lampworks export FILE.parquet`"
    return f"nothing is known of {name!r} in {store.root}; {hint}"


def _rows(store: Store, table: str, where: Any = None, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Return rows as JSON-able dicts: times as ISO text, bytes left out."""
    found = store.read(table, columns, where).to_pylist()
    return [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
            if not isinstance(value, bytes)
        }
        for row in found
    ]
