"""The one frame by which a video is shown: at a third of its length, since an opening is often black or a logo."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
from PIL import Image

from pipeline.clips.geometry import oriented
from pipeline.footage.look import LookReader
from pipeline.footage.stream import video_stream
from pipeline.media import open_media, reading_media

_SHARE = 1 / 3
_MOST_DECODED = 150
"""Most frames decoded after a key frame: where key frames are far apart, the frame that is reached then is used."""


def frame_at_a_third(path: Path, seconds: float | None = None) -> Image.Image | None:
    """Return the frame at a third of a video; None where no frame can be decoded there.

    Args:
        path: a local file; it is not followed to other files or addresses.
        seconds: the video's length where it is known; by default what its container says.

    Raises:
        PermanentError: class `invalid_media`: it is no media file, or has no video stream.
        OSError: there is no such file, or it cannot be opened.
    """
    with reading_media("invalid_media"), open_media(path) as container:
        stream = video_stream(container, "invalid_media")
        stream.codec_context.thread_count = 1
        looks = LookReader(stream)
        if seconds is None:
            seconds = (container.duration or 0) / av.time_base
        target = stream.start_time or 0
        if stream.time_base and seconds > 0:
            target += int(seconds * _SHARE / stream.time_base)
            container.seek(target, stream=stream)  # to the key frame before it
        found = None
        for found in itertools.islice(container.decode(stream), _MOST_DECODED):
            if found.pts is None or found.pts >= target:
                break
        if found is None:
            return None
        picture = oriented(np.asarray(found.to_image()), looks.of(found).orientation)
        return Image.fromarray(np.ascontiguousarray(picture))
