"""Decode clips in this process; a set that is small enough keeps its decoded clips."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.clips.stored import decode_stored_clip
from pipeline.errors import PermanentError
from pipeline.shards.loader.clips import Clip, Video
from pipeline.shards.loader.decode import count_frames, decode_windows, read_mp4
from pipeline.storage.store import Store


class Request(NamedTuple):
    """Windows of a clip that will be needed."""

    number: int
    clip: Clip
    starts: tuple[int, ...]


class Decoder(Protocol):
    """Decodes windows of clips, perhaps ahead of their use."""

    def submit(self, request: Request) -> None:
        """Ask for windows; the sooner they are needed, the earlier."""

    def windows(self, number: int) -> Sequence[Video]:
        """Return the windows of a request, when they are there.

        Raises:
            PermanentError: the clip cannot be used (`bad_sample`); the request is forgotten.
        """

    def release(self, number: int, window: int) -> None:
        """Say that a window of a request is not needed any more."""

    def close(self) -> None:
        """Stop; nothing may be asked any more."""


class ClipReader:
    """Reads clips, and keeps the most recently used ones decoded."""

    def __init__(self, store: Store | None, keep_clips: int, *, keeps_all: bool) -> None:
        """Read clips.

        Args:
            store: has the clips that are not functions.
            keep_clips: decoded clips kept in memory.
            keeps_all: whether these are all: then a clip is decoded as a whole the first time.
        """
        self._store, self._keep_clips, self.keeps_all = store, keep_clips, keeps_all
        self._kept: OrderedDict[str, Video] = OrderedDict()

    def video(self, clip: Clip) -> Video:
        """Return a decoded clip, uint8 (T, H, W, 3); PermanentError (`bad_sample`) where it cannot be used."""
        if clip.clip_id in self._kept:
            self._kept.move_to_end(clip.clip_id)
            return self._kept[clip.clip_id]
        if clip.damage:
            raise PermanentError(clip.damage, error_class=BAD_SAMPLE)
        try:
            video = clip.load() if clip.load is not None else decode_stored_clip(self._bytes(clip))
        except Exception as exc:
            exc.add_note(f"clip {clip.clip_id}")
            raise
        self._kept[clip.clip_id] = video
        if len(self._kept) > self._keep_clips:
            self._kept.popitem(last=False)
        return video

    def num_frames(self, clip: Clip) -> int:
        """Return the length of a clip, by its index, its header, or its frames."""
        if clip.num_frames is not None and not clip.damage:
            return clip.num_frames
        if self._decodes_whole(clip):
            return len(self.video(clip))
        return count_frames(self._bytes(clip))

    def windows(self, clip: Clip, starts: Sequence[int], shape: tuple[int, ...]) -> list[Video]:
        """Return windows of a clip, uint8 of a shape (T, H, W, 3) each; they may be views of the kept clip.

        Raises:
            PermanentError: the clip cannot be used (`bad_sample`).
        """
        if not self._decodes_whole(clip) and clip.clip_id not in self._kept:
            windows = [np.empty(shape, np.uint8) for _ in starts]
            decode_windows(self._bytes(clip), starts, windows)
            return windows
        video = self.video(clip)
        if video.shape[1:] != shape[1:] or max(starts) + shape[0] > len(video):
            frames, height, width = video.shape[:3]
            raise PermanentError(
                f"it has {frames} frames of {width}x{height}, where the others have {shape[2]}x{shape[1]}",
                error_class=BAD_SAMPLE,
            )
        return [video[start : start + shape[0]] for start in starts]

    def _decodes_whole(self, clip: Clip) -> bool:
        return self.keeps_all or clip.mp4 is None

    def _bytes(self, clip: Clip) -> bytes:
        if clip.damage:
            raise PermanentError(clip.damage, error_class=BAD_SAMPLE)
        assert clip.mp4 is not None
        assert self._store is not None
        return read_mp4(self._store, clip.mp4)


class LocalDecoder:
    """Decodes when windows are needed."""

    def __init__(self, reader: ClipReader, shape: tuple[int, ...]) -> None:
        """Decode windows of a shape with a reader."""
        self._reader, self._shape = reader, shape
        self._asked: dict[int, Request] = {}
        self._windows: dict[int, list[Video]] = {}
        self._left: dict[int, int] = {}

    def submit(self, request: Request) -> None:
        """Note what will be asked."""
        self._asked[request.number] = request

    def windows(self, number: int) -> Sequence[Video]:
        """Decode the clip of a request, unless that was done."""
        if number not in self._windows:
            request = self._asked.pop(number)
            self._windows[number] = self._reader.windows(request.clip, request.starts, self._shape)
            self._left[number] = len(request.starts)
        return self._windows[number]

    def release(self, number: int, window: int) -> None:
        """Forget the windows of a request after the last of them."""
        self._left[number] -= 1
        if not self._left[number]:
            del self._left[number], self._windows[number]

    def close(self) -> None:
        """Forget all."""
        self._asked.clear()
        self._windows.clear()
