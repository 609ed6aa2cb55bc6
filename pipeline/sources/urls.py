"""Videos named by a list: a file with one URL a line (`#` begins a comment), or one feed's or playlist's URL.

Every line may be a page, a media file, a playlist, a channel or a feed. A line that yields nothing stops no other:
it becomes a video of its own whose download records what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.source import DownloadConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.sources.base import Candidate, Fetched, ReadySource
from pipeline.sources.ytdlp import fetch_url, missing_candidate, search_url


class UrlsSource(ReadySource):
    """A list of URLs, expanded by yt-dlp."""

    kind = "urls"

    def __init__(self, source: SourceConfig, download: DownloadConfig) -> None:
        argument = source.argument
        self.is_url = argument.startswith(("http://", "https://"))
        self.argument = argument if self.is_url else str(Path(argument).expanduser().absolute())
        self.max_results = source.max_results
        self.download = download
        self.failures: dict[str, str] = {}

    def search(self, round: int | None = None) -> Iterator[Candidate]:
        """Yield what the lines hold, in their order; UserError where the list is missing or empty."""
        self.failures = {}
        for url in self._urls():
            try:
                yield from search_url(url, query=self.argument, config=self.download, limit=self.max_results)
            except (PermanentError, RetryableError) as error:
                self.failures[url] = str(error)
                yield missing_candidate(url, query=self.argument, config=self.download, error_class=error.error_class)

    def _urls(self) -> list[str]:
        if self.is_url:
            return [self.argument]
        try:
            text = Path(self.argument).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"source.spec = 'urls:{self.argument}': the list cannot be read: {error}") from error
        lines = (line.partition(" #")[0].strip() for line in text.splitlines())
        urls = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
        if not urls:
            raise UserError(f"source.spec = 'urls:{self.argument}': no URL in it; write one a line")
        return urls

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video into its folder."""
        return fetch_url(str(video["url"]), folder, config)
