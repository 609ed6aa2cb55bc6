"""Load the signatures and hashes of all clips that count, for the search for copies.

Their bytes (about 4 kB a clip) go to files in a scratch folder and are mapped into memory; what stays in memory are
some numbers and names a clip.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clips.hashes import HASH_BYTES
from pipeline.clips.read import scan_clips
from pipeline.config import Config
from pipeline.copies.landmarks import WORDS, Landmarks, landmarks
from pipeline.copies.look import Bytes, look_codes
from pipeline.copies.orders import CHUNK
from pipeline.copies.signature import CELLS, Pictures, step_ms
from pipeline.copies.timeline import Ints, Timeline
from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

LOOK_COLUMNS = ["clip_id", "video_id", "batch", "start_ms", "sha256", "hashes", "signature"]
"""Columns of `clips` that are read."""
_KEPT = LOOK_COLUMNS[:5]
_DIGITS = 24  # of a hash's 64: enough to tell any two clips apart
_PART = 2048  # clips whose signatures are unpacked at a time: 8 MB
_CODE_WORDS = 2 * HASH_BYTES // 8


@dataclass(frozen=True)
class LoadedLooks:
    """All clips, in the order that decides who represents whom: by batch, then by clip_id."""

    clips: pa.Table
    """`clip_id` and `batch`."""
    line: Timeline
    """Their signatures."""
    codes: npt.NDArray[np.uint64]
    """Their hashes, as `pipeline.copies.look` compares them."""
    marks: Landmarks
    equal: tuple[Ints, Ints]
    """Pairs of clips of equal bytes: the first of each such group, and another."""


def load_looks(store: Store, config: Config, folder: Path) -> LoadedLooks:
    """Return the looks of all clips that count.

    Args:
        store: the store.
        config: its clip settings.
        folder: an empty folder for the files; they are needed as long as what is returned.
    """
    return gather_looks(scan_clips(store, config, LOOK_COLUMNS), step_ms(config.clips.fps), folder)


def gather_looks(parts: Iterable[pa.Table], length_ms: float, folder: Path) -> LoadedLooks:
    """Return the looks of clips.

    Args:
        parts: tables with `LOOK_COLUMNS`.
        length_ms: length of a signature's step.
        folder: an empty folder for the files.
    """
    schema = pa.schema([SCHEMAS["clips"].field(name) for name in _KEPT])
    tables = [schema.empty_table()]
    rows, steps = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    clip, step = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    count = written = 0
    names = ("pictures", "scanned-codes", "landmarks")
    with (
        (folder / names[0]).open("wb") as pictures,
        (folder / names[1]).open("wb") as codes,
        (folder / names[2]).open("wb") as marks,
    ):
        for table in parts:
            _write(look_codes(_hashes(table["hashes"])), codes)
            for lengths, batches in _unpacked(table["signature"]):
                rows.append(written + np.cumsum(lengths) - lengths)
                steps.append(lengths)
                for inside, unpacked in batches:
                    _write(unpacked, pictures)
                    found = landmarks(unpacked, count + inside)
                    _write(found.code, marks)
                    clip.append(found.clip.astype(np.int32))
                    step.append(found.step.astype(np.int32))
                written += int(lengths.sum())
                count += len(lengths)
            short = pc.utf8_slice_codeunits(table["sha256"], 0, _DIGITS)
            kept = table.select(_KEPT)
            tables.append(kept.set_column(_KEPT.index("sha256"), schema.field("sha256"), short))
    clips = pa.concat_tables(tables).combine_chunks()
    tables.clear()
    order = pc.sort_indices(clips, [("batch", "ascending"), ("clip_id", "ascending")]).to_numpy()
    clips = clips.take(pa.array(order))
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    line = Timeline(
        pictures=_mapped(folder / names[0], np.uint8, CELLS, anywhere=True),
        first=np.concatenate(rows)[order],
        steps=np.concatenate(steps)[order],
        video=pc.index_in(clips["video_id"], clips["video_id"].unique()).to_numpy().astype(np.int64),
        start_ms=pc.fill_null(clips["start_ms"], 0).to_numpy(),
        step_ms=length_ms,
    )
    found = Landmarks(number[np.concatenate(clip)], np.concatenate(step), _mapped(folder / names[2], np.uint64, WORDS))
    return LoadedLooks(
        clips=clips.select(["clip_id", "batch"]),
        line=line,
        codes=_reordered(folder / names[1], order, folder / "codes"),
        marks=found,
        equal=_equal_bytes(clips["sha256"]),
    )


def _hashes(column: pa.ChunkedArray[Any]) -> Bytes:
    """Return hashes as uint8 (N, bytes); zeros, which look like nothing, for a clip without."""
    width = 2 * HASH_BYTES
    right = pc.equal(pc.binary_length(column), width)
    filled = pc.if_else(pc.fill_null(right, False), column, pa.scalar(bytes(width), pa.binary()))
    parts = [np.empty((0, width), np.uint8)]
    for chunk in filled.cast(pa.binary(width)).chunks:
        data: Any = chunk.buffers()[1]
        if len(chunk):
            parts.append(np.frombuffer(data, np.uint8).reshape(-1, width)[chunk.offset : chunk.offset + len(chunk)])
    return np.concatenate(parts)


def _unpacked(column: pa.ChunkedArray[Any]) -> Iterator[tuple[Ints, Iterator[tuple[Ints, Pictures]]]]:
    """Yield, for a part of a column of signatures, their lengths in steps and their coarse pictures.

    The pictures come in runs of clips of equal length, each with its clips' numbers within the part.
    """
    for chunk in column.chunks:
        for start in range(0, len(chunk), _PART):
            signatures = chunk.slice(start, _PART).fill_null(b"")
            lengths = pc.binary_length(signatures).to_numpy().astype(np.int64) // CELLS
            yield lengths, _runs(signatures.to_pylist(), lengths)


def _runs(signatures: list[bytes | None], lengths: Ints) -> Iterator[tuple[Ints, Pictures]]:
    edges = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    for begin, end in pairwise(edges):
        data = np.frombuffer(b"".join(signature or b"" for signature in signatures[begin:end]), np.uint8)
        if len(data):
            differences = data.reshape(end - begin, -1, CELLS)
            yield np.arange(begin, end), np.cumsum(differences, axis=1, dtype=np.uint8)


def _write(array: npt.NDArray[Any], file: IO[bytes]) -> None:
    # numpy's own `tofile` hides that a disk is full
    file.write(array.tobytes())


def _mapped(path: Path, kind: Any, width: int, *, anywhere: bool = False) -> Any:
    """Return a file's rows as an array that is read from disk where it is used.

    Args:
        path: the file.
        kind: of its numbers.
        width: numbers of a row.
        anywhere: rows are read in no order. Where the file is larger than the memory for its pages, the system would
            read 32 pages for each that is asked for, and drop others for them.
    """
    if not path.stat().st_size:
        return np.empty((0, width), kind)
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if anywhere and hasattr(mmap, "MADV_RANDOM"):
        pages.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(pages, kind).reshape(-1, width)


def _reordered(path: Path, order: Ints, target: Path) -> npt.NDArray[np.uint64]:
    codes = _mapped(path, np.uint64, _CODE_WORDS)
    with target.open("wb") as file:
        for start in range(0, len(order), CHUNK):
            _write(codes[order[start : start + CHUNK]], file)
    path.unlink()
    found: npt.NDArray[np.uint64] = _mapped(target, np.uint64, _CODE_WORDS)
    return found


def _equal_bytes(sha256: pa.ChunkedArray[Any]) -> tuple[Ints, Ints]:
    """Return pairs of clips of equal bytes; a clip whose hash is not known equals none."""
    known = np.flatnonzero(sha256.is_valid().to_numpy())
    hashes = sha256.drop_null()
    _, first, inverse = np.unique(
        pc.index_in(hashes, hashes.unique()).to_numpy(), return_index=True, return_inverse=True
    )
    others = np.flatnonzero(first[inverse] != np.arange(len(known)))
    return known[first[inverse[others]]], known[others]
