"""Make failed items due again: `lampworks retry [--class C] [ID...]`. The next `lampworks run` tries them.

    made = retry_failed(Job(store, config, home), ["folder-level-1-0123456789"], classes=["invalid_media"])
    made.counts  # {"downloads": {"invalid_media": 1}}

A download gets a row `retried`, after which all its attempts count anew. The failed row of a cut, an embedding or a
score is taken away; so is the verdict of a page that could not be read. A cut whose raw file is damaged or gone is
downloaded again, and so is a video whose actions could not be used: it is then cut again, to the same clips.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.clip_spec import clip_spec
from pipeline.download.ledger import download_states
from pipeline.download.sidecars import kept_sidecars
from pipeline.errors import RAW_MISSING, UserError
from pipeline.inspect.deep import Fault
from pipeline.inspect.dropped_actions import dropped_actions
from pipeline.inspect.failed_items import KINDS, FailedItem, failed_items
from pipeline.inspect.find_id import find_id
from pipeline.inspect.mend import mend
from pipeline.job import Job
from pipeline.sources.actions import raw_actions
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.moments import moment_after
from pipeline.storage.rows import sql_texts
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

_DAMAGED = frozenset({RAW_MISSING, "raw_damaged"})


@dataclass(frozen=True)
class Retried:
    """What became due again."""

    items: Sequence[FailedItem]
    not_failed: Sequence[str]
    """Named ids of which nothing failed."""
    left: int = 0
    """Items that failed and were not asked for."""

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Return items by kind and class."""
        return counts_of(self.items)


def counts_of(items: Collection[FailedItem]) -> dict[str, dict[str, int]]:
    """Return how many items there are by kind and class, the most frequent class first."""
    by_kind = {kind: Counter(item.error_class for item in items if item.kind == kind) for kind in KINDS}
    return {
        kind: dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
        for kind, found in by_kind.items()
        if found
    }


def retry_failed(
    job: Job, names: Sequence[str] = (), *, classes: Sequence[str] = (), now: datetime | None = None
) -> Retried:
    """Make failed items due again, and return them; nothing else may write to the store meanwhile.

    Args:
        job: the store, its configuration and its home.
        names: ids of videos or clips, or what `lampworks why` takes for them; none: every item.
        classes: error classes; none: all. Downloads that only wait for their next try are taken where they are named,
            by id or by class.
        now: the time (UTC); by default the present one.

    Raises:
        UserError: no video or clip has a name, or nothing has failed with a class; the message says what there is.
    """
    moment = now or datetime.now(UTC)
    found = failed_items(job.store, job.config, moment)
    ids = [find_id(job.store, name.strip()).id for name in names]
    _check_classes(job.store, found, classes)
    wanted = [
        item
        for item in found
        if (not ids or item.id in ids or item.video_id in ids)
        and (not classes or item.error_class in classes)
        and (not item.waits or ids or classes)
    ]
    _retry_pages(job.store, [item.id for item in wanted if item.kind == "pages"])
    _retry_downloads(job.store, [item.id for item in wanted if item.kind == "downloads"], moment)
    _retry_cuts(job, [item for item in wanted if item.kind == "cuts"])
    _retry_actions(job, [item.id for item in wanted if item.kind == "actions"], moment)
    for rows in _failed_of([item.id for item in wanted if item.kind == "embeddings"]):
        job.store.replace("embeddings", [], where=rows)
    for rows in _failed_of([item.id for item in wanted if item.kind == "scores"]):
        job.store.replace("scores", [], where=rows)
    met = {item.id for item in wanted} | {item.video_id for item in wanted}
    failed = sum(not item.waits for item in found)
    return Retried(wanted, [name for name in ids if name not in met], failed - sum(not item.waits for item in wanted))


def fetch_dropped_actions(job: Job, *, now: datetime | None = None) -> Sequence[str]:
    """Make due again the videos whose actions were dropped when they were fetched, and return their ids.

    The caller is the search: `download.actions` may say `keep` since, or a sidecar was put beside its video.
    """
    video_ids = dropped_actions(job.store, job.config)
    _retry_actions(job, video_ids, now or datetime.now(UTC))
    return video_ids


def _check_classes(store: Store, found: Collection[FailedItem], classes: Sequence[str]) -> None:
    known = Counter(item.error_class for item in found)
    unknown = [name for name in classes if name not in known]
    if not unknown:
        return
    listed = ", ".join(f"{count} {name}" for name, count in sorted(known.items()))
    there = f"these classes have: {listed}" if known else "nothing has failed, and nothing waits"
    raise UserError(f"--class {', '.join(unknown)}: no failed item of {store.root} has it; {there}")


def _retry_pages(store: Store, video_ids: Sequence[str]) -> None:
    if not video_ids:
        return
    rows = store.read("videos", SCHEMAS["videos"].names, is_one_of("video_id", video_ids)).to_pylist()
    # a verdict of no rules settles nothing: the next search asks for the page
    store.merge("videos", [row | {"rules_version": None} for row in rows], on=["video_id"], settled="batch")


def _retry_downloads(store: Store, video_ids: Sequence[str], now: datetime) -> None:
    if not video_ids:
        return
    columns = ["video_id", "batch", "attempt", "finished_at", "site"]
    last: dict[str, dict[str, Any]] = {}
    rows = store.read("downloads", columns, is_one_of("video_id", video_ids)).sort_by("finished_at").to_pylist()
    for row in rows:
        row["attempt"] = max(row["attempt"] or 0, last.get(row["video_id"], row)["attempt"] or 0)
        last[row["video_id"]] = row
    store.append(
        "downloads",
        [
            {
                **row,
                "attempt_id": str(uuid.uuid4()),
                "state": "retried",
                "started_at": now,
                # after every attempt, also where the clock was set back
                "finished_at": moment_after(row["finished_at"], now),
            }
            for row in last.values()
        ],
    )


def _retry_cuts(job: Job, items: Sequence[FailedItem]) -> None:
    if not items:
        return
    spec = clip_spec(job.config.clips)
    faults = [fault for item in items if item.error_class in _DAMAGED for fault in _lost_raw(job.store, item)]
    if faults:
        mend(job.store, job.home, faults)
    ids = sql_texts([item.id for item in items])
    job.store.replace("clippings", [], where=f"clip_spec = '{spec}' AND state = 'failed' AND video_id IN ({ids})")


def _retry_actions(job: Job, video_ids: Sequence[str], now: datetime) -> None:
    if not video_ids:
        return
    _retry_downloads(job.store, video_ids, now)
    where = f"clip_spec = '{clip_spec(job.config.clips)}' AND video_id IN ({sql_texts(list(video_ids))})"
    job.store.replace("clippings", [], where=where)


def _lost_raw(store: Store, item: FailedItem) -> list[Fault]:
    """Return the raw file of a video, or its sidecar, as a fault where it is damaged or missing."""
    [batch] = store.read("videos", ["batch"], pc.field("video_id") == item.id)["batch"].to_pylist()
    state = download_states(store, batch)[item.id]
    if state.path is None:
        return []
    sidecar = next((key for key in raw_actions(state.path) if store.exists(key)), raw_actions(state.path)[0])
    expected = {state.path: state.sha256, sidecar: kept_sidecars(store, batch).get(state.path)}
    named = {"video_id": item.id, "batch": batch, "sha256": state.sha256, "path": state.path}
    for key, sha256 in expected.items():
        if sha256 is not None and not store.exists(key):
            return [Fault("raw", key, "it is gone", "", "", named)]
        if sha256 is not None and store.sha256(key) != sha256:
            return [Fault("raw", key, "it is not the file that was fetched", "", "", named)]
    return []


def _failed_of(clip_ids: Sequence[str]) -> Iterator[str]:
    """Yield conditions that the failed rows of clips meet, a thousand clips each."""
    for start in range(0, len(clip_ids), 1000):
        yield f"error_class IS NOT NULL AND clip_id IN ({sql_texts(clip_ids[start : start + 1000])})"
