"""Choose the video stream of a file, as players do."""

from __future__ import annotations

from typing import Any

import av

from pipeline.errors import PermanentError

_STILL_CODECS = {"mjpeg", "png", "bmp", "webp", "gif", "tiff", "ppm", "jpeg2000", "ljpeg"}


def video_stream(container: Any, error_class: str) -> Any:
    """Return the video stream that a player shows: no cover picture, marked as default, of the most pixels.

    A single picture, or one in a format of pictures, comes after a film although nobody marked it as a cover.

    Raises:
        PermanentError: there is no video stream, or no decoder for it.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise PermanentError("there is no video stream in it", error_class=error_class)
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise PermanentError("libav has no decoder for its video stream", error_class=error_class)
    return max(known, key=_preference)


def _preference(stream: Any) -> tuple[bool, bool, bool, int, int]:
    """Return what is compared: has pixels, is a film, is marked as default, has more pixels, comes first."""
    context = stream.codec_context
    pixels = (context.width or 0) * (context.height or 0)
    picture = stream.frames == 1 or context.name in _STILL_CODECS
    extra = av.stream.Disposition.still_image | av.stream.Disposition.timed_thumbnails
    default = bool(stream.disposition & av.stream.Disposition.default)
    return pixels > 0, not picture and not stream.disposition & extra, default, pixels, -stream.index
