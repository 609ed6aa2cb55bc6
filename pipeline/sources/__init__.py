"""Sources of videos: the embedded arcade, a folder, a list of URLs or a feed, YouTube, a recipe."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config import Config
from pipeline.sources.base import Candidate, Fetched, Source
from pipeline.storage.home import Home

__all__ = ["Candidate", "Fetched", "Source", "open_source"]


def open_source(config: Config, home: Home, storage_options: Mapping[str, str] | None = None) -> Source:
    """Return the source that `config.source.spec` names, to be entered with `with`.

    Args:
        config: the source, its rules and limits.
        home: local state of the root.
        storage_options: of the store, for a folder on an object store; None means the environment's own.

    Raises:
        UserError: the source's file of cookies is missing or is none.
    """
    kind = config.source.kind
    if kind == "arcade":
        # lazily: the games' engine is needed by this source alone
        from pipeline.sources.arcade import ArcadeSource

        return ArcadeSource(config.arcade, home)
    if kind == "folder":
        from pipeline.sources.folder import FolderSource

        return FolderSource(config.source.argument, storage_options, settle_s=config.source.settle_s)
    if kind == "recipe":
        from pipeline.sources.recipe import RecipeSource

        return RecipeSource(config.source, config.rules)
    if kind == "urls":
        from pipeline.sources.urls import UrlsSource

        return UrlsSource(config.source, config.rules, config.download, config.engine)
    from pipeline.sources.youtube import YouTubeSource

    return YouTubeSource(config.source, config.rules, config.download, config.engine)
