"""Videos named by a list: a file with one URL a line (`#` begins a comment), or one feed's or playlist's URL.

Every line may be a page, a media file, a playlist, a channel or a feed (RSS, Atom, JSON Feed). A line that yields
nothing does not stop the others: it becomes a video whose row and download record what is wrong. A line whose video
is settled costs no request.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config.engine import EngineConfig
from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.regular_file import read_regular
from pipeline.sources.base import Candidate, Fetched, Known, ReadySource, listed_filter, site_of, unknown
from pipeline.sources.faults import BLOCKING
from pipeline.sources.patience import Patience
from pipeline.sources.politeness import search_pause_s
from pipeline.sources.ytdlp_answer import asked_answer, asking, missing_candidate
from pipeline.sources.ytdlp_candidate import candidate_of, failed
from pipeline.sources.ytdlp_fetch import fetch_url, rights_of
from pipeline.sources.ytdlp_options import connection
from pipeline.sources.ytdlp_search import NO_VIDEOS, SearchRequest, search_url

_LARGEST_LIST = 64 << 20


class UrlsSource(ReadySource):
    """A list of URLs, expanded by yt-dlp."""

    kind = "urls"

    def __init__(
        self,
        source: SourceConfig,
        rules: RulesConfig,
        download: DownloadConfig,
        engine: EngineConfig = EngineConfig(),  # noqa: B008 (frozen)
    ) -> None:
        argument = source.argument
        self.is_url = argument.startswith(("http://", "https://"))
        self.argument = argument if self.is_url else str(Path(argument).expanduser().absolute())
        self.source, self.rules, self.download, self.engine = source, rules, download, engine
        self.extra: dict[str, Any] = connection(source, rules)
        self.failures: dict[str, str] = {}
        self.asked: list[str] = []
        self.refused: dict[str, RetryableError] = {}
        self._next_request: dict[str, float] = {}

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield the videos of each line, in order; UserError where the list is missing or empty."""
        self.failures, self.asked = {}, [self.argument]
        of_list = listed_filter(self.source, self.rules, known)
        refused = self.refused

        def wanted(candidate: Candidate) -> bool:
            if not of_list(candidate):
                return False
            self._pause(site_of(self.kind, candidate.url))  # the page is requested next
            return True

        request = SearchRequest(
            query=self.argument,
            config=self.download,
            limit=self.source.max_results,
            extra=self.extra,
            wanted=wanted,
            refused=refused,
            patience=Patience(search_s=self.source.max_search_s, slow_s=self.download.socket_timeout_s),
            may_be_feed=True,
        )
        with asking(self.engine, request.question("")) as asked:
            yield from self._lines_found(dataclasses.replace(request, ask=partial(asked_answer, asked)), known)
        for site, refusal in refused.items():
            self.failures.setdefault(site, f"{refusal}: the rest of this site was not asked")

    def _lines_found(self, request: SearchRequest, known: Known) -> Iterator[Candidate]:
        refused = self.refused
        for url, where in request.patience.shared(self._urls()):
            # without asking all 1,800 extractors, which takes 2 ms a line: most URLs belong to none of them
            line = candidate_of({}, query=self.argument, url=url)
            if not known(line):
                line = missing_candidate(url, query=self.argument, config=self.download, extra=self.extra)
            if known(line):
                yield dataclasses.replace(line, listed=True)
                continue
            try:
                site = site_of(self.kind, url)
                if site in refused:
                    raise refused[site]
                self._pause(site)
                yield from search_url(url, request)
            except (PermanentError, RetryableError) as error:
                if isinstance(error, RetryableError) and error.error_class in BLOCKING:
                    refused[site_of(self.kind, url)] = error
                self.failures[url] = f"{where}{error}"
                if error.error_class != NO_VIDEOS:
                    yield failed(line, error)

    def _pause(self, site: str) -> None:
        """Wait until the next request to a site is allowed."""
        pause_s = search_pause_s(self.kind, site, self.download)
        if pause_s:
            time.sleep(max(0.0, self._next_request.get(site, 0.0) - time.monotonic()))
            self._next_request[site] = time.monotonic() + pause_s

    def _urls(self) -> Iterator[tuple[str, str]]:
        """Yield each URL once, with its place (`line 3: `) for messages."""
        if self.is_url:
            yield self.argument, ""
            return
        found: set[str] = set()
        for number, line in enumerate(self._lines(), 1):
            url = line.partition(" #")[0].strip()
            if url and not url.startswith("#") and url not in found:
                found.add(url)
                yield url, f"line {number}: "
        if not found:
            raise UserError(f"source.spec = 'urls:{self.argument}': no URL in it; write one a line")

    def _lines(self) -> list[str]:
        try:
            return read_regular(self.argument, _LARGEST_LIST).decode("utf-8-sig").splitlines()
        except OSError as error:
            why = error.strerror or error
            raise UserError(f"source.spec = 'urls:{self.argument}': the list cannot be read: {why}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"source.spec = 'urls:{self.argument}': the list cannot be read: {error}") from error

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video into its folder."""
        rights = rights_of(video, self.rules)
        return fetch_url(str(video["url"]), folder, config, self.extra, extractor=video.get("extractor"), rights=rights)
