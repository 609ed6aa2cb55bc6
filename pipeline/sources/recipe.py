"""The videos of a recipe (`pipeline.recipe`), fetched again from where they were.

A search costs no request: the recipe has the metadata. Files of its author's disk are looked up by their relative
path below `source.files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.recipe import Recipe, RecipeVideo
from pipeline.sources.base import Candidate, Fetched, Known, ReadySource, unknown
from pipeline.sources.folder import FolderSource
from pipeline.sources.ytdlp_fetch import fetch_url, rights_of
from pipeline.sources.ytdlp_options import connection


class RecipeSource(ReadySource):
    """The videos that a recipe lists."""

    kind = "recipe"

    def __init__(self, source: SourceConfig, rules: RulesConfig) -> None:
        self.recipe = str(Path(source.argument).expanduser().absolute())
        self.files = str(Path(source.files).expanduser().absolute()) if source.files else ""
        self.settle_s = source.settle_s
        self.rules = rules
        self.extra: dict[str, Any] = connection(source, rules)
        self.failures: dict[str, str] = {}
        self.asked: list[str] = []
        self.refused: dict[str, RetryableError] = {}

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield the videos in the order of the recipe; UserError names the line of a malformed one."""
        self.failures, self.asked = {}, [self.recipe]
        for video in Recipe(self.recipe).videos():
            yield self._candidate(video)

    def _candidate(self, video: RecipeVideo) -> Candidate:
        return Candidate(
            video_id=video.video_id,
            extractor=video.extractor,
            native_id=video.native_id,
            url=video.url or str(Path(self.files or ".") / video.native_id),
            query=self.recipe,
            title=video.title or video.native_id,
            channel_id=video.channel_id,
            channel=video.channel,
            licence=video.licence,
            duration_s=video.duration_s,
        )

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video into its folder; PermanentError where it is a file, and no folder of files is named."""
        url = str(video["url"])
        if url.startswith(("http://", "https://")):
            rights = rights_of(video, self.rules)
            return fetch_url(url, folder, config, self.extra, extractor=video.get("extractor"), rights=rights)
        if not self.files:
            raise PermanentError(
                f"it is a file of the recipe's author, {str(video['native_id'])!r}: name the folder that holds your "
                "copy of it with --files DIR (source.files), and run `lampworks retry`",
                error_class="permanent",
            )
        path = Path(self.files) / str(video["native_id"])
        if not path.exists():
            raise PermanentError(
                f"{str(path)!r} is not there: put your copy of the author's file at that place, or name another folder "
                "with --files DIR (source.files), and run `lampworks retry`",
                error_class="permanent",
            )
        return FolderSource(self.files, settle_s=self.settle_s).fetch({**video, "url": str(path)}, folder, config)
