"""Plan the training set from the tables alone: its clips, their order and its version.

There is no plan for what must not be published: no clips, no clip in train or in val, a source or a group of
near-duplicates in two splits.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.actions import has_actions
from pipeline.clips.read import scan_clips
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.outside import shown_url
from pipeline.shards.contents import Contents
from pipeline.shards.leaks import SplitsInUse
from pipeline.shards.splits import SPLITS
from pipeline.storage.arrow import counts, in_parts, of_batches, pc, rows_with, rows_without, unique
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_PART_ROWS = 1 << 17
_VERSION_ROWS = 1 << 18
FORMAT = 3
"""Raise it when a change here or in `pipeline.shards.tars` changes a byte of the tars."""
_ABOUT_CLIP = ["clip_id", "video_id", "start_ms", "end_ms", "sha256", "num_frames", "fps", "cut_ms"]
_KEPT_COLUMNS = ["clip_id", "video_id", "split", "probability"]
_VIDEO_COLUMNS = ["video_id", "extractor", "channel_id", "url", "title"]
_CLIP_COLUMNS = [*_ABOUT_CLIP, "tar", "offset", "size", "actions"]


@dataclass(frozen=True)
class Plan:
    """The clips of the set in the order of their tars, one row each."""

    clips: pa.Table
    version: str
    kept_sha256: str
    spec: str
    contents: dict[str, Any]
    """What `Contents.told` says of its clips. Recorded beside the inputs of the set, it tells later whether inputs that
    have changed are another set."""


def shard_inputs(store: Store, config: Config) -> dict[str, Any]:
    """Return what the set is made from; while it does not change, the set does not either."""
    tables = ("curated", "clips", "clippings", "duplicates", "videos", "takedowns")
    settings = {"samples_per_shard": config.shards.samples_per_shard, "seed": config.shards.seed, "format": FORMAT}
    return {
        "settings": settings,
        "clip_spec": clip_spec(config.clips),
        "tables": {name: store.version(name) for name in tables},
    }


_ADVICE = {
    "classifier": "set decision.keep_rate to keep the best-scored share (0.124 in the paper), look in "
    "`lampworks status` at what drops the others",
    "flags": "with decision.mode = flags hard rules alone decide. Look in `lampworks status` at which ones drop the "
    "clips, and take a flag out of decision.drop_flags or lower decision.min_usable_share; set decision.middle = keep "
    "where clips wait for review",
    "recipe": "with decision.mode = recipe what the recipe of source.spec lists is kept, and no clip here is in it. "
    "Set decision.mode = classifier or flags",
}
"""What to do where no clip is kept, by `decision.mode`."""


def plan_shards(store: Store, config: Config) -> Plan:
    """Return the set that follows from the present decision, clips and takedowns; UserError says why there is none."""
    kept = _kept(store, config)
    clips = _kept_clips(store, config, kept)
    videos = _videos(store, clips["video_id"].unique())
    clips = _described(kept.take(_order(kept, config.shards.seed)), clips, videos)
    _check(store, config, clips, videos)
    digest, contents = _begun_digest(store, config), Contents()
    for row in _rows(clips):
        digest.update(told := _digested(row))
        contents.add(told)
    kept_digest = hashlib.sha256()
    for row in _rows(kept.select(["clip_id", "split"])):
        kept_digest.update(f"{row['clip_id']} {row['split']}\n".encode())
    return Plan(clips, digest.hexdigest()[:12], kept_digest.hexdigest(), clip_spec(config.clips), contents.told())


def planned_version(store: Store, config: Config) -> str:
    """Return the version of the plan without the plan, of which a part is in memory at a time; errors as of the plan.

    Each part reads through the table of clips once.
    """
    kept = _kept(store, config)
    videos = _videos(store, kept["video_id"].unique())
    _check(store, config, kept, videos)
    ordered = kept.take(_order(kept, config.shards.seed))
    del kept
    digest = _begun_digest(store, config)
    for start in range(0, len(ordered), _VERSION_ROWS):
        part = ordered.slice(start, _VERSION_ROWS)
        for row in _rows(_described(part, _kept_clips(store, config, part), videos)):
            digest.update(_digested(row))
    return digest.hexdigest()[:12]


def planned_contents(store: Store, config: Config) -> dict[str, Any] | None:
    """Return what `Plan.contents` would be, read in parts of whole batches; errors as of the plan.

    It follows from the clips of the plan whatever their order, so that none of them is held beyond its part.
    None where a row names no batch, or its video is of another one, as older versions wrote them.
    """
    kept, sizes = pc.field("decision") == "keep", Counter[str | None]()
    for names in store.scan("curated", ["batch"], kept):
        for pair in pc.value_counts(names.column("batch")).to_pylist():
            sizes[pair["values"]] += pair["counts"]
    if None in sizes or not sizes:
        return None
    contents, splits = Contents(), SplitsInUse(store)
    for batches in _groups({str(name): count for name, count in sizes.items()}):
        mine = of_batches(batches)
        rows = _shown(store, store.read("curated", _KEPT_COLUMNS, kept & mine))
        videos = store.read("videos", _VIDEO_COLUMNS, mine)
        if len(rows_without(rows, "video_id", videos["video_id"].combine_chunks())):
            return None
        # groups of duplicates lie in several batches: each part says in which splits its own clips are
        splits.add(rows, videos, mine)
        for row in _rows(_described(rows, _kept_clips(store, config, rows, batches), videos)):
            contents.add(_digested(row))
    splits.check(config)
    return contents.told()


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield batches in order, as many at a time as hold `_PART_ROWS` clips, and one at least."""
    group: list[str] = []
    size = 0
    for batch in sorted(sizes):
        if group and size + sizes[batch] > _PART_ROWS:
            yield group
            group, size = [], 0
        group.append(batch)
        size += sizes[batch]
    yield group


def _check(store: Store, config: Config, kept: pa.Table, videos: pa.Table) -> None:
    """Raise where train or val is empty, or a source or a group of near-duplicates lies in two splits."""
    splits = SplitsInUse(store)
    splits.add(kept, videos)
    splits.check(config)


def _begun_digest(store: Store, config: Config) -> hashlib._Hash:
    return hashlib.sha256(json.dumps(shard_inputs(store, config)["settings"], sort_keys=True).encode())


def _digested(row: Mapping[str, Any]) -> bytes:
    """Return what the version depends on of a clip."""
    about = f"{row['split']} {row['clip_id']} {row['sha256']} ".encode() + sidecar(row)
    # a set without them keeps its version
    return about + (row["actions"].encode() if has_actions(row["actions"]) else b"")


def _described(kept: pa.Table, clips: pa.Table, videos: pa.Table) -> pa.Table:
    """Return kept clips in their order, with what the tables of clips and videos say of each."""
    place = pc.index_in(kept["clip_id"], value_set=clips["clip_id"].combine_chunks())
    if place.null_count:
        raise UserError(
            f"{place.null_count} of {len(kept)} kept clips are not among the clips any more (cut again, or under "
            "other settings): decide again (asset curated_clips) before writing shards."
        )
    clips = clips.take(place)
    of_video = pc.index_in(clips["video_id"], value_set=videos["video_id"].combine_chunks())
    more = {name: kept[name] for name in ("split", "probability")}
    more |= {name: videos[name].take(of_video) for name in ("url", "title")}
    for name, column in more.items():
        clips = clips.append_column(name, column)
    return clips


def _kept(store: Store, config: Config) -> pa.Table:
    """Return clip_id, video_id, split and probability of the clips that are kept and not taken down, by clip_id."""
    kept = _shown(store, store.read("curated", _KEPT_COLUMNS, pc.field("decision") == "keep"))
    if not len(kept):
        found = counts(store.read("curated", ["decision"])["decision"])
        if not found:
            raise UserError("nothing is decided yet: run the decision (asset curated_clips) before writing shards.")
        told = ", ".join(f"{count} {name}" for name, count in found.items())
        raise UserError(f"no clip is kept ({told}): {_ADVICE[config.decision.mode]}, or add videos.")
    return kept.sort_by("clip_id")


def _shown(store: Store, kept: pa.Table) -> pa.Table:
    return rows_without(kept, "video_id", taken_down(store).hidden_among(store, unique(kept["video_id"])))


def _kept_clips(store: Store, config: Config, kept: pa.Table, batches: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of `clips` that are kept, with `_CLIP_COLUMNS`, in no order; with `batches`, of these alone."""
    schema = pa.schema([SCHEMAS["clips"].field(name) for name in _CLIP_COLUMNS])
    ids = kept["clip_id"].combine_chunks()
    found = scan_clips(store, config, _CLIP_COLUMNS, batch=batches)
    scanned = (batch for part in found for batch in part.to_batches())
    parts = [part.filter(pc.is_in(part["clip_id"], value_set=ids)) for part in in_parts(scanned, _PART_ROWS)]
    return pa.concat_tables([schema.empty_table(), *parts])


def _videos(store: Store, video_ids: Any) -> pa.Table:
    """Return the rows of `videos` of these ids, in no order."""
    schema = pa.schema([SCHEMAS["videos"].field(name) for name in _VIDEO_COLUMNS])
    scanned = in_parts(store.scan("videos", _VIDEO_COLUMNS), _PART_ROWS)
    parts = [rows_with(part, "video_id", video_ids) for part in scanned]
    return pa.concat_tables([schema.empty_table(), *parts])


def _order(clips: pa.Table, seed: int) -> Any:
    """Return the order of the clips: by split, within it by a seeded hash, so that a shard mixes sources."""
    ranks = (
        int.from_bytes(hashlib.blake2b(f"{seed} {row['clip_id']}".encode(), digest_size=8).digest(), "big")
        for row in _rows(clips.select(["clip_id"]))
    )
    split = pc.index_in(clips["split"], value_set=pa.array(SPLITS, pa.string())).to_numpy()
    return pa.array(np.lexsort((np.fromiter(ranks, np.uint64, len(clips)), split)), pa.int64())


def _rows(clips: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in clips.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def sidecar(row: Mapping[str, Any]) -> bytes:
    """Return the JSON of a sample: what `origin` says of it."""
    return json.dumps(origin(row), sort_keys=True).encode()


def origin(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the set says of a clip of the plan: its video, its span, its frames and cuts, its mp4's hash.

    The address is without what may be secret in it.
    """
    source = None if row["url"] is None else shown_url(row["url"])
    return {"source": source} | {name: row[name] for name in (*_ABOUT_CLIP, "title", "probability")}
