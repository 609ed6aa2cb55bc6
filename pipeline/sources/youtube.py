"""YouTube: search queries (those named, and a grid of subjects and actions), channels and playlists.

In two phases: the list of results (title, channel, duration: one request a page), then the full metadata of those
that the rules do not reject by what the list says and that the store does not know. What the list rejects is stored
with what the list said of it. A site that asks for a check against bots is left alone for the rest of the search.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config.engine import EngineConfig
from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.sources.base import Candidate, Fetched, Known, ReadySource, listed_filter, unknown
from pipeline.sources.faults import BLOCKING
from pipeline.sources.patience import Patience
from pipeline.sources.politeness import search_pause_s
from pipeline.sources.ytdlp_answer import asked_answer, asking
from pipeline.sources.ytdlp_fetch import fetch_url, rights_of
from pipeline.sources.ytdlp_options import connection
from pipeline.sources.ytdlp_search import SearchRequest, search_url

_SITE = "https://www.youtube.com"


class YouTubeSource(ReadySource):
    """Search queries, channels, playlists, and watch pages."""

    kind = "youtube"

    def __init__(
        self,
        source: SourceConfig,
        rules: RulesConfig,
        download: DownloadConfig,
        engine: EngineConfig = EngineConfig(),  # noqa: B008 (frozen)
    ) -> None:
        self.source, self.rules, self.download, self.engine = source, rules, download, engine
        self.lists = _lists(source)
        self.extra: dict[str, Any] = {
            "sleep_interval_requests": search_pause_s(self.kind, self.kind, download),
            **connection(source, rules),
        }
        self.failures: dict[str, str] = {}
        self.asked: list[str] = []
        self.refused: dict[str, RetryableError] = {}

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield the results of all lists; one that fails stops the others only where the site refuses us."""
        self.failures, self.asked = {}, []
        plain = SearchRequest(
            query="",
            config=self.download,
            limit=self.source.max_results,
            extra=self.extra,
            wanted=listed_filter(self.source, self.rules, known),
            refused=self.refused,
            patience=Patience(search_s=self.source.max_search_s, slow_s=self.download.socket_timeout_s),
        )
        with asking(self.engine, plain.question("")) as asked:
            yield from self._lists_found(dataclasses.replace(plain, ask=partial(asked_answer, asked)))
        self.asked = [query for query in self.asked if query not in self.failures]

    def _lists_found(self, plain: SearchRequest) -> Iterator[Candidate]:
        refused = self.refused
        for query, url in plain.patience.shared(self.lists.items()):
            if refused:
                why = f"the site refused {self.asked[-1]!r}" if self.asked else str(next(iter(refused.values())))
                self.failures[query] = f"not asked: {why}"
                continue
            self.asked.append(query)
            try:
                yield from search_url(url, dataclasses.replace(plain, query=query))
            except (PermanentError, RetryableError) as error:
                self.failures[query] = str(error)
                if isinstance(error, RetryableError) and error.error_class in BLOCKING:
                    refused[self.kind] = error
            else:
                for refusal in refused.values():
                    self.failures[query] = f"{refusal}: the rest of it was not asked"

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video into its folder."""
        rights = rights_of(video, self.rules)
        return fetch_url(str(video["url"]), folder, config, self.extra, extractor=video.get("extractor"), rights=rights)


def _lists(source: SourceConfig) -> dict[str, str]:
    """Return what yt-dlp is asked for each query, channel and playlist, once each."""
    found = {query: f"ytsearch{source.max_results}:{query}" for query in source.all_queries}
    found |= {name: channel_url(name) for name in source.channels if name.strip()}
    return found | {name: playlist_url(name) for name in source.playlists if name.strip()}


def channel_url(name: str) -> str:
    """Return the list of a channel's videos: `@handle`, `UC...` or a URL; UserError for anything else."""
    text = name.strip().rstrip("/")
    if text.startswith("@"):
        return f"{_SITE}/{text}/videos"
    if text.startswith("UC") and "/" not in text:
        return f"{_SITE}/channel/{text}/videos"
    if not text.startswith(("http://", "https://")):
        raise UserError(f"source.channels holds {name!r}: write @handle, UC... or the channel's URL")
    tabs = ("videos", "streams", "shorts", "playlists", "featured")
    return text if text.rsplit("/", 1)[-1] in tabs else f"{text}/videos"


def playlist_url(name: str) -> str:
    """Return the URL of a playlist: `PL...` or a URL; UserError for anything else."""
    text = name.strip()
    if text.startswith(("http://", "https://")):
        return text
    if not text.isascii() or not text.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"source.playlists holds {name!r}: write PL... or the playlist's URL")
    return f"{_SITE}/playlist?list={text}"
