"""Settled videos: those whose page a search need not request again.

A video is settled when it has a batch, or when the same rules rejected it. It is not settled when its metadata is
missing, when it was live, or when it was rejected for a title that it no longer has. The answer comes from a few
columns of `videos` that are read once, in about 100 bytes a video.

    known = SettledVideos(store, rules_version)
    known(candidate)  # True: its page need not be requested
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import Any

import pyarrow as pa

from pipeline.rules import NO_METADATA
from pipeline.sources.base import Candidate
from pipeline.sources.faults import PRIVATE_ADDRESS, RETRYABLE
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

_COLUMNS = ("video_id", "title", "batch", "rule", "rules_version")
# a refused address costs no request, and may be allowed by now
_ASK_AGAIN = ("live:", *(NO_METADATA + name for name in (*sorted(RETRYABLE), PRIVATE_ADDRESS)))
_BY_TITLE = ("keyword:", "negation:")


class SettledVideos:
    """The settled videos of a store under one version of the rules, read at the first call."""

    def __init__(self, store: Store, rules_version: str) -> None:
        self.store, self.rules_version = store, rules_version

    @cached_property
    def settled(self) -> tuple[Any, Any]:
        """Sorted ids, and for each the title that it was rejected for, or null."""
        parts = [_settled(pa.table(batch), self.rules_version) for batch in self.store.scan("videos", _COLUMNS)]
        schema = pa.schema([("video_id", pa.string()), ("title", pa.string())])
        found = pa.concat_tables([schema.empty_table(), *parts]).sort_by("video_id").combine_chunks()
        return found["video_id"], found["title"]

    def __call__(self, candidate: Candidate) -> bool:
        """Return whether the store has a video's metadata, and a verdict that its page would not change."""
        ids, titles = self.settled
        place = bisect_left(ids, candidate.video_id, key=pa.StringScalar.as_py)
        if place == len(ids) or ids[place].as_py() != candidate.video_id:
            return False
        rejected_for = titles[place].as_py()
        return rejected_for is None or candidate.title in ("", rejected_for)


def _settled(rows: Any, rules_version: str) -> Any:
    """Return the ids of settled rows, with the title of those that were rejected for it."""
    has_batch = pc.is_valid(rows["batch"])
    again: Any = pc.invert(_starts(rows["rule"], _ASK_AGAIN))
    same: Any = pc.equal(rows["rules_version"], pa.scalar(rules_version))
    judged = pc.and_(same.fill_null(False), again)
    # a row without a title comes from a page that was never read, as a listed URL that may later become a feed
    titled: Any = pc.not_equal(rows["title"], pa.scalar(""))
    by_title = pc.and_(pc.invert(has_batch), _starts(rows["rule"], _BY_TITLE))
    titles = pc.if_else(by_title, rows["title"], pa.scalar(None, pa.string()))
    found = pa.table({"video_id": rows["video_id"], "title": titles})
    return found.filter(pc.and_(titled.fill_null(False), pc.or_(has_batch, judged)))


def _starts(rules: Any, prefixes: tuple[str, ...]) -> Any:
    """Return a mask: which rules begin with one of the prefixes."""
    found = pc.starts_with(rules, prefixes[0])
    for prefix in prefixes[1:]:
        found = pc.or_(found, pc.starts_with(rules, prefix))
    return found.fill_null(False)
