"""Fetch with yt-dlp: one video, in its smallest sufficient format, into an empty folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yt_dlp.utils import YoutubeDLError

from pipeline.config.source import DownloadConfig, RulesConfig
from pipeline.errors import PermanentError, RejectedError, RetryableError
from pipeline.outside import clean_bytes, clean_kilobits, clean_pixels, clean_seconds, clean_text
from pipeline.rules import judge_row
from pipeline.sources.base import Fetched
from pipeline.sources.ytdlp import TOOL_VERSION, Client, IsPageError, client_for, error_of, is_file, suffix_of
from pipeline.sources.ytdlp_candidate import candidate_of

_RIGHTS = ("licence", "age_limit", "channel_id", "channel")
Rights = Callable[[Mapping[str, Any]], str | None]


def fetch_url(
    url: str,
    folder: Path,
    config: DownloadConfig,
    extra: Mapping[str, Any] | None = None,
    *,
    extractor: str | None = None,
    rights: Rights | None = None,
) -> Fetched:
    """Fetch the smallest sufficient format of one video into an empty folder; what arrives is not yet verified.

    Args:
        url: a page or a file.
        folder: empty, and this attempt's own.
        config: heights and time limits.
        extra: options of the source.
        extractor: the one that the search found it with, lower case; asking all 1,800 of them first is a quarter of
            the CPU of a small download (measured).
        rights: called with the page's info just before the download; it returns the rule that forbids it, or None.

    Raises:
        RejectedError: the file's server opts out, or the page's info breaks a rule.
        PermanentError: trying again will not help.
        RetryableError: it may; `retry_after_s` is what the site asked for.
    """
    client = client_for(config, {"playlist_items": "1", **(extra or {})})
    client.params["paths"] = {"home": str(folder), "temp": str(folder)}
    gate = _Gate(rights)
    client.params["match_filter"] = gate
    key = _extractor_key(client, extractor, url)
    try:
        info = _file_at(client, url) if key == "Generic" else None
        if info is None:
            info = client.extract_info(url, download=True, ie_key=key)
    except (YoutubeDLError, OSError) as error:
        raise error_of(error, folder) from error
    except (PermanentError, RetryableError):
        raise
    except Exception as error:  # a bug of an extractor raises any type; it costs this video only
        text = f"{type(error).__name__}: {error}"
        raise PermanentError(text, error_class="extractor_bug") from error
    if gate.forbidden:
        raise RejectedError(gate.forbidden, error_class=gate.forbidden.partition(":")[0])
    video = _first_video(info)
    if _is_live(video):
        raise RetryableError("live now or not yet shown", error_class="live")
    for download in video.get("requested_downloads") or ():
        path = Path(str(download.get("filepath")))
        # yt-dlp reports success for files that it skipped or moved too
        if path.is_file() and path.parent == folder:
            return Fetched(
                path=path,
                format=clean_text(download.get("format") or video.get("format") or "", 200),
                duration_claimed_s=clean_seconds(video.get("duration")),
                tool_version=TOOL_VERSION,
                bytes_360p=default_format_bytes(video, 360),
                bytes_720p=default_format_bytes(video, 720),
            )
    raise PermanentError("yt-dlp reported success and left no file", error_class="permanent")


def _file_at(client: Client, url: str) -> dict[str, Any] | None:
    """Download a URL that is a media file by its name; return None where it turns out to be a page.

    The generic extractor would open each file once more for its headers: every other request, and 40 % of the CPU.
    """
    if not is_file(url):
        return None
    suffix = suffix_of(url)
    known = {"id": "media", "title": "media", "url": url, "ext": suffix, "webpage_url": url}
    client.wants_file = True
    try:
        return dict(client.process_ie_result({**known, "extractor": "generic", "extractor_key": "Generic"}))
    except IsPageError:
        return None
    finally:
        client.wants_file = False


def _extractor_key(client: Client, extractor: str | None, url: str) -> str | None:
    key = client.keys.get(extractor or "")
    return key if key and client._ies[key].suitable(url) else None


def default_format_bytes(info: Mapping[str, Any], height: int) -> int | None:
    """Return the bytes of the best format of at most `height` rows, with sound; None where no size is known."""
    formats = [one for one in info.get("formats") or () if isinstance(one, Mapping)]
    sized = [(one, _bytes_of(one, info)) for one in formats]
    pictures = [
        (rows, size, one)
        for one, size in sized
        if size is not None
        and one.get("vcodec") != "none"
        and (rows := clean_pixels(one.get("height")))
        and rows <= height
    ]
    if not pictures:
        return None
    _, size, best = max(pictures, key=lambda row: row[:2])
    if best.get("acodec") == "none":
        sound = [size for one, size in sized if size is not None and one.get("vcodec") == "none"]
        size += max(sound, default=0)
    return size


def _bytes_of(one: Mapping[str, Any], info: Mapping[str, Any]) -> int | None:
    size = clean_bytes(one.get("filesize")) or clean_bytes(one.get("filesize_approx"))
    if not size:
        # kilobits a second
        rate, seconds = clean_kilobits(one.get("tbr")), clean_seconds(info.get("duration"))
        size = clean_bytes(rate * 125 * seconds) if rate and seconds else None
    return size or None


def _first_video(info: Any) -> dict[str, Any]:
    while info and info.get("_type") in {"playlist", "multi_video"}:
        info = next(iter(info.get("entries") or ()), None)
    if not info:
        raise PermanentError("no video there", error_class="permanent")
    return dict(info)


def _is_live(info: Mapping[str, Any]) -> bool:
    return bool(info.get("is_live")) or info.get("live_status") in {"is_live", "is_upcoming"}


class _Gate:
    """The filter that yt-dlp calls before a download; it returns why there must be none."""

    def __init__(self, rights: Rights | None) -> None:
        self.rights, self.forbidden = rights, ""

    def __call__(self, info: Mapping[str, Any], *, incomplete: bool = False) -> str | None:
        if _is_live(info):
            return "live"  # a download would record it until the deadline
        if not incomplete and self.rights is not None:
            self.forbidden = self.rights(info) or ""
        return self.forbidden or None


def rights_of(video: Mapping[str, Any], rules: RulesConfig) -> Rights:
    """Return a function that judges a video's rights by its page at the download, and by its row where that is silent.

    The page may have failed at the search, so that its licence and age limit are known only now; or they changed.
    """

    def judged(info: Mapping[str, Any]) -> str | None:
        page = candidate_of(info, query="", url=str(video.get("url") or ""))
        now = {name: value for name in _RIGHTS if (value := getattr(page, name)) is not None}
        # `_Gate` checks for live streams, which end
        verdict = judge_row({**video, **now, "live_status": None, "rule": None}, rules, words=False)
        return None if verdict.kept else verdict.rule

    return judged
