"""Choose the videos of the spot check: a random few that the rules kept and rejected, by keyword.

The choice is by a hash of seed and id, so it hardly moves as the store grows. A video without a keyword stands under
every query that found it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Config
from pipeline.ids import short_hash
from pipeline.rules import NO_KEYWORD, OFF, keyword_of
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

Row = Mapping[str, Any]
"""A row of `videos`, limited to the columns that a sheet shows."""
_COLUMNS = [
    "video_id", "source", "native_id", "url", "title", "channel", "duration_s", "licence", "queries", "verdict", "rule",
    "thumbnail",
]  # fmt: skip
_CANDIDATES = 25
"""Times as many rejected videos are read as are shown, to find those of each keyword."""


@dataclass(frozen=True)
class SheetSection:
    """The videos under one heading."""

    name: str
    """`keyword: platformer`, or `no keyword, found by: QUERY`."""
    kept: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """What a sheet shows."""

    sections: list[SheetSection]
    counted: Counter[str]
    """Videos of the source by rule: `kept:platformer`, `negation:movie`, `duration`."""

    def rows(self) -> dict[str, Row]:
        """Return the rows of all sections by `video_id`, each once."""
        return {row["video_id"]: row for section in self.sections for row in (*section.kept, *section.rejected)}


def choose_videos(store: Store, config: Config, *, per_keyword: int, seed: int) -> Choice:
    """Return the videos that a sheet shows, and how many there are of each rule.

    Args:
        store: its `videos` of the configured source, without those that were taken down.
        config: the source and its rules, which name the sections.
        per_keyword: most kept and most rejected videos of a section.
        seed: another seed chooses other videos.
    """
    drawn, counted = _drawn(store, config, per_keyword, seed)
    return Choice(_sections(drawn, config, per_keyword), counted)


def _drawn(store: Store, config: Config, per_keyword: int, seed: int) -> tuple[list[Row], Counter[str]]:
    """Return of every rule the rows with the smallest hash of seed and id, and how many rows each rule has."""
    hidden = taken_down(store).hidden_videos(store)
    counted: Counter[str] = Counter()
    smallest: dict[str, list[tuple[int, str]]] = {}
    where = pc.field("source") == config.source.kind
    for batch in store.scan("videos", ["video_id", "verdict", "rule"], where):
        columns = (batch[name].to_pylist() for name in ("video_id", "verdict", "rule"))
        for video_id, verdict, rule in zip(*columns, strict=True):
            if video_id in hidden:
                continue
            # kept videos are shown by keyword, whatever their action word
            group = rule.partition("+")[0] if verdict == "kept" else _kind(rule)
            counted[group] += 1
            heap = smallest.setdefault(group, [])
            most = per_keyword if verdict == "kept" and rule != OFF else per_keyword * _CANDIDATES
            item = (-int(short_hash(f"{seed}/{video_id}", 15), 16), video_id)
            if len(heap) < most:
                heapq.heappush(heap, item)
            elif item > heap[0]:
                heapq.heapreplace(heap, item)
    order = {name: number for heap in smallest.values() for number, name in heap}
    rows = store.read("videos", _COLUMNS, is_one_of("video_id", order)).to_pylist()
    return sorted(rows, key=lambda row: (-order[row["video_id"]], row["video_id"])), counted


def _kind(rule: str) -> str:
    """Return a rejecting rule without its value: all videos that are too short are rejected by one rule."""
    return rule.partition(":")[0] if rule.startswith(("duration:", "licence:", "age:", "language:")) else rule


def _sections(rows: Iterable[Row], config: Config, per_keyword: int) -> list[SheetSection]:
    """Return rows by keyword, in the order of the rules, and by query where they have no keyword."""
    found: dict[str, SheetSection] = {}
    for row in rows:
        for name in _names(row, config):
            section = found.setdefault(name, SheetSection(name))
            shown = section.kept if row["verdict"] == "kept" else section.rejected
            if len(shown) < per_keyword:
                shown.append(row)
    order = {f"keyword: {keyword}": number for number, keyword in enumerate(config.rules.keywords)}
    return sorted(found.values(), key=lambda section: (order.get(section.name, len(order)), section.name))


def _names(row: Row, config: Config) -> list[str]:
    rule = str(row["rule"])
    keyword: str | None = None
    if rule.startswith("kept:"):
        keyword = rule.removeprefix("kept:").partition("+")[0]
    elif rule not in (OFF, NO_KEYWORD):
        keyword = keyword_of(row["title"] or "", config.rules)
    return [f"keyword: {keyword}"] if keyword else [f"no keyword, found by: {query}" for query in row["queries"]]
