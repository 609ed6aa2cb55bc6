"""Bytes of a clip to the frames of its windows: only the pictures that are needed are converted.

Frames between two windows that lie far apart are not even decoded: the clips have a key frame every 16 frames, and the
decoder begins anew at the last one before a window. The frames are those that a decode from the start gives.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
from av.video.reformatter import VideoReformatter

from pipeline.clips.geometry import pixels_of
from pipeline.clips.samples import BAD_SAMPLE
from pipeline.clips.stored import DAMAGED, undecodable
from pipeline.errors import PermanentError, RetryableError, StoreError, UserError
from pipeline.shards.loader.clips import Mp4, Video
from pipeline.shards.sample import read_sample
from pipeline.storage.store import Store

_SEEK_OVER = 24
"""Frames that are not needed, from which on the decoder begins anew: a key frame is every 16, and a seek costs one."""
READ_TRIES = 4
_PAUSE_S = 0.5


def read_mp4(store: Store, mp4: Mp4) -> bytes:
    """Return the bytes of a clip, one ranged read; a read that an object store fails is tried again, with pauses.

    Raises:
        PermanentError: they are not in the tar, or do not give the hash (`bad_sample`).
        RetryableError: the object store failed every time (`store_read`).
    """
    tries = 1 if store.is_local else READ_TRIES
    for number in range(tries):
        try:
            return read_sample(store, *mp4)
        except (PermanentError, StoreError, UserError, MemoryError):
            raise
        except Exception as exc:  # each object store raises its own exceptions
            if store.is_local:
                raise
            if number + 1 == tries:
                raise RetryableError(
                    f"{mp4.tar}, bytes {mp4.offset} to {mp4.offset + mp4.size}: the store failed {tries} times "
                    f"({type(exc).__name__}: {exc}). The training goes on from its last checkpoint when it is run "
                    "again.",
                    error_class="store_read",
                ) from exc
            time.sleep(_PAUSE_S * 2**number)
    raise AssertionError("no try was made")


def count_frames(mp4: bytes) -> int:
    """Return how many frames a clip says that it has; PermanentError (`bad_sample`) where it cannot be opened."""
    try:
        with av.open(io.BytesIO(mp4)) as container:
            stream = container.streams.video[0]
            return int(stream.frames) or sum(1 for _ in container.decode(stream))
    except DAMAGED as exc:
        raise undecodable(mp4, exc) from exc


def decode_windows(mp4: bytes, starts: Sequence[int], windows: Sequence[Video]) -> None:
    """Fill windows with frames of a clip.

    Args:
        mp4: its bytes.
        starts: first frame of each window.
        windows: uint8 (T, H, W, 3) each.

    Raises:
        PermanentError: the bytes cannot be decoded, have too few frames, or frames of another size (`bad_sample`).
    """
    wanted: dict[int, list[Video]] = {}
    for start, window in zip(starts, windows, strict=True):
        for number, picture in enumerate(window):
            wanted.setdefault(start + number, []).append(picture)
    height, width = windows[0].shape[1:3]
    reformatter, filled = VideoReformatter(), 0
    try:
        for number, frame in _frames(mp4, sorted(wanted)):
            if (frame.height, frame.width) != (height, width):
                raise PermanentError(
                    f"it has frames of {frame.width}x{frame.height}, where the others have {width}x{height}",
                    error_class=BAD_SAMPLE,
                )
            pixels = pixels_of(reformatter.reformat(frame, format="rgb24", threads=1))
            for picture in wanted[number]:
                picture[:] = pixels
            filled += 1
    except DAMAGED as exc:
        raise undecodable(mp4, exc) from exc
    if filled < len(wanted):
        raise PermanentError(
            f"it ends before frame {max(wanted)}, which its index says that it has", error_class=BAD_SAMPLE
        )


def _frames(mp4: bytes, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the wanted frames (rising numbers) of a clip, with their numbers."""
    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        rate, base, begin = stream.average_rate, stream.time_base, stream.start_time or 0
        can_seek = rate is not None and base is not None and stream.frames > wanted[-1]
        upcoming = 0  # number of the frame that the decoder gives next
        decoder: Iterator[av.VideoFrame] | None = None
        for number in wanted:
            if can_seek and number - upcoming > _SEEK_OVER:
                container.seek(begin + round(Fraction(number) / rate / base), stream=stream)
                decoder, upcoming = None, -1
            decoder = decoder or container.decode(stream)
            for frame in decoder:
                if upcoming < 0:
                    upcoming = round((frame.pts - begin) * base * rate)
                    if upcoming > number:
                        raise ValueError("the frame after a seek lies behind the one that was asked for")
                upcoming += 1
                if upcoming - 1 == number:
                    yield number, frame
                    break
            else:
                return
