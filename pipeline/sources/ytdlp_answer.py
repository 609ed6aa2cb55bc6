"""One question to a site, answered by yt-dlp: what a page, a feed or a list holds, as candidates.

A page decides how much work it is: a manifest of one kilobyte can name a billion segments, and a page can make a
search by pattern run for hours. So searches ask in a worker process, whose memory and time are limited
(`asked_answer`). What goes there and comes back is plain.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.utils import YoutubeDLError

from pipeline.config.engine import EngineConfig
from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.base import Candidate
from pipeline.sources.faults import BLOCKING, Fault, as_error, classify, clean_message
from pipeline.sources.feeds import feed_entries
from pipeline.sources.ytdlp import Client, error_of, extractor_of, plain_url, search_client
from pipeline.sources.ytdlp_candidate import candidate_of
from pipeline.sources.ytdlp_read import read_text
from pipeline.workers.ask import Asked
from pipeline.workers.outcome import OUT_OF_MEMORY, TIMEOUT, WORKER_DIED

_TIMEOUTS = 20
RESULT_S = 2.0
"""Seconds that a result of a list may take, beside those of a page."""
_GRACE_S = 30.0
"""Time for an answer that does not wait for a network, after the limit on all of its requests."""
_LISTED = (
    "title", "duration", "channel", "channel_id", "uploader", "uploader_id", "description", "thumbnail", "tags",
    "language", "upload_date", "age_limit", "license",
)  # fmt: skip
"""Fields that a list may hold and the page of an entry may lack."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked."""

    url: str
    """A page, a list, or a search (`ytsearch50:...`)."""
    query: str
    """Written into the candidates."""
    config: DownloadConfig
    """Time limits."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Options of the source."""
    limit: int | None = None
    """Entries taken of a list; None for all."""
    entry: Mapping[str, Any] = field(default_factory=dict)
    """What a list says of this page, with yt-dlp's names; empty where no list named it."""
    may_be_feed: bool = False
    """Whether it may be a feed of a kind that yt-dlp does not read."""

    @property
    def seconds(self) -> float:
        """The longest time for its answer: some pages, and a list by its length."""
        return _TIMEOUTS * self.config.socket_timeout_s + RESULT_S * (self.limit or 0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: a video, the entries of a list, or a fault."""

    video: Candidate | None = None
    entries: tuple[tuple[Candidate, Mapping[str, Any] | None], ...] = ()
    """What the list holds of each entry, and what to ask for its page; None: this is all of it."""
    is_feed: bool = False
    fault: Fault | None = None


def answer(question: Question) -> Answer:
    """Answer a question; a fault of the site is an answer too."""
    try:
        return _answer(question)
    except (PermanentError, RetryableError) as error:
        return Answer(fault=classify(error))


def asking(engine: EngineConfig, question: Question) -> Asked:
    """Return a worker process for questions that are as long as this one, to be entered with `with`."""
    # one that kills its worker does so again
    once = dataclasses.replace(engine, max_attempts=1)
    return Asked(answer, once, deadline_s=question.seconds + _GRACE_S)


def asked_answer(asked: Asked, question: Question) -> Answer:
    """Answer a question in a worker process; its death, deadline and memory are faults."""
    outcome = asked(question)
    if outcome.ok:
        found: Answer = outcome.value
        return found
    known = outcome.error_class in {WORKER_DIED, TIMEOUT, OUT_OF_MEMORY}
    text = outcome.message if known else f"{outcome.error_class}: {outcome.message}"
    return Answer(fault=Fault(outcome.error_class if known else "internal", clean_message(text)))


def _answer(question: Question) -> Answer:
    url, query = question.url, question.query
    client = search_client(question.config, question.extra, question.limit)
    if question.may_be_feed:
        feed = read_text(url, config=question.config, extra=question.extra)
        if feed is not None:
            entries = [{"_type": "url", **entry} for entry in feed_entries(feed[1], feed[0])][: question.limit]
            return Answer(entries=_entries(client, entries, query, url), is_feed=True)
    page = question.entry or {"_type": "url", "url": url, "ie_key": client.keys.get(extractor_of(client, url))}
    with client.within(question.seconds):
        info = _resolved(client, page)
    # yt-dlp knows nothing but the name of a bare file
    bare = bool(info.get("direct"))
    entry = question.entry
    info |= {name: entry[name] for name in _LISTED if entry.get(name) and (bare or not info.get(name))}
    if info.get("_type") in {"playlist", "multi_video"}:
        return Answer(entries=_entries(client, info.get("entries") or (), query, url))
    return Answer(video=candidate_of(info, query=query, url=url))


def _entries(
    client: Client, entries: Iterable[Any], query: str, url: str
) -> tuple[tuple[Candidate, Mapping[str, Any] | None], ...]:
    found: list[tuple[Candidate, Mapping[str, Any] | None]] = []
    for entry in entries:
        if not entry:
            continue
        if entry.get("_type") not in {"url", "url_transparent"}:
            # a page with several videos: a download of the page gives the first
            found.append((candidate_of(entry, query=query, url=url), None))
            break
        found.append((listed_candidate(client, entry, query, url), YoutubeDL.sanitize_info(dict(entry))))
    return tuple(found)


def _resolved(client: Client, entry: Mapping[str, Any]) -> dict[str, Any]:
    warnings: deque[str] = client.params["logger"].warnings
    warnings.clear()
    try:
        info = client.process_ie_result(dict(entry), download=False)
    except (YoutubeDLError, OSError) as error:
        raise error_of(error) from error
    except (PermanentError, RetryableError, MemoryError):
        raise
    except Exception as error:  # a bug of an extractor raises any type; it costs this item only
        raise PermanentError(f"{type(error).__name__}: {error}", error_class="extractor_bug") from error
    if not info:
        raise PermanentError("yt-dlp found nothing there", error_class="permanent")
    if not (info.get("formats") or info.get("url") or info.get("entries")):
        for refusal in map(classify, map(YoutubeDLError, warnings)):
            if refusal.error_class in BLOCKING:
                raise as_error(refusal)
    return dict(info)


def listed_candidate(client: Client, entry: Mapping[str, Any], query: str, url: str) -> Candidate:
    """Return what a list holds of an entry, under the id that its page will have if the URL tells it."""
    link = plain_url(entry.get("url") or entry.get("webpage_url") or url)
    key = entry.get("ie_key") or entry.get("extractor_key")
    known = {"extractor_key": key} if key else _identity(client, link)
    return dataclasses.replace(candidate_of({**entry, **known}, query=query, url=link), listed=True)


def _identity(client: Client, url: str) -> dict[str, str]:
    name = extractor_of(client, url)
    key = client.keys.get(name, "Generic")
    native = "" if name == "generic" else client._ies[key].get_temp_id(url) or ""
    return {"extractor_key": key, "id": native}


def missing_candidate(
    url: str, *, query: str, config: DownloadConfig, extra: Mapping[str, Any] | None = None
) -> Candidate:
    """Return a candidate from a URL alone, under the id that its page will have if the URL tells it."""
    url = plain_url(url)
    return listed_candidate(search_client(config, extra), {"url": url}, query, url)
