"""The index of a training tar: a Parquet blob beside it with one row per sample, so that no reader opens the tar.

    key, digest = write_index(store, "shards/<version>/train/clips-000000.tar", entries)
    table = read_shard(store, row)     # `row` of `shards`: which samples its tar has, and where their bytes lie

An index says nothing that its tar does not say: where it is gone, damaged or not there yet (sets of older versions),
the tar is scanned instead, which on an object store copies it whole, and the log says so.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ids import CLIP_ID_PATTERN, split_clip_id
from pipeline.shards.sample import DamagedSample, Sample, restore_advice
from pipeline.shards.scan import scan_tar
from pipeline.storage.arrow import parquet_table, pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store

_LOGGER = logging.getLogger(__name__)
_INT, _STR, _FLOAT, _INTS = pa.int64(), pa.string(), pa.float64(), pa.list_(pa.int32())
# fmt: off
INDEX = pa.schema([pa.field(name, kind) for name, kind in {
    "clip_id": _STR, "video_id": _STR, "start_ms": _INT, "end_ms": _INT, "offset": _INT, "size": _INT, "sha256": _STR,
    "num_frames": _INT, "fps": _FLOAT, "cut_ms": _INTS, "source": _STR, "title": _STR,
    "probability": _FLOAT,
}.items()])
# fmt: on
"""One row is one sample, in the order of the tar. All but `clip_id`, `video_id`, `offset` and `size` may be null."""
_PLACE = ("offset", "size")


def index_key(tar: str) -> str:
    """Return the blob key of a tar's index."""
    return tar.removesuffix(".tar") + ".index.parquet"


def write_index(store: Store, tar: str, entries: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Write the index of a tar unless it is there already; return its key and its SHA-256.

    Args:
        store: the store.
        tar: key of the tar.
        entries: the columns of `INDEX` of each sample, in the order of the tar; others are ignored.
    """
    key, data = index_key(tar), index_bytes(entries)
    digest = hashlib.sha256(data).hexdigest()
    if not store.exists(key) or store.sha256(key) != digest:
        store.write_blob(key, data)
    return key, digest


def index_bytes(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the Parquet bytes of an index; the same entries give the same bytes with the same version of Arrow."""
    table = pa.Table.from_pylist([{name: entry.get(name) for name in INDEX.names} for entry in entries], INDEX)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=max(1, len(table)))
    return buffer.getvalue()


def read_shard(
    store: Store, row: Mapping[str, Any], on_damage: Callable[[DamagedSample], None] | None = None
) -> pa.Table:
    """Return the samples of a tar as rows of `INDEX`: from its index, or from the tar where that cannot be used.

    Args:
        store: the store.
        row: of `shards`.
        on_damage: called for each sample that a damaged tar does not give; those of an index are checked when their
            bytes are read. Without it, damage is an error.

    Raises:
        UserError: the tar had to be scanned, and holds anything but mp4 and JSON, or is damaged without `on_damage`.
    """
    if row.get("index"):
        try:
            return read_index(store, row)
        except DamagedError as exc:
            _LOGGER.warning("%s; %s is read instead", exc, row["path"])
    return pa.Table.from_pylist(list(_scanned(store, row, on_damage)), INDEX)


def read_index(store: Store, row: Mapping[str, Any]) -> pa.Table:
    """Return the index that a row of `shards` names; DamagedError where it is not what was written."""
    key = str(row["index"])
    try:
        data = store.read_blob(key)
    except FileNotFoundError as exc:
        raise _damaged(store, row, "is not there") from exc
    if hashlib.sha256(data).hexdigest() != row.get("index_sha256"):
        raise _damaged(store, row, f"is not what was written ({len(data)} bytes with another SHA-256)")
    try:
        table = parquet_table(data).select(INDEX.names).cast(INDEX)
    except (pa.ArrowException, OSError, KeyError) as exc:
        raise _damaged(store, row, f"is no index ({str(exc).splitlines()[0][:200]})") from exc
    if why := _contradiction(table, row):
        raise _damaged(store, row, why)
    return table


def samples_of(table: pa.Table, tar: str) -> Iterator[Sample]:
    """Yield the samples of rows of `INDEX`."""
    for entry in table.to_pylist():
        origin = {name: value for name, value in entry.items() if name not in _PLACE}
        yield Sample(entry["clip_id"], tar, entry["offset"], entry["size"], origin)


def _contradiction(table: pa.Table, row: Mapping[str, Any]) -> str:
    """Return in what an index and its row do not agree; "" where they do."""
    if row.get("samples") is not None and len(table) != row["samples"]:
        return f"has {len(table)} samples instead of {row['samples']}"
    if any(table[name].null_count for name in ("clip_id", "video_id", *_PLACE)):
        return "lacks ids or places"
    if not pc.all(pc.match_substring_regex(table["clip_id"], f"^(?:{CLIP_ID_PATTERN})$"), min_count=0).as_py():
        return "has a name that is no clip id"
    if not pc.all(pc.and_(pc.greater_equal(table["offset"], 0), pc.greater(table["size"], 0)), min_count=0).as_py():
        return "has a place outside of its tar"
    total = row.get("bytes")
    room = None if total is None else pc.subtract(pa.scalar(total), table["offset"])
    if room is not None and not pc.all(pc.less_equal(table["size"], room), min_count=0).as_py():
        return "has a place outside of its tar"
    return ""


def _damaged(store: Store, row: Mapping[str, Any], why: str) -> DamagedError:
    return DamagedError(f"{store.root}/{row['index']} {why}. {restore_advice(row.get('version'))}")


def _scanned(
    store: Store, row: Mapping[str, Any], on_damage: Callable[[DamagedSample], None] | None
) -> Iterator[dict[str, Any]]:
    for found in scan_tar(store, str(row["path"]), row.get("samples")):
        if isinstance(found, Sample):
            yield _entry(found)
        elif on_damage is not None:
            on_damage(found)
        else:
            raise DamagedError(
                f"sample {found.name} of the training shards: {found.reason}. {restore_advice(row.get('version'))}"
            )


def _entry(sample: Sample) -> dict[str, Any]:
    """Return a sample as a row of `INDEX`; what its JSON says and does not fit there is unknown."""
    known: dict[str, Any] = {}
    for field in INDEX:
        try:
            known[field.name] = pa.scalar(sample.origin.get(field.name), field.type).as_py()
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            known[field.name] = None
    video_id = split_clip_id(sample.clip_id)[0]
    return {**known, "clip_id": sample.clip_id, "video_id": video_id, "offset": sample.offset, "size": sample.size}
