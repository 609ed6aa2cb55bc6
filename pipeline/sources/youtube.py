"""YouTube, by search: every query is asked with yt-dlp's own `ytsearch`.

In two phases: the list of results (title, channel, duration: one request a page), then the full metadata of those
whose title passes the rules. What the title rejects is stored with what the list said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.rules import judge_title
from pipeline.sources.base import Candidate, Fetched, ReadySource
from pipeline.sources.ytdlp import fetch_url, search_url

# polite by default: the pauses of yt-dlp's own `-t sleep` preset for requests, and half of those for downloads
_PAUSES = {"sleep_interval_requests": 0.75, "sleep_interval": 5, "max_sleep_interval": 10}


class YouTubeSource(ReadySource):
    """Search queries and watch pages."""

    kind = "youtube"

    def __init__(self, source: SourceConfig, rules: RulesConfig, download: DownloadConfig) -> None:
        self.source, self.rules, self.download = source, rules, download
        self.extra: dict[str, Any] = dict(_PAUSES)
        self.failures: dict[str, str] = {}

    def search(self, round: int | None = None) -> Iterator[Candidate]:
        """Yield the results of all queries; a query that fails stops the others only if all of them do."""
        self.failures = {}
        queries = list(dict.fromkeys(query.strip() for query in self.source.queries if query.strip()))
        for query in queries:
            try:
                yield from search_url(
                    f"ytsearch{self.source.max_results}:{query}",
                    query=query,
                    config=self.download,
                    extra=self.extra,
                    wanted=self._wanted,
                )
            except (PermanentError, RetryableError) as error:
                self.failures[query] = str(error)
                if len(self.failures) == len(queries):
                    raise

    def _wanted(self, title: str) -> bool:
        return not self.source.rules_apply or judge_title(title, self.rules).kept

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video into its folder."""
        return fetch_url(str(video["url"]), folder, config, self.extra)
