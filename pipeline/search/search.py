"""Search a source: what it offers becomes rows of `videos`, each with a verdict, the deciding rule, and a batch.

A search only adds. A video that is found again is the same row with one more query. Its batch never changes, and
neither does the verdict that it was put into the batch with: a downloaded video does not become "rejected" when a list
of words changes. A rejected video may be kept later by other rules. A search that learns nothing writes nothing, and
it does not ask for the page of a video that is settled.

    search_videos(Job(store, config, home))

The steps, a file each: `refusals` (sites that are paused), `found` (ask the source, with `settled` and `journal` to
save requests), `rows` (judge and merge), `batches`, and `records` (the table `searches`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.config import Config
from pipeline.download.circuit_breaker import breakers
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.outside import shown_text
from pipeline.progress import Progress, ProgressCallback, notify
from pipeline.search.batches import assign_batches
from pipeline.search.found import ask_source, separate_folders
from pipeline.search.journal import SearchJournal
from pipeline.search.records import SearchOutcome, current_rules_version, record_searches
from pipeline.search.refusals import breaker_changes, paused_sites
from pipeline.search.rows import fitting_videos, judged_row, known_videos, write_rows
from pipeline.search.settled import SettledVideos
from pipeline.sources import open_source
from pipeline.sources.folder import FolderSource
from pipeline.storage.takedown import taken_down

_TOLD_FAILURES = 10
"""Queries and lines that failed of which each is told; the report has all of them."""


@dataclass(frozen=True)
class SearchReport:
    """Counts of one search, by video."""

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
    notes: tuple[str, ...] = ()
    """What a folder's search left out or took by another way: files that are not read, by their ending; links."""


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
    source.refused.update(paused_sites(before, config.source.kind, moment))
    # a folder and the embedded source cost no requests
    journal = SearchJournal(job.home.search_journal if config.source.kind in {"urls", "youtube"} else None)
    with journal:
        with source, Progress("search", unit="videos", on_progress=job.on_progress) as progress:
            settled = SettledVideos(store, current_rules_version(config))
            found = ask_source(source, settled, taken_down(store), journal, round, progress)
        store.append("breakers", breaker_changes(before, source, config, moment))
        if not found and source.refused:
            # not the user's fault, and it passes: the stages after this one go on with the videos that are there
            return SearchReport(found=0, kept=0, rejected={}, new=0, batches=[], failures=dict(source.failures))
        if not found:
            raise UserError(_nothing_found(config, source.failures))
        notes: tuple[str, ...] = ()
        if isinstance(source, FolderSource):
            found = separate_folders(store, source, found)
            notes = _tell_notes(source, job)
        hidden = taken_down(store)
        visible = {name: one for name, one in found.items() if not hidden.hides(vars(one.candidate))}
        known = known_videos(store, visible, config)
        judged = [judged_row(one, known.get(name), config, moment) for name, one in visible.items()]
        rows = fitting_videos(judged, config)
        new_batches = assign_batches(store, rows, config.source.batch_size, moment)
        version = store.version("videos")
        changed = write_rows(store, rows, known, moment)
        # a dry run writes nothing: its answers stay for the search that follows
        journal.done = not changed or store.version("videos") != version
    empty = [query for query in source.asked if all(query not in one.queries for one in found.values())]
    outcome = SearchOutcome(
        round=round,
        moment=moment,
        rows=rows,
        found=visible,
        empty_queries=empty,
        known=frozenset(known),
        changed=changed,
    )
    record_searches(store, config, outcome)
    _tell_failures(source.failures, job.on_progress)
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
        notes=notes,
    )


def _tell_failures(failures: Mapping[str, str], on_progress: ProgressCallback | None) -> None:
    for query, message in list(failures.items())[:_TOLD_FAILURES]:
        notify(f"search: {shown_text(query)}: {shown_text(message)}", on_progress)
    if len(failures) > _TOLD_FAILURES:
        notify(f"search: {len(failures) - _TOLD_FAILURES} more queries or lines failed", on_progress)


def _tell_notes(source: FolderSource, job: Job) -> tuple[str, ...]:
    """Return the notes of a folder's search, shown on the console where somebody follows the job."""
    if job.on_progress is not None:
        for note in source.notes:
            notify(f"search: {shown_text(note)}", job.on_progress)
    return tuple(source.notes)


def _nothing_found(config: Config, failures: Mapping[str, str]) -> str:
    spec = config.source.spec
    if failures:
        query, message = next(iter(failures.items()))
        return f"source {spec!r} gave nothing: {query!r} failed with: {message}"
    fix = "change source.queries" if config.source.kind == "youtube" else "look whether it holds any video"
    return f"the search of source {spec!r} found nothing: {fix}"
