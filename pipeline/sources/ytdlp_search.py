"""Search with yt-dlp: what a page, a feed, a playlist or a search holds, as candidates.

In two phases: first the list, which is cheap (title, duration, channel), then the page of each entry that is wanted.

    search_url("https://example.org/videos", SearchRequest(query="example", config=DownloadConfig()))
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.base import Candidate, site_of
from pipeline.sources.faults import BLOCKING, as_error
from pipeline.sources.patience import Patience
from pipeline.sources.ytdlp_answer import RESULT_S, Answer, Question, answer
from pipeline.sources.ytdlp_candidate import failed

_DEPTH = 3
_LISTS = 10
"""Full lists that one URL may hold, as a channel has one for each of its tabs."""
NO_VIDEOS = "no_videos"
"""Class of a feed that has none: its line is no video, and so no row."""
Wanted = Callable[[Candidate], bool]


def everything(candidate: Candidate) -> bool:
    """Want every entry of a list."""
    return True


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """How a page or a list is searched."""

    query: str
    """Written into the candidates."""
    config: DownloadConfig
    """Time limits."""
    limit: int | None = None
    """Entries taken of a list; None for all."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Options of the source."""
    wanted: Wanted = everything
    """Whether the page of a list's entry is asked for; called with what the list holds of it."""
    refused: dict[str, RetryableError] = field(default_factory=dict)
    """Hosts that refused us (a bot check, too many requests): entries there are skipped. The search adds to it."""
    ask: Callable[[Question], Answer] = answer
    """Answers a question: in a worker process where the pages are of strangers, in this one otherwise."""
    patience: Patience = field(default_factory=Patience)
    """How long all of it may take, and a site that fails slowly."""
    may_be_feed: bool = False
    """Whether the URL may be a feed of a kind that yt-dlp does not read."""

    def question(self, url: str, entry: Mapping[str, Any] | None = None) -> Question:
        """Return the question for a URL, or for an entry of a list."""
        return Question(
            url=url,
            query=self.query,
            config=self.config,
            extra=self.extra,
            limit=self.limit,
            entry=entry or {},
            may_be_feed=self.may_be_feed and entry is None,
        )


def search_url(url: str, request: SearchRequest) -> Iterator[Candidate]:
    """Yield what a page, a feed, a playlist or a search (`ytsearch50:...`) holds, in its own order.

    An entry whose page cannot be read is yielded with what the list holds of it and its `error_class`.

    Raises:
        PermanentError: the URL itself yields nothing and will not, or its server opts out.
        RetryableError: the URL itself yields nothing now.
    """
    found = _asked(request.question(url), site_of("urls", url), request)
    if found.is_feed and not found.entries:
        raise PermanentError("a feed without videos", error_class=NO_VIDEOS)
    for number, candidate in enumerate(_expand(found, request, _DEPTH)):
        if request.limit is not None and number >= _LISTS * request.limit:
            raise PermanentError(
                f"its lists of lists hold more than {number} videos, and no more were taken: raise source.max_results",
                error_class="permanent",
            )
        yield candidate


def _asked(question: Question, site: str, request: SearchRequest) -> Answer:
    """Ask; an answer that is a fault is raised."""
    request.patience.check(site)
    start = time.monotonic()
    found = request.ask(question)
    # a long list is many requests
    request.patience.note(site, time.monotonic() - start - RESULT_S * len(found.entries))
    if found.fault is not None:
        raise as_error(found.fault)
    return found


def _expand(found: Answer, request: SearchRequest, depth: int) -> Iterator[Candidate]:
    if found.video is not None:
        yield found.video
    for listed, entry in found.entries:
        if entry is None:
            yield listed
            return
        if not request.wanted(listed):
            yield listed
            continue
        site = site_of("urls", listed.url)
        try:
            if site in request.refused:
                raise request.refused[site]
            inner = _asked(request.question(listed.url, entry), site, request)
        except (PermanentError, RetryableError) as error:
            if isinstance(error, RetryableError) and error.error_class in BLOCKING:
                request.refused[site] = error
            yield failed(listed, error)
            continue
        if depth > 0:
            yield from _expand(inner, request, depth - 1)
