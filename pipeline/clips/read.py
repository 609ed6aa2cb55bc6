"""Read clips and their frames back from the store."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.geometry import Frames
from pipeline.clips.stored import decode_frames, decode_planes
from pipeline.config import Config
from pipeline.storage.arrow import RowsOfBatches, of_batches, pc
from pipeline.storage.damage import ADVICE, DamagedError
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

FRAME_COLUMNS = ("tar", "frames_offset", "frames_size", "frames_crc32")
"""Columns of `clips` that `read_frames` needs."""


def scan_clips(
    store: Store,
    config: Config,
    columns: Sequence[str],
    where: pc.Expression | None = None,
    *,
    batch: str | Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield the clips that count, a part at a time.

    A clip counts when it has the current clip_spec, its video was cut to the end, and the video was not taken down.
    With `batch` (one, or several in order), only the files of these batches are read.
    """
    spec = pc.field("clip_spec") == clip_spec(config.clips)
    if batch is not None:
        spec &= of_batches([batch] if isinstance(batch, str) else batch)
    keys = ["video_id", "source_sha256"]
    good = store.read("clippings", [*keys, "batch"], spec & (pc.field("state") == "ok"))
    hidden = taken_down(store).hidden_videos(store)
    if hidden:
        good = good.filter(pc.invert(pc.is_in(good["video_id"], pa.array(sorted(hidden)))))
    cut = RowsOfBatches(good)
    del good  # a copy, sorted, is in use
    wanted = list(dict.fromkeys([*columns, *keys, "batch"]))
    for record in store.scan("clips", wanted, spec if where is None else spec & where):
        part = pa.Table.from_batches([record]).cast(_schema(wanted))
        counting = pa.Table.from_pydict({"row": pa.array(range(len(part))), **{key: part[key] for key in keys}})
        # with the videos of these batches alone: with those of the whole store, each part would cost as much as it has
        there = cut.of(part["batch"]).select(keys)
        rows = counting.join(there, keys, join_type="left semi")["row"].sort()
        yield part.take(rows).select(list(columns))


def read_clips(
    store: Store,
    config: Config,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    *,
    batch: str | Sequence[str] | None = None,
) -> pa.Table:
    """Return the clips that count (see `scan_clips`), in the order of clip_id."""
    names = list(SCHEMAS["clips"].names if columns is None else columns)
    wanted = list(dict.fromkeys([*names, "clip_id"]))
    parts = list(scan_clips(store, config, wanted, where, batch=batch))
    table = pa.concat_tables([_schema(wanted).empty_table(), *parts])
    return table.take(pc.sort_indices(table["clip_id"])).select(names)


def read_clip(store: Store, row: Mapping[str, Any]) -> bytes:
    """Return the mp4 bytes of a row of `clips` (its `tar`, `offset`, `size` and `sha256`), one ranged read.

    Raises:
        DamagedError: they are not the bytes that were cut.
    """
    mp4 = _read(store, row, row["offset"], row["size"])
    _check(row, hashlib.sha256(mp4).hexdigest(), row["sha256"], "its bytes")
    return mp4


def read_frames(store: Store, row: Mapping[str, Any]) -> Frames:
    """Return the eight sampled frames of a row of `clips` (its `FRAME_COLUMNS`) as uint8 RGB (8, H, W, 3).

    One ranged read.

    Raises:
        DamagedError: they are not the frames that were cut.
    """
    return decode_frames(_strip(store, row))


def read_planes(store: Store, row: Mapping[str, Any]) -> Frames:
    """Return what `read_frames` does, but one plane per colour: uint8 (8, 3, H, W)."""
    return decode_planes(_strip(store, row))


def _strip(store: Store, row: Mapping[str, Any]) -> bytes:
    jpeg = _read(store, row, row["frames_offset"], row["frames_size"])
    _check(row, zlib.crc32(jpeg), row["frames_crc32"], "its frames")
    return jpeg


def _read(store: Store, row: Mapping[str, Any], offset: int, size: int) -> bytes:
    try:
        return store.read_range(row["tar"], offset, size)
    except (FileNotFoundError, EOFError) as exc:
        raise DamagedError(
            f"clip {row.get('clip_id', '')}: {row['tar']} is not there or too short. To go on, {ADVICE}."
        ) from exc


def _check(row: Mapping[str, Any], found: object, known: object, what: str) -> None:
    if known is not None and found != known:
        raise DamagedError(
            f"clip {row.get('clip_id', '')}: {what} in {row['tar']} are not those that were cut. To go on, {ADVICE}."
        )


def _schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMAS["clips"].field(name) for name in columns])
