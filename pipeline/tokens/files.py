"""A file of tokens: a WebDataset tar with one sample per clip, and its index beside it (Parquet, a row per clip).

    row = write_token_file(store, layout, "train", 0, clips)      # a row of `tokens`, not yet committed

A sample is `<clip_id>.json` and the tokens of the clip's windows, one window after another: `<clip_id>.tokens` (packed)
or `<clip_id>.npy` (uint16). The name of a file follows from the clips that it was made of, so a file that is there was
made of the same ones, and one that an earlier run finished is kept.

Shapes: W windows, T frames of a window, P tokens of a frame.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clips.tar import TarWriter
from pipeline.shards.splits import Split
from pipeline.storage.arrow import parquet_table
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store
from pipeline.tokens.packing import packed_size

FOLDER = "tokens"
TOKEN_INDEX = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("clip_sha256", pa.string()),
        ("cut_ms", pa.list_(pa.int32())),
        ("num_frames", pa.int64()),
        ("starts", pa.list_(pa.int32())),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("problem", pa.string()),
    ]
)
"""One row is one clip of the shard, in its order. `starts`: first frame of each window; `offset`, `size` and `sha256`:
the bytes of its windows in the tar; `problem`: why it has no tokens, else null."""
_TAR = b"tar"


@dataclass(frozen=True)
class TokenLayout:
    """What all files of a set have in common."""

    version: str
    """Id of the set: a hash of the tokenizer and of the settings."""
    tokenizer: str
    """`model_id` of the tokenizer."""
    shards_version: str
    """Version of the training shards whose clips were encoded."""
    window: int
    """T."""
    grid_rows: int
    grid_columns: int
    """P = rows x columns."""
    bits: int
    """Of a token."""
    packing: Literal["packed", "uint16"]

    @property
    def window_bytes(self) -> int:
        """Bytes of a window's tokens."""
        return packed_size(self.window * self.grid_rows * self.grid_columns, self.bits)

    def member(self, windows: int, data: bytes) -> tuple[str, bytes]:
        """Return the ending and the bytes of the member of a clip with so many windows."""
        if self.packing == "packed":
            return "tokens", data
        header = io.BytesIO()
        shape = (windows, self.window, self.grid_rows * self.grid_columns)
        fields = {"descr": "<u2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, fields)
        return "npy", header.getvalue() + data


@dataclass(frozen=True)
class EncodedClip:
    """The tokens of a clip's windows, or why it has none."""

    source: Mapping[str, Any]
    """`clip_id`, `video_id`, `clip_sha256`, `cut_ms`."""
    num_frames: int | None = None
    starts: Sequence[int] = ()
    data: bytes = b""
    """Its windows, one after another."""
    problem: str | None = None


def clips_digest(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the hash of the clips that a file is made of: it is part of the file's name."""
    digest = hashlib.sha256()
    for entry in entries:
        cuts = ",".join(map(str, entry["cut_ms"] or ()))
        digest.update(f"{entry['clip_id']} {entry['clip_sha256']} {cuts}\n".encode())
    return digest.hexdigest()[:12]


def file_key(version: str, split: Split, number: int, entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the blob key of the file of a shard.

    Args:
        version: of the token set.
        split: of the shard.
        number: of the shard in its split.
        entries: `clip_id`, `clip_sha256` and `cut_ms` of its clips, in their order.
    """
    return f"{FOLDER}/{version}/{split}/tokens-{number:06d}-{clips_digest(entries)}.tar"


def index_key(key: str) -> str:
    """Return the blob key of a file's index."""
    return key.removesuffix(".tar") + ".index.parquet"


def write_token_file(
    store: Store, layout: TokenLayout, split: Split, key: str, clips: Iterable[EncodedClip]
) -> dict[str, Any]:
    """Write a file and then its index; return its row of `tokens`. One clip is in memory at a time."""
    entries: list[dict[str, Any]] = []
    with store.write_file(key) as file:
        tar = TarWriter(file)
        for clip in clips:
            entry = {**clip.source, "num_frames": clip.num_frames, "starts": list(clip.starts), "problem": clip.problem}
            if clip.starts:
                digest = hashlib.sha256(clip.data).hexdigest()
                tar.add(f"{entry['clip_id']}.json", _sidecar(layout, entry, digest))
                ending, data = layout.member(len(clip.starts), clip.data)
                offset = tar.add(f"{entry['clip_id']}.{ending}", data) + len(data) - len(clip.data)
                entry |= {"offset": offset, "size": len(clip.data), "sha256": digest}
            entries.append(entry)
        tar.close()
    place = {"bytes": store.size(key), "sha256": store.sha256(key)}
    index = pa.Table.from_pylist(entries, TOKEN_INDEX)
    buffer = io.BytesIO()
    # the index says which tar it belongs to, so that a file is known to be finished before any row names it
    pq.write_table(index.replace_schema_metadata({_TAR: json.dumps(place)}), buffer, compression="zstd")
    store.write_blob(index_key(key), buffer.getvalue())
    return _row(layout, split, key, place, index, hashlib.sha256(buffer.getvalue()).hexdigest())


def finished_file(store: Store, layout: TokenLayout, split: Split, key: str) -> dict[str, Any] | None:
    """Return the row of a file that an earlier run finished; None where it is not there, or damaged since."""
    if not (store.exists(key) and store.exists(index_key(key))):
        return None
    data = store.read_blob(index_key(key))
    try:
        index = parquet_table(data)
        place = json.loads((index.schema.metadata or {})[_TAR])
        index = index.select(TOKEN_INDEX.names).cast(TOKEN_INDEX)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None
    if place != {"bytes": store.size(key), "sha256": store.sha256(key)}:
        return None
    return _row(layout, split, key, place, index, hashlib.sha256(data).hexdigest())


def read_token_index(store: Store, row: Mapping[str, Any]) -> pa.Table:
    """Return the index that a row of `tokens` names; DamagedError where it is not what was written."""
    advice = "Delete it and make the tokens again: `lampworks run --select token_shards`."
    try:
        data = store.read_blob(str(row["index"]))
    except FileNotFoundError as exc:
        raise DamagedError(f"{store.root}/{row['index']} is not there. {advice}") from exc
    if hashlib.sha256(data).hexdigest() != row["index_sha256"]:
        raise DamagedError(f"{store.root}/{row['index']} is not what was written. {advice}")
    return parquet_table(data).select(TOKEN_INDEX.names).cast(TOKEN_INDEX)


def layout_of(row: Mapping[str, Any]) -> TokenLayout:
    """Return the layout that a row of `tokens` says."""
    return TokenLayout(**{name: row[name] for name in TokenLayout.__dataclass_fields__})


def _sidecar(layout: TokenLayout, entry: Mapping[str, Any], digest: str) -> bytes:
    shape = [len(entry["starts"]), layout.window, layout.grid_rows, layout.grid_columns]
    facts = {"clip_id": entry["clip_id"], "video_id": entry["video_id"], "tokenizer": layout.tokenizer}
    facts |= {"starts": entry["starts"], "shape": shape, "bits": layout.bits, "sha256": digest}
    return json.dumps(facts, sort_keys=True).encode()


def _row(
    layout: TokenLayout, split: Split, key: str, place: Mapping[str, Any], index: pa.Table, index_sha256: str
) -> dict[str, Any]:
    windows = sum(len(starts or ()) for starts in index["starts"].to_pylist())
    left_out = len(index) - index["problem"].null_count
    shared = {name: getattr(layout, name) for name in TokenLayout.__dataclass_fields__}
    return {
        **shared, "split": split, "path": key, "index": index_key(key), "index_sha256": index_sha256,
        "bytes": place["bytes"], "sha256": place["sha256"], "clips": len(index) - left_out, "left_out": left_out,
        "windows": windows,
    }  # fmt: skip
