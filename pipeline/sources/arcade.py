"""The embedded source: games played on this machine, published on loopback, searched and fetched by yt-dlp.

Entering it records what the home lacks (a minute for the demo's videos) and starts the site. Rows must not depend on
the port that the site got, so they name videos by a host that never resolves, `http://arcade.invalid/watch/<id>`,
and `fetch` asks the running site instead.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.arcade.pages import thumbnail_url, watch_url
from pipeline.arcade.platformer import ACTIONS
from pipeline.arcade.record import record_arcade
from pipeline.arcade.site import ArcadeSite
from pipeline.arcade.truth import ACTIONS_FPS, read_truth
from pipeline.config.source import ArcadeConfig, DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.ids import video_id_of
from pipeline.progress import ProgressCallback
from pipeline.sources.base import Candidate, Fetched, Known, unknown
from pipeline.sources.ytdlp_fetch import fetch_url
from pipeline.sources.ytdlp_options import arcade_options
from pipeline.sources.ytdlp_search import SearchRequest, search_url
from pipeline.storage.home import Home

CANONICAL_SITE = "http://arcade.invalid"


class ArcadeSource:
    """The embedded source of a home; workers get the address of the site that the parent serves."""

    kind = "arcade"

    def __init__(
        self,
        config: ArcadeConfig,
        home: Home,
        *,
        workers: int | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> None:
        self.config, self.home, self.workers = config, home, workers
        self.url = ""
        self.failures: dict[str, str] = {}
        self.refused: dict[str, RetryableError] = {}
        self.asked: list[str] = []
        self.site: ArcadeSite | None = None
        self._on_progress = on_progress

    def __getstate__(self) -> dict[str, Any]:
        # threads and listeners stay with the process that entered; the address is all that a worker needs
        return {**self.__dict__, "site": None, "_on_progress": None}

    def __enter__(self) -> Self:
        record_arcade(self.config, self.home.arcade, workers=self.workers, on_progress=self._on_progress)
        self.site = ArcadeSite(self.home.arcade).__enter__()
        self.url = self.site.url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.site is not None:
            self.site.__exit__(kind, error, trace)
        self.site, self.url = None, ""

    @property
    def extra(self) -> dict[str, Any]:
        """Options of yt-dlp's client: the extractor of the site, and its address."""
        return arcade_options(self.url)

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield the feed of a round (None, and rounds past the last: all there is), in the feed's order."""
        assert self.url, "enter the source first"
        number = self.config.rounds if round is None else min(round, self.config.rounds)
        query = f"{CANONICAL_SITE}/feed/{number}.xml"
        self.asked = [query]

        def wanted(candidate: Candidate) -> bool:
            # the site is this machine: what the rules will reject is asked too, so that the rules have all there is
            return not known(_canonical(candidate, self.url))

        feed = f"{self.url}/feed/{number}.xml"
        request = SearchRequest(query=query, config=DownloadConfig(), extra=self.extra, wanted=wanted)
        for candidate in search_url(feed, request):
            yield _canonical(candidate, self.url)

    def thumbnail(self, video: Mapping[str, Any]) -> str:
        """Return where the running site serves a video's picture."""
        return thumbnail_url(self.url, str(video["native_id"]))

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video from the running site into its folder."""
        native_id = str(video["native_id"])
        if not re.fullmatch(r"[A-Za-z0-9_-]{11}", native_id):
            raise PermanentError(f"{native_id!r} is no id of the embedded source", error_class="permanent")
        fetched = fetch_url(watch_url(self.url, native_id), folder, config, extra=self.extra, extractor="arcade")
        actions = self._actions(native_id) if config.actions == "keep" else None
        return dataclasses.replace(fetched, actions=actions)

    def _actions(self, native_id: str) -> bytes | None:
        """Return the true actions of a recording as a sidecar; None where it is no game of ours."""
        truth = read_truth(self.home.arcade, native_id)
        if truth is None or truth.actions is None:
            return None
        rows = (
            {"t": step / ACTIONS_FPS, "action": ACTIONS[action]} for step, action in enumerate(truth.actions.tolist())
        )
        return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _canonical(candidate: Candidate, site: str) -> Candidate:
    """Return a candidate without the site's port; one whose page failed gets the id that its success would have."""
    url = candidate.url.replace(site, CANONICAL_SITE, 1)
    native_id = url.rsplit("/", 1)[-1]
    thumbnail = candidate.thumbnail and candidate.thumbnail.replace(site, CANONICAL_SITE, 1)
    return dataclasses.replace(
        candidate,
        url=url,
        extractor="arcade",
        native_id=native_id,
        video_id=video_id_of("arcade", native_id, url),
        thumbnail=thumbnail,
    )
