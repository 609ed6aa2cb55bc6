"""Sources of videos: the embedded arcade, a folder, a list of URLs or a feed, YouTube."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.home import Home
from pipeline.sources.base import Candidate, Fetched, Source

__all__ = ["Candidate", "Fetched", "Source", "open_source"]


def open_source(config: Config, home: Home) -> Source:
    """Return the source that `config.source.spec` names, to be entered with `with`."""
    kind = config.source.kind
    if kind == "arcade":
        # lazily: the games' engine is needed by this source alone
        from pipeline.sources.arcade import ArcadeSource

        return ArcadeSource(config.arcade, home)
    if kind == "folder":
        from pipeline.sources.folder import FolderSource

        return FolderSource(config.source.argument)
    if kind == "urls":
        from pipeline.sources.urls import UrlsSource

        return UrlsSource(config.source, config.download)
    from pipeline.sources.youtube import YouTubeSource

    return YouTubeSource(config.source, config.rules, config.download)
