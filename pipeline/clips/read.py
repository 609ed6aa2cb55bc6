"""Read clips and their frames back from the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.geometry import Frames
from pipeline.clips.stored import decode_frames
from pipeline.config import Config
from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


def scan_clips(
    store: Store,
    config: Config,
    columns: Sequence[str],
    where: pc.Expression | None = None,
    *,
    batch: str | None = None,
) -> Iterator[pa.Table]:
    """Yield the clips that count, a part at a time.

    A clip counts when it has the current clip_spec, its video was cut to the end, and the video was not taken down.
    With `batch`, only that batch's files are read.
    """
    spec = pc.field("clip_spec") == clip_spec(config.clips)
    if batch is not None:
        spec &= pc.field("batch") == batch
    good = store.read("clippings", ["video_id", "source_sha256"], spec & (pc.field("state") == "ok"))
    hidden = taken_down(store).hidden_videos(store)
    if hidden:
        good = good.filter(pc.invert(pc.is_in(good["video_id"], pa.array(sorted(hidden)))))
    keys = ["video_id", "source_sha256"]
    wanted = list(dict.fromkeys([*columns, *keys]))
    for record in store.scan("clips", wanted, spec if where is None else spec & where):
        part = pa.Table.from_batches([record]).cast(_schema(wanted))
        counting = pa.Table.from_pydict({"row": pa.array(range(len(part))), **{key: part[key] for key in keys}})
        rows = counting.join(good, keys, join_type="left semi")["row"].sort()
        yield part.take(rows).select(list(columns))


def read_clips(
    store: Store,
    config: Config,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    *,
    batch: str | None = None,
) -> pa.Table:
    """Return the clips that count (see `scan_clips`), in the order of clip_id."""
    names = list(SCHEMAS["clips"].names if columns is None else columns)
    wanted = list(dict.fromkeys([*names, "clip_id"]))
    parts = list(scan_clips(store, config, wanted, where, batch=batch))
    table = pa.concat_tables([_schema(wanted).empty_table(), *parts])
    return table.take(pc.sort_indices(table["clip_id"])).select(names)


def read_clip(store: Store, row: Mapping[str, Any]) -> bytes:
    """Return the mp4 bytes of a row of `clips` (its `tar`, `offset` and `size`), one ranged read."""
    return store.read_range(row["tar"], row["offset"], row["size"])


def read_frames(store: Store, row: Mapping[str, Any]) -> Frames:
    """Return the eight sampled frames of a row of `clips` as uint8 RGB (8, H, W, 3), one ranged read."""
    return decode_frames(store.read_range(row["tar"], row["frames_offset"], row["frames_size"]))


def _schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMAS["clips"].field(name) for name in columns])
