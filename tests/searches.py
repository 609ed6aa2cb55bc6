"""A source whose candidates a test changes between searches, and what those searches leave in a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pipeline.config import Config, RulesConfig, SourceConfig
from pipeline.errors import RetryableError
from pipeline.job import Job
from pipeline.search.search import SearchReport, search_videos
from pipeline.sources.base import Candidate, Known, unknown
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RULES = RulesConfig(keywords=("platformer",), action_words=("speedrun",), negations=("movie",))


def candidate(name: str, title: str = "platformer speedrun", query: str = "q", **facts: Any) -> Candidate:
    return Candidate(
        video_id=f"fake-{name}",
        extractor="fake",
        native_id=name,
        url=f"http://x/{name}",
        query=query,
        title=title,
        **facts,
    )


class FakeSource:
    """A world of candidates that a test changes between searches."""

    kind = "youtube"

    def __init__(self) -> None:
        self.world: list[Candidate] = []
        self.failures: dict[str, str] = {}
        self.asked: list[str] = []
        self.refused: dict[str, RetryableError] = {}
        self.pages: list[str] = []
        self.killed_at: str | None = None

    def __enter__(self) -> FakeSource:
        return self

    def __exit__(self, *error: object) -> None: ...

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Ask the page of each that is not known, and note which."""
        self.pages = []
        for one in self.world:
            listed = dataclasses.replace(one, description="", tags=(), error_class=None, listed=True)
            if known(listed):
                yield listed
            elif one.native_id == self.killed_at:
                raise KeyboardInterrupt
            else:
                self.pages.append(one.native_id)
                yield one


def config(**source: Any) -> Config:
    return Config(source=SourceConfig(**{"spec": "youtube", "batch_size": 2, **source}), rules=RULES)


def search(store: Store, settings: Config | None = None, now: datetime = NOW, **options: Any) -> SearchReport:
    return search_videos(Job(store, settings or config(), home_of(store)), now=now, **options)


def rows(store: Store) -> dict[str, dict[str, Any]]:
    return {row["native_id"]: row for row in store.read("videos").to_pylist()}


def versions(store: Store) -> tuple[int, int]:
    return store.version("videos"), store.version("searches")
