"""Search: what a source offers becomes rows of `videos`, each with its verdict, the deciding rule, and a batch.

A search only ever adds. A video found again is the same row with one more query; a batch once given never changes,
and neither does the verdict that gave it (a video that was downloaded does not become "rejected" when a list of words
changes; a rejected one may be kept by better rules). A search that learns nothing writes nothing.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc

from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.home import Home
from pipeline.progress import Listener, Progress
from pipeline.rules import OFF, Verdict, judge, rules_version
from pipeline.sources import open_source
from pipeline.sources.base import Candidate
from pipeline.store import Store
from pipeline.takedown import taken_down

_METADATA = (
    "video_id", "extractor", "native_id", "url", "title", "description", "tags", "channel_id", "channel",
    "duration_s", "upload_date", "licence", "age_limit", "live_status", "language", "thumbnail",
)  # fmt: skip
_DECISION = ("verdict", "rule", "rules_version", "batch")


@dataclass(frozen=True)
class SearchReport:
    """What one search saw, counted by video."""

    found: int
    kept: int
    rejected: dict[str, int]
    """Videos by the rule that rejected them."""
    new: int
    """Videos that the store did not know."""
    batches: list[str]
    """Batches that this search made."""
    taken_down: int = 0
    """Videos left out because they, or their channel, were taken down."""
    failures: dict[str, str] = field(default_factory=dict)
    """Queries that failed, with the message."""


def search_videos(
    store: Store,
    config: Config,
    home: Home,
    *,
    round: int | None = None,
    listen: Listener | None = None,
    now: datetime | None = None,
) -> SearchReport:
    """Search the configured source, judge what it offers, and merge it into `videos` and `searches`.

    Args:
        store: the store.
        config: source, rules and batch size.
        home: local state of the root (the embedded source keeps its recordings there).
        round: which growth of a closed world to see; None for all of it.
        listen: hears the progress.
        now: the time to record (UTC); the current time by default.

    Raises:
        UserError: the source is missing, or offers nothing at all.
    """
    moment = now or datetime.now(UTC)
    candidates: dict[str, Candidate] = {}
    queries: dict[str, list[str]] = {}
    source = open_source(config, home)
    with source, Progress("search", unit="videos", listen=listen) as progress:
        for candidate in source.search(round):
            best = candidates.get(candidate.video_id)
            if best is None or (best.error_class and not candidate.error_class):
                candidates[candidate.video_id] = candidate
            asked = queries.setdefault(candidate.video_id, [])
            if candidate.query not in asked:
                asked.append(candidate.query)
            progress.advance()
    if not candidates:
        raise UserError(_nothing_found(config, source.failures))
    known = _known_videos(store, candidates)
    hidden = taken_down(store)
    visible = [one for one in candidates.values() if not hidden.hides(one.video_id, one.channel_id)]
    rows = [_row(one, queries[one.video_id], known.get(one.video_id), config, moment) for one in visible]
    new_batches = _assign_batches(store, rows, config.source.batch_size, moment)
    changed = [row for row in rows if row != known.get(row["video_id"])]
    store.merge("videos", changed, on=["video_id"])
    _record_searches(store, config, round, rows, queries, known, bool(changed), moment)
    return SearchReport(
        found=len(rows),
        kept=sum(row["verdict"] == "kept" for row in rows),
        rejected=dict(Counter(row["rule"] for row in rows if row["verdict"] == "rejected")),
        new=sum(row["video_id"] not in known for row in rows),
        batches=new_batches,
        taken_down=len(candidates) - len(visible),
        failures=dict(source.failures),
    )


def search_is_done(store: Store, config: Config, round: int | None = None) -> bool:
    """Tell whether this round of a closed world was searched already, under the same rules and settings.

    Only the embedded source is closed: a folder or a site may hold something new at any time.
    """
    if config.source.kind != "arcade":
        return False
    version, inputs = _version(config), _inputs(config)
    return any(
        row["round"] == round and row["rules_version"] == version and row["inputs"] == inputs
        for row in store.read("searches", ["source", "round", "rules_version", "inputs"]).to_pylist()
    )


def batches(store: Store) -> list[str]:
    """Return the names of all batches, in order."""
    return sorted(str(name) for name in pc.unique(store.read("videos", ["batch"])["batch"]).to_pylist() if name)


# -- rows ---------------------------------------------------------------------------------------------------------


def _row(
    candidate: Candidate, found_by: list[str], known: Mapping[str, Any] | None, config: Config, moment: datetime
) -> dict[str, Any]:
    fresh = dataclasses.asdict(candidate)
    row: dict[str, Any] = {name: fresh[name] for name in _METADATA}
    row["tags"] = list(candidate.tags)
    row["source"] = config.source.kind
    row["queries"] = found_by
    row["found_at"] = moment
    error_class = candidate.error_class
    if known is not None:
        row["found_at"], row["source"] = known["found_at"], known["source"]
        row["queries"] = [*known["queries"], *(query for query in found_by if query not in known["queries"])]
        if error_class:  # metadata that was once had is better than none
            row |= {name: known[name] for name in _METADATA}
            error_class = None if known["title"] else error_class
        if known["batch"]:
            return row | {name: known[name] for name in _DECISION}
    verdict = _verdict(row["title"], row["description"], error_class, config)
    return row | {
        "verdict": "kept" if verdict.kept else "rejected",
        "rule": verdict.rule,
        "rules_version": _version(config),
        "batch": None,
    }


def _verdict(title: str, description: str, error_class: str | None, config: Config) -> Verdict:
    if not config.source.rules_apply:
        return Verdict(True, OFF)
    verdict = judge(title, description, config.rules)
    if error_class and not verdict.kept:
        # not judged for what it is: the next search asks again
        return Verdict(False, f"no metadata: {error_class}")
    return verdict


def _known_videos(store: Store, candidates: Iterable[str]) -> dict[str, dict[str, Any]]:
    rows = store.read("videos", where=pc.field("video_id").isin(list(candidates)))
    return {row["video_id"]: row for row in rows.to_pylist()}


# -- batches ------------------------------------------------------------------------------------------------------


def _assign_batches(store: Store, rows: list[dict[str, Any]], size: int, moment: datetime) -> list[str]:
    """Give kept videos without a batch new ones, in the order of the source; return the new names."""
    waiting = [row for row in rows if row["verdict"] == "kept" and not row["batch"]]
    if not waiting:
        return []
    names = _new_names(batches(store), moment)
    made = []
    for start in range(0, len(waiting), size):
        made.append(next(names))
        for row in waiting[start : start + size]:
            row["batch"] = made[-1]
    return made


def _new_names(taken: Iterable[str], moment: datetime) -> Iterator[str]:
    """Yield `2026w47-0001` and on: ISO year and week, and a number that goes on from the week's last."""
    year, week, _ = moment.isocalendar()
    prefix = f"{year}w{week:02d}-"
    numbers = [int(name.removeprefix(prefix)) for name in taken if re.fullmatch(rf"{prefix}\d+", name)]
    number = max(numbers, default=0)
    while True:
        number += 1
        yield f"{prefix}{number:04d}"


# -- searches -----------------------------------------------------------------------------------------------------


def _version(config: Config) -> str:
    return rules_version(config.rules) if config.source.rules_apply else OFF


def _inputs(config: Config) -> str:
    """Return a hash of what decides which videos a search sees: not how they are divided into batches."""
    source = dataclasses.replace(config.source, batch_size=1, apply_rules=config.source.rules_apply)
    return fingerprint(source, config.arcade if config.source.kind == "arcade" else None)


def _record_searches(
    store: Store,
    config: Config,
    round: int | None,
    rows: list[dict[str, Any]],
    queries: Mapping[str, list[str]],
    known: Mapping[str, Any],
    changed: bool,
    moment: datetime,
) -> None:
    """Append a row per query, unless this search learned nothing and the last one said the same."""
    records = []
    counted: set[str] = set()
    for query in dict.fromkeys(query for row in rows for query in queries[row["video_id"]]):
        mine = [row for row in rows if query in queries[row["video_id"]]]
        kept = sum(row["verdict"] == "kept" for row in mine)
        new = {row["video_id"] for row in mine} - known.keys() - counted
        counted |= new
        records.append(
            {
                "source": config.source.kind,
                "query": query,
                "round": round,
                "rules_version": _version(config),
                "inputs": _inputs(config),
                "found": len(mine),
                "kept": kept,
                "rejected": len(mine) - kept,
                "new": len(new),
            }
        )
    if not changed:
        told = {_told(row) for row in store.read("searches").to_pylist()}
        records = [row for row in records if _told(row) not in told]
    store.append("searches", [{**row, "search_id": str(uuid.uuid4()), "searched_at": moment} for row in records])


def _told(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("source", "query", "round", "rules_version", "inputs", "found", "kept", "rejected")
    return tuple(row[name] for name in names)


def _nothing_found(config: Config, failures: Mapping[str, str]) -> str:
    spec = config.source.spec
    if failures:
        query, message = next(iter(failures.items()))
        return f"source {spec!r} gave nothing: {query!r} failed with: {message}"
    fix = "change source.queries" if config.source.kind == "youtube" else "look whether it holds any video"
    return f"the search of source {spec!r} found nothing: {fix}"
