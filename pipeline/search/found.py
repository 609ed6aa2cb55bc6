"""What one search finds: each video once, with the best metadata that any query returned for it, and its queries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.progress import Progress
from pipeline.search.journal import SearchJournal
from pipeline.search.settled import SettledVideos
from pipeline.sources.base import Candidate, Source
from pipeline.sources.folder import FolderSource, other_id
from pipeline.storage.arrow import is_one_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import TakenDown


@dataclass
class Found:
    """One video that a search found."""

    candidate: Candidate
    """The best metadata: from its page, else from a page that failed, else from a list."""
    queries: list[str]
    """The queries that found it, in order."""


def ask_source(
    source: Source,
    known: SettledVideos,
    hidden: TakenDown,
    journal: SearchJournal,
    round: int | None,
    progress: Progress,
) -> dict[str, Found]:
    """Search a source and return what it offers by `video_id`, in the source's order.

    Args:
        source: entered.
        known: the videos whose pages need not be asked.
        hidden: the tombstones: pages of these videos are not asked, and nothing of them is written to the journal.
        journal: what an unfinished search was answered; this one's answers are added.
        round: which growth of a closed world to see; None for all of it.
        progress: advances by one for each candidate.
    """
    found: dict[str, Found] = {}
    asked: set[str] = set()

    def is_known(candidate: Candidate) -> bool:
        # nor is a page asked twice by two queries of this search, or again after a search that was killed
        if candidate.video_id in asked or candidate.video_id in journal:
            return True
        return hidden.hides(vars(candidate)) or known(candidate)

    for candidate in source.search(round, is_known):
        if candidate.listed and candidate.video_id in journal:
            candidate = dataclasses.replace(journal.answers[candidate.video_id], query=candidate.query)
        one = found.setdefault(candidate.video_id, Found(candidate, []))
        if _quality(candidate) > _quality(one.candidate):
            one.candidate = candidate
        if candidate.query not in one.queries:
            one.queries.append(candidate.query)
        if not candidate.listed:
            asked.add(candidate.video_id)
        if _quality(candidate) == 2 and not hidden.hides(vars(candidate)):
            journal.note(candidate)
        progress.advance()
    return found


def _quality(candidate: Candidate) -> int:
    """Return 2 for metadata from a page, 1 for a page that failed, 0 for the line of a list."""
    if candidate.error_class:
        return 1
    return 0 if candidate.listed else 2


def separate_folders(store: Store, source: FolderSource, found: Mapping[str, Found]) -> dict[str, Found]:
    """Return files under ids of their own where the store has the same relative path from another folder."""
    candidates = [one.candidate for one in found.values()]
    names = [*found, *(other_id(one) for one in candidates)]
    stored = store.read("videos", ["video_id", "url"], is_one_of("video_id", names))
    urls = {str(row["video_id"]): str(row["url"]) for row in stored.to_pylist()}
    return {
        candidate.video_id: Found(candidate, one.queries)
        for candidate, one in zip(source.apart(candidates, urls), found.values(), strict=True)
    }
