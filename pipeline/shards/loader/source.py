"""What a training asks of its data: the size of frames, windows spread over the set, and loaders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import numpy as np

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.errors import PermanentError
from pipeline.progress import ProgressCallback
from pipeline.shards.loader.clips import Clip, ClipSet, ListedClips, Video
from pipeline.shards.loader.loader import Batch, Place, WindowLoader
from pipeline.shards.loader.local import ClipReader, Decoder, LocalDecoder
from pipeline.shards.loader.order import OrderSettings
from pipeline.shards.loader.starts import free_starts
from pipeline.shards.loader.tally import Tally
from pipeline.shards.loader.workers import WorkerDecoder

_SHAPE_VOTES = 3
_MOST_WORKERS = 8
_SPREAD = 37


class WindowSource:
    """Windows of a set of clips. Where all clips fit into `keep_clips`, each is decoded once and kept."""

    def __init__(
        self,
        clips: ClipSet | Sequence[Clip],
        *,
        keep_clips: int,
        workers: int = 0,
        max_bad_share: float = 1.0,
        on_progress: ProgressCallback | None = None,
        restore: str = "",
    ) -> None:
        """Take windows from clips.

        Args:
            clips: the set.
            keep_clips: decoded clips kept in memory.
            workers: processes that decode, where the set does not fit into `keep_clips`; 0: half of the cores.
            max_bad_share: more unusable clips than this share of all are an error.
            on_progress: is told of the first clips that are skipped.
            restore: a sentence that says how the clips are made whole again.
        """
        self.clips: ClipSet = ListedClips(clips) if isinstance(clips, Sequence) else clips
        self._store = self.clips.store
        self._ends = list(accumulate(self.clips.counts))
        if not self.num_clips:
            raise ValueError("no clips to take windows from")
        self.tally = Tally(self.num_clips, max_bad_share, on_progress, restore)
        self.keeps_all = self.num_clips <= keep_clips
        self._reader = ClipReader(self._store, keep_clips, keeps_all=self.keeps_all)
        self._workers = workers or min(_MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) // 2), self.num_clips)
        self._read: tuple[int, list[Clip]] = (-1, [])
        self._loaders: list[WindowLoader] = []

    @property
    def num_clips(self) -> int:
        """Return the number of clips, those that cannot be used included."""
        return self._ends[-1] if self._ends else 0

    @property
    def bad(self) -> dict[str, str]:
        """Return the clips that were met and cannot be used: id -> reason, sorted."""
        return self.tally.bad

    @property
    def num_workers(self) -> int:
        """Return how many processes decode; 0 where decoded clips are kept."""
        return 0 if self.keeps_all or self._store is None else self._workers

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Return frames, height and width of a clip: what most of the first three usable clips have."""
        votes: list[tuple[int, ...]] = []
        for clip in self._from(0):
            if clip.clip_id not in self.tally and (video := self._video(clip)) is not None:
                votes.append(video.shape)
                if len(votes) == _SHAPE_VOTES:
                    break
        if not votes:
            raise self.tally.too_many()
        sizes = Counter(vote[1:3] for vote in votes).most_common(1)[0][0]
        return max(vote[0] for vote in votes if vote[1:3] == sizes), sizes[0], sizes[1]

    def loader(
        self,
        settings: OrderSettings,
        *,
        state: Mapping[str, Any] | None = None,
        rank: int = 0,
        ranks: int = 1,
        window_name: str = "the window",
    ) -> WindowLoader:
        """Return a loader; `close` it after use. Arguments as of `WindowLoader`."""
        shape = (settings.window, *self.shape[1:], 3)
        decoder: Decoder
        if self.num_workers:
            assert self._store is not None
            decoder = WorkerDecoder(self._store, self.num_workers, shape)
        else:
            decoder = LocalDecoder(self._reader, shape)
        try:
            loader = WindowLoader(
                self.clips, settings, self._reader, decoder, self.tally, shape,
                rank=rank, ranks=ranks, state=state, window_name=window_name,
            )  # fmt: skip
        except BaseException:
            decoder.close()
            raise
        self._loaders.append(loader)
        return loader

    def first_batch(self, settings: OrderSettings, step: int = 0) -> Batch:
        """Return one batch of an order, decoded in this process."""
        shape = (settings.window, *self.shape[1:], 3)
        decoder = LocalDecoder(self._reader, shape)
        with WindowLoader(self.clips, settings, self._reader, decoder, self.tally, shape, ahead=0) as loader:
            loader.skip(step)
            return next(loader)

    def spread_frames(self, *, count: int, window: int) -> Video:
        """Return windows spread evenly over clips and time, the same at every call: uint8 (count, window, H, W, 3)."""
        return self.spread_places(count=count, window=window)[0]

    def spread_places(self, *, count: int, window: int) -> tuple[Video, list[Place]]:
        """Return the windows of `spread_frames`, and where each lies."""
        shape = (window, *self.shape[1:], 3)
        found = np.empty((count, *shape), np.uint8)
        places = []
        for number in range(count):
            for clip in self._from(number * self.num_clips // count):
                start = self._take(clip, number, shape, found[number])
                if start is not None:
                    places.append(Place(clip.clip_id, start))
                    break
            else:
                raise self.tally.too_many()
        return found, places

    def count_apart(self, window: int, *, most: int) -> int:
        """Return how many windows lie side by side in the clips without sharing a frame; `most` where there are more.

        Lengths of clips are read until there are so many.
        """
        found = 0
        for clip in self._from(0):
            found += self._apart(clip, window)
            if found >= most:
                return most
        return found

    def close(self) -> None:
        """End all loaders."""
        while self._loaders:
            self._loaders.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _apart(self, clip: Clip, window: int) -> int:
        if clip.clip_id in self.tally:
            return 0
        try:
            return free_starts(self._reader.num_frames(clip), clip.cuts, window).apart
        except PermanentError as exc:
            self._note(clip, exc)
            return 0

    def _take(self, clip: Clip, number: int, shape: tuple[int, ...], into: Video) -> int | None:
        """Copy a window of a clip, and return its first frame; None where it has none that can be used."""
        if clip.clip_id in self.tally:
            return None
        try:
            starts = free_starts(self._reader.num_frames(clip), clip.cuts, shape[0])
            if not starts.total:
                return None
            start = starts[number * _SPREAD % starts.total]
            into[:] = self._reader.windows(clip, [start], shape)[0]
            return start
        except PermanentError as exc:
            self._note(clip, exc)
            return None

    def _video(self, clip: Clip) -> Video | None:
        try:
            return self._reader.video(clip)
        except PermanentError as exc:
            self._note(clip, exc)
            return None

    def _note(self, clip: Clip, exc: PermanentError) -> None:
        if exc.error_class != BAD_SAMPLE:
            raise exc
        self.tally.add(clip.clip_id, str(exc))

    def _from(self, index: int) -> Iterator[Clip]:
        """Yield the clips from one on, to the one before it."""
        counts = self.clips.counts
        first = next(group for group, end in enumerate(self._ends) if index < end)
        offset = index - (self._ends[first] - counts[first])
        for number in range(len(counts) + 1):
            clips = self._group((first + number) % len(counts))
            yield from clips[offset if not number else 0 : offset if number == len(counts) else None]

    def _group(self, group: int) -> list[Clip]:
        if self._read[0] != group:
            self._read = (group, sorted(self.clips.read(group), key=lambda clip: clip.clip_id))
        return self._read[1]
