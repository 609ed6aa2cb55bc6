"""Search: what a source offers becomes rows of `videos`, each with its verdict, the deciding rule, and a batch.

A search only ever adds. A video found again is the same row with one more query; a batch once given never changes,
and neither does the verdict that gave it (a video that was downloaded does not become "rejected" when a list of words
changes; a rejected one may be kept by better rules). A search that learns nothing writes nothing, and asks no page
whose video it knows.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.config import Config, fingerprint
from pipeline.download.circuit_breaker import Breaker, breakers, opened, resting
from pipeline.errors import RetryableError, UserError
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.rules import NO_METADATA, OPT_OUT, Verdict, judge_row, rules_version
from pipeline.search.journal import SearchJournal
from pipeline.search.settled import SettledVideos
from pipeline.sources import open_source
from pipeline.sources.base import Candidate, Source
from pipeline.sources.faults import clean_message
from pipeline.sources.folder import FolderSource, other_id
from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_METADATA = (
    "video_id", "extractor", "native_id", "url", "title", "description", "tags", "channel_id", "channel",
    "duration_s", "upload_date", "licence", "age_limit", "live_status", "language", "thumbnail",
)  # fmt: skip
_DECISION = ("verdict", "rule", "rules_version", "batch")
_WIDE = {"description", "tags"}
_NARROW = [name for name in SCHEMAS["videos"].names if name not in _WIDE]
"""All but what makes a table of a million videos large: enough to see whether a row changes."""

_LONGEST_SEARCH = timedelta(days=2)


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
    """Queries that failed, with the message, and those that found nothing."""
    unknown_licence: int = 0
    """Kept videos whose source names no licence."""


def search_videos(job: Job, *, round: int | None = None, now: datetime | None = None) -> SearchReport:
    """Search the configured source, judge what it offers, and merge it into `videos` and `searches`.

    Args:
        job: the store, the source with its rules and batch size, and the home (the embedded source keeps its
            recordings there).
        round: which growth of a closed world to see; None for all of it.
        now: the time to record (UTC); the current time by default.

    Raises:
        UserError: the source is missing, or offers nothing at all.
    """
    store, config = job.store, job.config
    moment = now or datetime.now(UTC)
    source = open_source(config, job.home, store.storage_options)
    before = breakers(store)
    source.refused.update(_resting_sites(before, config.source.kind, moment))
    # a folder, and games on this machine, cost no request
    journal = SearchJournal(job.home.search_journal if config.source.kind in {"urls", "youtube"} else None)
    with journal:
        with source, Progress("search", unit="videos", on_progress=job.on_progress) as progress:
            found = _ask(source, SettledVideos(store, _version(config)), journal, round, progress)
        store.append("breakers", _opened(before, source, config, moment))
        if not found and source.refused:
            # not the user's fault, and over in a while: what is there goes on without what is new
            return SearchReport(found=0, kept=0, rejected={}, new=0, batches=[], failures=dict(source.failures))
        if not found:
            raise UserError(_nothing_found(config, source.failures))
        if isinstance(source, FolderSource):
            found = _apart(store, source, found)
        hidden = taken_down(store)
        visible = {name: one for name, one in found.items() if not hidden.hides(name, one.candidate.channel_id)}
        known = _known_videos(store, visible, config)
        rows = [_row(one, known.get(name), config, moment) for name, one in visible.items()]
        new_batches = _assign_batches(store, rows, config.source.batch_size, moment)
        version = store.version("videos")
        changed = _write(store, rows, known, moment)
        # a look at what a search would find writes nothing: the search itself then asks no page again
        journal.done = not changed or store.version("videos") != version
    empty = [query for query in source.asked if all(query not in one.queries for one in found.values())]
    _record_searches(store, config, round, rows, visible, empty, known, changed, moment)
    kept = [row for row in rows if row["verdict"] == "kept"]
    return SearchReport(
        found=len(rows),
        kept=len(kept),
        rejected=dict(Counter(row["rule"] for row in rows if row["verdict"] == "rejected")),
        new=sum(row["video_id"] not in known for row in rows),
        batches=new_batches,
        taken_down=len(found) - len(visible),
        failures={**dict.fromkeys(empty, "found nothing"), **source.failures},
        unknown_licence=sum(not row["licence"] for row in kept),
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


# -- sites that refuse --------------------------------------------------------------------------------------------


def _resting_sites(known: Mapping[str, Breaker], kind: str, now: datetime) -> dict[str, RetryableError]:
    """Return the sites that refused us and rest: a search does not ask them either."""
    mine = known if kind == "urls" else {kind}
    return {
        site: RetryableError(
            f"{site} refused ({known[site].message}) and rests until {until:%Y-%m-%d %H:%M} UTC",
            error_class=str(known[site].error_class),
        )
        for site, until in resting(known, mine, now).items()
    }


def _opened(before: Mapping[str, Breaker], source: Source, config: Config, now: datetime) -> list[dict[str, Any]]:
    """Return the changes of breakers by what a search met itself."""
    met = {site if source.kind == "urls" else source.kind: refusal for site, refusal in source.refused.items()}
    return [
        opened(
            before.get(site),
            site,
            refusal.error_class,
            clean_message(str(refusal)),
            refusal.retry_after_s,
            config.download,
            now,
        ).row()
        for site, refusal in met.items()
        if site not in before or before[site].state_at(now) != "open"
    ]


# -- what the source offers ---------------------------------------------------------------------------------------


@dataclass
class _Found:
    """One video of this search: the best that was said of it, and who found it."""

    candidate: Candidate
    queries: list[str]


def _ask(
    source: Source, known: SettledVideos, journal: SearchJournal, round: int | None, progress: Progress
) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    asked: set[str] = set()

    def is_known(candidate: Candidate) -> bool:
        # what an earlier query of this search asked is not asked again either, nor what one that was killed asked
        return candidate.video_id in asked or candidate.video_id in journal or known(candidate)

    for candidate in source.search(round, is_known):
        if candidate.listed and candidate.video_id in journal:
            candidate = dataclasses.replace(journal.answers[candidate.video_id], query=candidate.query)
        one = found.setdefault(candidate.video_id, _Found(candidate, []))
        if _quality(candidate) > _quality(one.candidate):
            one.candidate = candidate
        if candidate.query not in one.queries:
            one.queries.append(candidate.query)
        if not candidate.listed:
            asked.add(candidate.video_id)
        if _quality(candidate) == 2:
            journal.note(candidate)
        progress.advance()
    return found


def _quality(candidate: Candidate) -> int:
    """Return 2 for metadata, 1 for a page that failed, 0 for what a list says."""
    if candidate.error_class:
        return 1
    return 0 if candidate.listed else 2


def _apart(store: Store, source: FolderSource, found: Mapping[str, _Found]) -> dict[str, _Found]:
    """Give files ids of their own where another folder has the same relative path."""
    candidates = [one.candidate for one in found.values()]
    names = [*found, *(other_id(one) for one in candidates)]
    stored = store.read("videos", ["video_id", "url"], _among(names))
    urls = {str(row["video_id"]): str(row["url"]) for row in stored.to_pylist()}
    return {
        candidate.video_id: _Found(candidate, one.queries)
        for candidate, one in zip(source.apart(candidates, urls), found.values(), strict=True)
    }


# -- rows ---------------------------------------------------------------------------------------------------------


def _row(found: _Found, known: Mapping[str, Any] | None, config: Config, moment: datetime) -> dict[str, Any]:
    candidate = found.candidate
    fresh = vars(candidate)
    row: dict[str, Any] = {name: fresh[name] for name in _METADATA}
    row["tags"] = list(candidate.tags)
    row["source"] = config.source.kind
    row["queries"] = found.queries
    row["found_at"] = moment
    error_class = candidate.error_class
    if known is not None:
        row["found_at"], row["source"] = known["found_at"], known["source"]
        row["queries"] = [*known["queries"], *(query for query in found.queries if query not in known["queries"])]
        if error_class or candidate.listed:  # metadata that was once had is better than none
            row |= {name: known[name] for name in _METADATA}
            if not known["rule"].startswith(NO_METADATA):
                error_class = None
        if known["batch"] or (candidate.listed and known["rules_version"] == _version(config)):
            return row | {name: known[name] for name in _DECISION}
        if error_class is None and (candidate.error_class or candidate.listed):
            row["rule"] = known["rule"]  # an opt-out that only the server could tell
    verdict = _verdict(row, error_class, candidate.message, config)
    return row | {
        "verdict": "kept" if verdict.kept else "rejected",
        "rule": verdict.rule,
        "rules_version": _version(config),
        "batch": None,
    }


def _verdict(row: Mapping[str, Any], error_class: str | None, message: str, config: Config) -> Verdict:
    words = config.source.rules_apply
    if error_class == "opt_out":
        return Verdict(False, f"{OPT_OUT}{message.rpartition(':')[2].strip()}")
    verdict = judge_row(row, config.rules, words=words)
    if error_class is None or (verdict.kept and not words) or verdict.rule.startswith(("live:", "blocked:")):
        return verdict
    # not judged for what it is: the next search asks again where that may help
    return Verdict(False, f"{NO_METADATA}{error_class}")


def _known_videos(store: Store, found: Mapping[str, _Found], config: Config) -> dict[str, dict[str, Any]]:
    """Return the rows of videos that the store knows; without description and tags where nothing can change them."""
    narrow = store.read("videos", _NARROW, _among(found))
    known = {row["video_id"]: {**dict.fromkeys(_WIDE), **row} for row in narrow.to_pylist()}
    version = _version(config)
    wide = [
        name
        for name, row in known.items()
        if not found[name].candidate.listed
        or not (row["batch"] or (row["rules_version"] == version and row["verdict"] == "rejected"))
    ]
    if wide:
        # in small steps: a step holds every description of its rows until it is filtered
        for rows in store.scan("videos", SCHEMAS["videos"].names, _among(wide), batch_rows=4096):
            known |= {row["video_id"]: row for row in rows.to_pylist()}
    return known


def _among(video_ids: Iterable[str]) -> pc.Expression:
    return pc.field("video_id").isin(pa.array(list(video_ids), pa.string()))


def _write(store: Store, rows: Iterable[dict[str, Any]], known: Mapping[str, dict[str, Any]], moment: datetime) -> bool:
    """Insert rows that are new, update those that changed, and tell whether there were any."""
    new, changed, found_again = [], [], {}
    for row in rows:
        before = known.get(row["video_id"])
        if before is None:
            new.append(row)
        elif {**row, "queries": None} != {**before, "queries": None}:
            changed.append(row)
        elif row["queries"] != before["queries"]:
            found_again[str(row["video_id"])] = [name for name in row["queries"] if name not in before["queries"]]
    store.merge("videos", changed, on=["video_id"], settled="batch")
    store.add_to_lists("videos", "video_id", "queries", found_again)
    # the store was asked a moment ago: only a search that ran beside this one can have added the same
    store.merge("videos", new, on=["video_id"], since=("found_at", moment - _LONGEST_SEARCH), settled="batch")
    return bool(new or changed or found_again)


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
    return rules_version(config.rules, words=config.source.rules_apply)


def _inputs(config: Config) -> str:
    """Return a hash of what decides which videos a search sees: not how they are divided into batches, or reached."""
    source = dataclasses.replace(
        config.source,
        batch_size=1,
        apply_rules=config.source.rules_apply,
        cookies="",
        proxy="",
        max_rate_kb_s=0.0,
        check_certificates=True,
    )
    return fingerprint(source, config.arcade if config.source.kind == "arcade" else None)


def _record_searches(
    store: Store,
    config: Config,
    round: int | None,
    rows: list[dict[str, Any]],
    found: Mapping[str, _Found],
    empty: list[str],
    known: Mapping[str, Any],
    changed: bool,
    moment: datetime,
) -> None:
    """Append a row per query, unless this search learned nothing and the last one said the same."""
    records = []
    counted: set[str] = set()
    by_query: dict[str, list[dict[str, Any]]] = {query: [] for query in empty}
    for row in rows:
        for query in found[row["video_id"]].queries:
            by_query.setdefault(query, []).append(row)
    for query, mine in by_query.items():
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
