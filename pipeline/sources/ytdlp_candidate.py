"""Turn yt-dlp's info of a video into a `Candidate`. All of it comes from strangers: texts are cut and cleaned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.errors import PermanentError, RetryableError
from pipeline.ids import GENERIC, video_id_of
from pipeline.outside import clean_age, clean_date, clean_pixels, clean_seconds, clean_text, clean_texts
from pipeline.sources.base import Candidate
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
    extractor = (_text(info, "extractor_key") or _text(info, "ie_key") or "generic").lower()
    native = clean_text(info.get("id"), _TEXT_LENGTH)
    if extractor in GENERIC:
        extractor = "generic"
    else:
        url = clean_text(info.get("webpage_url"), _TEXT_LENGTH) or clean_text(info.get("url"), _TEXT_LENGTH) or url
    url = plain_url(url)
    return Candidate(
        video_id=video_id_of(extractor, native, url),
        extractor=extractor,
        native_id=native[:_TITLE_LENGTH],
        url=url,
        query=query,
        title=_text(info, "title"),
        description=clean_text(info.get("description"), _TEXT_LENGTH),
        tags=clean_texts(info.get("tags"), _TAGS, _TITLE_LENGTH),
        channel_id=_text(info, "channel_id") or _text(info, "uploader_id") or None,
        channel=_text(info, "channel") or _text(info, "uploader") or None,
        duration_s=clean_seconds(info.get("duration")),
        upload_date=clean_date(info.get("upload_date")),
        licence=_text(info, "license") or None,
        age_limit=clean_age(info.get("age_limit")),
        live_status=clean_text(info.get("live_status"), 40) or None,
        language=clean_text(info.get("language"), 40) or None,
        thumbnail=_thumbnail(info),
    )


def _thumbnail(info: Mapping[str, Any]) -> str | None:
    """Return the URL of the smallest picture of at least 160 columns, else of the page's own picture."""
    offered = info.get("thumbnails")
    sized = [
        (width, url)
        for one in (offered[:_TAGS] if isinstance(offered, list | tuple) else ())
        if isinstance(one, Mapping)
        and (url := clean_text(one.get("url"), _TEXT_LENGTH))
        and (width := clean_pixels(one.get("width")))
        and width >= 160
    ]
    url = min(sized)[1] if sized else clean_text(info.get("thumbnail"), _TEXT_LENGTH)
    return plain_url(url) if url.startswith(("http://", "https://")) else None


def _text(info: Mapping[str, Any], name: str) -> str:
    return clean_text(info.get(name), _TITLE_LENGTH)
