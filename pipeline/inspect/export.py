"""Write one flat row per clip as Parquet, for people who analyse the data.

A row has the place of the clip's bytes (`tar` relative to the root, `offset`, `size`), its source (path or URL, title,
channel, licence, time of the download, start and end in seconds) and everything known of it: measurements, flags under
the current thresholds, rating, score, decision with its reason, split, the clip that it is a copy of (how much later
it starts, whether it is mirrored), and the one that it looks like.
The file is written batch by batch under a temporary name and then renamed.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clips.flags import FLAGS, flag_masks
from pipeline.clips.read import read_clips
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.label_events import current_labels
from pipeline.outside import shown_url
from pipeline.shards.splits import group_of, split_of
from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

_MEASURED = [
    "display_aspect", "transfer", "changes", "black_share", "still_share", "letterbox_share", "num_cuts",
    "longest_shot_share", "overlay_share", "panel_share", "text_density", "sharpness", "blockiness", "scroll_share",
    "scroll_speed", "motion",
]  # fmt: skip
_STORED = [
    "tar", "offset", "size", "sha256", "frames_offset", "frames_size", "num_frames", "width", "height", "fps",
    "actions",
]  # fmt: skip


_OF_COPIES = ["is_representative", "shift_ms", "mirrored", "similar_to"]


def _schema() -> pa.Schema:
    text, number, whole, truth = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    own = {name: SCHEMAS["clips"].field(name).type for name in [*_STORED, *_MEASURED]} | {"changes": text}
    columns = {
        "clip_id": text, "video_id": text, "source": text, "title": text, "channel": text, "licence": text,
        "retrieved_at": SCHEMAS["downloads"].field("finished_at").type, "start_s": number, "end_s": number, **own,
        "flags": text, **{f"flag_{flag}": truth for flag in FLAGS},
        "rating": whole, "score": number, "decision": text, "reason": text, "split": text,
        "duplicate_of": text, "is_representative": truth, "shift_ms": whole, "mirrored": truth,
        "similar_to": text, "batch": text, "clip_spec": text,
    }  # fmt: skip
    return pa.schema(list(columns.items()))


EXPORT_SCHEMA = _schema()
"""Columns of the export; `flags` and `changes` are lists, separated by commas."""


def export_clips(store: Store, config: Config, path: str | Path) -> int:
    """Write one row per clip to a Parquet file on this machine, and return their number.

    Clips of takedowns and of other clip_specs are left out. Rows are ordered by batch, video and start. Columns of
    stages that have not run yet are null.

    Raises:
        UserError: the file cannot be written.
    """
    target = Path(path).absolute()
    temporary = target.parent / f".tmp-{uuid.uuid4().hex}"
    try:
        rows = repeat_after_takedown(store, lambda: _write_rows(store, config, temporary))
        temporary.replace(target)
    except OSError as exc:
        raise UserError(f"export to {str(target)!r} failed: {exc.strerror or exc}. Choose another file.") from exc
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _write_rows(store: Store, config: Config, path: Path) -> int:
    ratings = current_labels(store, config)
    labels = pa.table(
        {"clip_id": pa.array(list(ratings), pa.string()), "rating": pa.array(list(ratings.values()), pa.int64())}
    )
    rows = 0
    with pq.ParquetWriter(path, EXPORT_SCHEMA) as writer:
        batches = sorted(str(name) for name in store.read("clippings", ["batch"])["batch"].unique().to_pylist())
        for batch in batches:
            table = _batch_rows(store, config, batch, labels)
            rows += len(table)
            writer.write_table(table)
    return rows


def _batch_rows(store: Store, config: Config, batch: str, labels: pa.Table) -> pa.Table:
    columns = ["clip_id", "video_id", "start_ms", "end_ms", "batch", "clip_spec", *_STORED, *_MEASURED]
    clips = _flagged(read_clips(store, config, columns, batch=batch), config)
    here = pc.field("batch") == batch
    columns = ["video_id", "extractor", "channel_id", "url", "title", "channel", "licence"]
    videos = store.read("videos", columns, here)
    decided = store.read("curated", ["clip_id", "decision", "reason"], here)
    copies = store.read("duplicates", ["clip_id", "representative", *_OF_COPIES], here)
    rows = clips.join(_sources(videos, config), "video_id")
    rows = rows.join(_retrieved(store, here), "video_id", join_type="left outer")
    for more in (labels, _scores(store, here), decided, copies):
        rows = rows.join(more, "clip_id", join_type="left outer")
    rows = rows.sort_by([("video_id", "ascending"), ("start_ms", "ascending")])
    derived: dict[str, Any] = {
        "start_s": pc.divide(rows["start_ms"].cast(pa.float64()), pa.scalar(1000.0)),
        "end_s": pc.divide(rows["end_ms"].cast(pa.float64()), pa.scalar(1000.0)),
        "duplicate_of": rows["representative"],
    }
    found = {name: derived[name] if name in derived else rows[name] for name in EXPORT_SCHEMA.names}
    return pa.Table.from_pydict(found).cast(EXPORT_SCHEMA)


def _flagged(clips: pa.Table, config: Config) -> pa.Table:
    """Return clips with their flags under the present thresholds, and lists as texts."""
    masks = flag_masks(clips, config.clips)
    flags = [",".join(flag for flag in FLAGS if masks[flag][index]) for index in range(len(clips))]
    changes = [None if names is None else ",".join(names) for names in clips["changes"].to_pylist()]
    clips = clips.drop_columns("changes").append_column("changes", pa.array(changes, pa.string()))
    clips = clips.append_column("flags", pa.array(flags, pa.string()))
    for flag, mask in masks.items():
        clips = clips.append_column(f"flag_{flag}", pa.array(mask))
    return clips


def _sources(videos: pa.Table, config: Config) -> pa.Table:
    """Return video_id, source, title, channel, licence and split of videos."""
    splits = [split_of(group_of(video), config.split) for video in videos.to_pylist()]
    named = videos.select(["video_id", "url", "title", "channel", "licence"])
    # an export is passed on: passwords and tokens of addresses stay in the store
    shown = pa.array([None if url is None else shown_url(url) for url in videos["url"].to_pylist()], pa.string())
    named = named.set_column(1, "source", shown)
    return named.append_column("split", pa.array(splits, pa.string()))


def _retrieved(store: Store, here: pc.Expression) -> pa.Table:
    """Return video_id and the time at which its first successful download ended."""
    rows = store.read("downloads", ["video_id", "finished_at"], here & (pc.field("state") == "ok"))
    first = rows.group_by("video_id").aggregate([("finished_at", "min")])
    return first.rename_columns({"finished_at_min": "retrieved_at"})


def _scores(store: Store, here: pc.Expression) -> pa.Table:
    """Return clip_id and score; where several models scored a clip, the score of the newest."""
    models = store.read("models", ["model_id", "created_at"]).sort_by("created_at")["model_id"].to_pylist()
    rank = {model: index for index, model in enumerate(models)}
    rows = store.read("scores", ["clip_id", "model_version", "probability"], here).to_pylist()
    rows.sort(key=lambda row: rank.get(row["model_version"], -1))
    last = {row["clip_id"]: row["probability"] for row in rows}
    return pa.table(
        {"clip_id": pa.array(list(last), pa.string()), "score": pa.array(list(last.values()), pa.float64())}
    )
