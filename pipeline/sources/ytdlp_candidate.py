"""Turn yt-dlp's info of a video into a `Candidate`. All of it comes from strangers: texts are cut and cleaned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.errors import PermanentError, RetryableError
from pipeline.ids import GENERIC, video_id_of
from pipeline.sources.base import Candidate, clean_number, clean_text
from pipeline.sources.faults import clean_message
from pipeline.sources.ytdlp import plain_url

_TITLE_LENGTH, _TEXT_LENGTH, _TAGS = 1000, 20000, 200


def failed(candidate: Candidate, error: PermanentError | RetryableError) -> Candidate:
    """Return a candidate whose page could not be read, with the reason."""
    live = candidate.live_status or ("is_upcoming" if error.error_class == "live" else None)
    return dataclasses.replace(
        candidate, error_class=error.error_class, message=clean_message(str(error)), live_status=live, listed=False
    )


def candidate_of(info: Mapping[str, Any], *, query: str, url: str) -> Candidate:
    """Return yt-dlp's info as a candidate.

    Args:
        info: full (from a page) or flat (from a list).
        query: what found it.
        url: where it was found, if the info names no URL of its own.
    """
    extractor = str(info.get("extractor_key") or info.get("ie_key") or "generic").lower()
    native = str(info.get("id") or "")
    if extractor in GENERIC:
        extractor = "generic"
    else:
        url = str(info.get("webpage_url") or info.get("url") or url)
    url = plain_url(url)
    tags = info.get("tags")
    return Candidate(
        video_id=video_id_of(extractor, native, url),
        extractor=extractor,
        native_id=clean_text(native, _TITLE_LENGTH),
        url=url,
        query=query,
        title=clean_text(info.get("title"), _TITLE_LENGTH),
        description=clean_text(info.get("description"), _TEXT_LENGTH),
        tags=tuple(clean_text(tag, _TITLE_LENGTH) for tag in tags[:_TAGS]) if isinstance(tags, list | tuple) else (),
        channel_id=clean_text(info.get("channel_id") or info.get("uploader_id"), _TITLE_LENGTH) or None,
        channel=clean_text(info.get("channel") or info.get("uploader"), _TITLE_LENGTH) or None,
        duration_s=clean_number(info.get("duration")),
        upload_date=clean_text(info.get("upload_date"), 8) or None,
        licence=clean_text(info.get("license"), _TITLE_LENGTH) or None,
        age_limit=int(age) if (age := clean_number(info.get("age_limit"))) is not None else None,
        live_status=clean_text(info.get("live_status"), 40) or None,
        language=clean_text(info.get("language"), 40) or None,
        thumbnail=_thumbnail(info),
    )


def _thumbnail(info: Mapping[str, Any]) -> str | None:
    """Return the URL of the smallest picture of at least 160 columns, else of the page's own picture."""
    offered = info.get("thumbnails")
    sized = [
        (width, str(one["url"]))
        for one in (offered[:_TAGS] if isinstance(offered, list | tuple) else ())
        if isinstance(one, Mapping) and one.get("url") and (width := clean_number(one.get("width"))) and width >= 160
    ]
    url = min(sized)[1] if sized else str(info.get("thumbnail") or "")
    return plain_url(url) if url.startswith(("http://", "https://")) else None
