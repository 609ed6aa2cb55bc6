"""Pictures for the spot check: thumbnails from the sites, or a frame of a file in a folder.

Thumbnails are requested as politely as metadata: by the same client, one at a time, a limited number. Each picture is
decoded, scaled down and re-encoded, so no byte of a stranger's file gets into the page.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.regular_file import open_regular
from pipeline.search.spot_check_choice import Row
from pipeline.sources import open_source
from pipeline.sources.faults import RETRYABLE, clean_message
from pipeline.sources.folder_fetch import path_of
from pipeline.workers.ask import Asked
from pipeline.workers.engine import make_engine
from pipeline.workers.outcome import Outcome

_MAX_FETCHED = 240
_PAUSE_S = 0.2
_FETCHING_S = 120.0
_FRAME_DEADLINE_S = 60.0
_GRACE_S = 30.0
_WIDTH, _HEIGHT = 192, 108
_MAX_PIXELS = 40_000_000


@dataclass(frozen=True)
class Picture:
    """The picture of one video."""

    uri: str = ""
    """A JPEG as a data URI; empty where there is none."""
    why_none: str = ""
    """Why there is no picture."""


def pictures_of(job: Job, rows: Mapping[str, Row], before: Mapping[str, str]) -> dict[str, Picture]:
    """Return a picture for each row of `videos`, by `video_id`.

    Args:
        job: the source whose videos are shown, and how it is reached.
        rows: by `video_id`.
        before: pictures of the last sheet, as data URIs by `video_id`: they are not fetched again.
    """
    found = {name: Picture(before[name]) for name in rows if before.get(name)}
    missing = {name: row for name, row in rows.items() if name not in found}
    if missing:
        with Progress("spot check", total=len(missing), unit="pictures", on_progress=job.on_progress) as progress:
            draw = _frames if job.config.source.kind == "folder" else _fetched
            for name, picture in draw(job, missing):
                found[name] = picture
                progress.advance()
    return {name: found[name] for name in rows}


def _fetched(job: Job, rows: Mapping[str, Row]) -> Iterator[tuple[str, Picture]]:
    """Yield ids and the pictures that their sites serve."""
    # imported here, as in the worker: yt-dlp takes half a second to import, and a folder's pictures need none of it
    from pipeline.sources.arcade import ArcadeSource

    refused: set[str] = set()
    give_up = time.monotonic() + _FETCHING_S
    download = job.config.download
    # in a worker process: a picture that crashes its decoder, or takes too long, costs only itself
    once, deadline_s = dataclasses.replace(job.config.engine, max_attempts=1), download.socket_timeout_s + _GRACE_S
    with (
        open_source(job.config, job.home, job.store.storage_options) as source,
        Asked(_picture_at, once, deadline_s=deadline_s) as asked,
    ):
        for number, (name, row) in enumerate(rows.items()):
            url = source.thumbnail(row) if isinstance(source, ArcadeSource) else str(row["thumbnail"] or "")
            host = _host(url)
            if not url:
                yield name, Picture(why_none="its source names no picture")
            elif number >= _MAX_FETCHED or time.monotonic() > give_up:
                yield name, Picture(why_none="not fetched: the sheet asks for a limited number of pictures")
            elif host in refused:
                yield name, Picture(why_none=f"not fetched: {host} refused an earlier one")
            else:
                left = max(give_up - time.monotonic(), 1.0)
                request = _Request(url, download, getattr(source, "extra", None), min(left, download.socket_timeout_s))
                outcome = asked(request)
                if outcome.error_class in RETRYABLE:
                    refused.add(host)
                yield name, _picture(outcome)
                if host not in ("127.0.0.1", "localhost"):
                    time.sleep(_PAUSE_S)


@dataclass(frozen=True)
class _Request:
    """A picture to fetch."""

    url: str
    config: DownloadConfig
    extra: Mapping[str, Any] | None
    seconds: float
    """The longest time that it may take."""


def _picture_at(request: _Request) -> str:
    """Return a picture from its site, small; PermanentError or RetryableError where there is none."""
    from pipeline.sources.ytdlp_read import read_picture

    data = read_picture(request.url, config=request.config, extra=request.extra, seconds=request.seconds)
    return small_picture(data)


def _picture(outcome: Outcome) -> Picture:
    return Picture(str(outcome.value)) if outcome.ok else Picture(why_none=clean_message(outcome.message))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _frames(job: Job, rows: Mapping[str, Row]) -> Iterator[tuple[str, Picture]]:
    """Yield ids and a frame each, of videos in a folder."""
    local = {name: str(row["url"]) for name, row in rows.items() if not _is_remote(str(row["url"]))}
    for name in rows.keys() - local.keys():
        yield name, Picture(why_none="lies on an object store: a whole video is not fetched for a picture")
    # in a worker process: a file that crashes the decoder costs only its own picture
    engine = make_engine(job.config.engine, workers=1, deadline_s=_FRAME_DEADLINE_S, here=True)
    for (name, _), outcome in engine.run(_frame, list(local.items())):
        yield name, Picture(str(outcome.value)) if outcome.ok else Picture(why_none=f"no frame: {outcome.message}")


def _is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file:")


def _frame(item: tuple[str, str]) -> str:
    """Return a small picture of a file, the frame at a third of it; PermanentError where it has none."""
    from pipeline.clips.thumbnail import frame_at_a_third  # imported here: only workers need the decoder

    path = path_of(item[1])
    try:
        open_regular(path).close()  # a pipe would be waited for
        frame = frame_at_a_third(Path(path))
        if frame is None:
            raise ValueError("no frame could be decoded")
        return _encoded(frame)
    except (OSError, ValueError) as error:  # there is no such file, or no frame of it
        text = clean_message(str(error), [str(path), str(Path(path).parent)])
        raise PermanentError(text or type(error).__name__, error_class="invalid_media") from error


def small_picture(data: bytes) -> str:
    """Return a JPEG, PNG, WebP or GIF, re-encoded as a small JPEG, as a data URI.

    Raises:
        PermanentError: it is no such picture, or has more than 40 million pixels.
    """
    try:
        with warnings.catch_warnings():
            # a large picture is refused below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise PermanentError(f"a picture of {image.width} x {image.height} pixels", error_class="permanent")
                image.draft("RGB", (_WIDTH, _HEIGHT))
                return _encoded(image)
    except PermanentError:
        raise
    except Exception as error:  # Pillow's decoders raise any type on damaged files
        raise PermanentError(f"no picture: {clean_message(str(error))}", error_class="invalid_media") from error


def _encoded(image: Image.Image) -> str:
    """Return a JPEG of at most 192 x 108 pixels as a data URI."""
    image = image.convert("RGB")
    image.thumbnail((_WIDTH, _HEIGHT))
    data = io.BytesIO()
    # from the pixels alone: Pillow would copy the file's comment, profile and EXIF
    Image.fromarray(np.asarray(image)).save(data, "JPEG", quality=72)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
