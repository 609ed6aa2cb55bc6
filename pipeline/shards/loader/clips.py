"""The clips of a set of windows, in groups: a group is read when its turn comes, so a start costs no look at the clips.

A group is a tar: its index says which clips it holds, how long they are and where they are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.shards.index import read_shard
from pipeline.shards.read import shard_rows
from pipeline.shards.sample import DamagedSample
from pipeline.shards.splits import Split
from pipeline.storage.store import Store

Video = npt.NDArray[np.uint8]
"""Frames, uint8 (T, H, W, 3)."""
_PARALLEL_READS = 8
_COLUMNS = ["clip_id", "video_id", "offset", "size", "sha256", "num_frames", "fps", "cut_ms"]


class Mp4(NamedTuple):
    """Where the bytes of a clip lie."""

    tar: str
    offset: int
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Clip:
    """A clip that windows are taken from: its bytes in a store (`mp4`), or a function that returns its frames."""

    clip_id: str
    load: Callable[[], Video] | None = None
    """Returns uint8 (T, H, W, 3); PermanentError (`bad_sample`) where its bytes cannot be decoded."""
    mp4: Mp4 | None = None
    num_frames: int | None = None
    """None where only decoding tells."""
    cuts: tuple[int, ...] = ()
    """First frame of each new shot."""
    damage: str = ""
    """Why it cannot be loaded, where that is known before it is tried; its id may then be unknown too."""


class ClipSet(Protocol):
    """Clips in groups."""

    @property
    def store(self) -> Store | None:
        """Return the store that has the bytes of the clips; None where all are functions."""

    @property
    def counts(self) -> Sequence[int]:
        """Return the number of clips of each group, the damaged ones included."""

    def read(self, group: int) -> list[Clip]:
        """Return the clips of a group; as many as `counts` says, or fewer where some may not be used any more."""


class ListedClips:
    """Clips that are listed one by one, as one group."""

    def __init__(self, clips: Sequence[Clip], store: Store | None = None) -> None:
        self._clips, self._store = list(clips), store

    @property
    def store(self) -> Store | None:
        """Return the store that has the bytes of the clips."""
        return self._store

    @property
    def counts(self) -> Sequence[int]:
        """Return the number of clips."""
        return [len(self._clips)]

    def read(self, group: int) -> list[Clip]:
        """Return the clips."""
        return self._clips


class ShardClips:
    """The clips of tars, a tar at a time."""

    def __init__(self, store: Store, rows: Sequence[dict[str, Any]], hidden: Collection[str] = ()) -> None:
        """Name the tars; none is opened.

        Args:
            store: has them.
            rows: of `shards`.
            hidden: ids of videos whose clips are left out.
        """
        self.rows, self._store, self._hidden = list(rows), store, frozenset(hidden)

    @property
    def store(self) -> Store:
        """Return the store that has the tars."""
        return self._store

    @cached_property
    def counts(self) -> Sequence[int]:
        """Return the number of samples of each tar."""
        return [row["samples"] if row["samples"] is not None else len(self.read(n)) for n, row in enumerate(self.rows)]

    def videos(self) -> set[str]:
        """Return the ids of all videos; every index is read."""
        found: set[str] = set()
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            for table in pool.map(lambda row: read_shard(self._store, row, _ignore), self.rows):
                found.update(map(str, table["video_id"].unique().to_pylist()))
        return found

    def read(self, group: int) -> list[Clip]:
        """Return the clips of a tar, those that a damaged tar does not give with their `damage`."""
        row, damaged = self.rows[group], list[DamagedSample]()
        table, tar = read_shard(self._store, row, damaged.append), str(row["path"])
        clips = [
            clip_of(entry, tar) for entry in table.select(_COLUMNS).to_pylist() if entry["video_id"] not in self._hidden
        ]
        return clips + [Clip(sample.name, damage=sample.reason) for sample in damaged]


def shard_clips(store: Store, version: str, split: Split, hidden: Collection[str] = ()) -> ShardClips:
    """Return the clips of a split of a set, without those of hidden videos; nothing is read but rows of `shards`."""
    return ShardClips(store, shard_rows(store, version, split), hidden)


def _ignore(damaged: DamagedSample) -> None:
    """Pass over what a damaged tar has lost."""


def clip_of(entry: Mapping[str, Any], tar: str) -> Clip:
    """Return the clip of a row of an index, or of `clips`."""
    frames, fps = entry["num_frames"], entry["fps"]
    cuts: tuple[int, ...] = ()
    if entry["cut_ms"] and fps:
        cuts = tuple(sorted({round(at * fps / 1000) for at in entry["cut_ms"]}))
    mp4 = Mp4(tar, entry["offset"], entry["size"], entry["sha256"])
    return Clip(entry["clip_id"], mp4=mp4, num_frames=frames, cuts=cuts)
