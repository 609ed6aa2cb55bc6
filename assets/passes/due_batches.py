"""Which batches have something to download, to cut, to embed or to score, and when a video that waits is due.

Reads by column and makes no Python object per video: a store of a million videos is read within seconds. The driver,
the sensor and `lampworks run --plan` share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from assets.settings import Settings
from pipeline.clip_spec import MEASUREMENTS_VERSION, clip_spec
from pipeline.config import Config
from pipeline.storage.arrow import pc, rows_where, rows_with, unique
from pipeline.storage.store import Store


@dataclass(frozen=True)
class Due:
    """The batches with something to download or to cut, as of one moment."""

    batches: dict[str, str]
    """Batch -> a text that changes with every attempt at it: two requests with the same text ask for the same work."""
    cuts: frozenset[str]
    """Those of them that hold a downloaded video without clips: they can be cut while downloads are on hold."""
    next_at: datetime | None
    """When the next thing becomes due: a retry, or a site that its circuit breaker pauses."""


def collect_due(store: Store, config: Config, now: datetime) -> Due:
    """Return the batches with something to download or to cut, in order.

    A video whose site is paused by the circuit breaker is not due, and neither are videos of another source than the
    configured one.
    """
    from pipeline.download.circuit_breaker import breakers, paused_until
    from pipeline.download.due import due_rows, uncut_rows
    from pipeline.download.ledger import fold_parts

    downloads: set[str] = set()
    cuts: set[str] = set()
    tried: dict[str, int] = {}
    waiting = 0
    times: list[datetime | None] = []
    # in parts and without the paths: there are a million videos
    for part in fold_parts(store, paths=False):
        downloads.update(unique(due_rows(store, config, part, now)["batch"]))
        # a dropped file that another clip format needs is downloaded again first
        cuts.update(unique(uncut_rows(store, config, rows_where(part, pc.invert(part["dropped"])))["batch"]))
        sums = part.group_by("batch").aggregate([("attempts", "sum")]).to_pylist()
        tried.update({row["batch"]: row["attempts_sum"] for row in sums})
        pending, later = _waiting(rows_with(part, "source", config.source.kind), now)
        waiting, times = waiting + pending, [*times, later]
    spec = f"{clip_spec(config.clips)}-{MEASUREMENTS_VERSION}"
    if config.clips.cut_detector != "adaptive":
        spec = f"{spec}-{config.clips.cut_detector}"
    due = {batch: f"{tried[batch]}-{spec}{'' if batch in downloads else '-cut'}" for batch in sorted(downloads | cuts)}
    rests = paused_until(known := breakers(store), known, now)
    return Due(due, frozenset(cuts), _earliest(times, rests if waiting else {}))


def _waiting(mine: pa.Table, now: datetime) -> tuple[int, datetime | None]:
    """Return how many videos are pending, and the earliest time after now at which one of them may be tried."""
    waiting = rows_with(mine, "state", "pending")
    times = waiting["next_try_at"]
    later = times.filter(pc.fill_null(pc.greater(times, pa.scalar(now, times.type)), False))
    return len(waiting), pc.min(later).as_py()


def _earliest(times: Iterable[datetime | None], rests: Mapping[str, datetime]) -> datetime | None:
    return min([time for time in (*times, *rests.values()) if time is not None], default=None)


def waiting_videos(settings: Settings) -> tuple[int, datetime | None]:
    """Return how many videos of the configured source are pending, and when the first may be tried (None: now)."""
    from pipeline.download.circuit_breaker import breakers, paused_until
    from pipeline.download.ledger import fold_parts

    now, store, kind = datetime.now(UTC), settings.store, settings.config.source.kind
    found = [_waiting(rows_with(part, "source", kind), now) for part in fold_parts(store, paths=False)]
    waiting = sum(pending for pending, _ in found)
    rests = paused_until(known := breakers(store), known, now)
    return waiting, _earliest([later for _, later in found], rests if waiting else {})


def unembedded_batches(settings: Settings) -> list[str]:
    """Return the batches that hold a clip without an embedding of the configured network; none where it is off."""
    from classifier.embedding.embed import unembedded_batches

    return unembedded_batches(settings.store, settings.config)


def unscored_batches(settings: Settings) -> list[str]:
    """Return the batches that hold a clip without a score of the current model."""
    from classifier.decision.scoring import batches_to_score
    from pipeline.search.batches import batches

    due = batches_to_score(settings.store)
    return batches(settings.store) if due is None else due


def has_clips(store: Store, config: Config) -> bool:
    """Return whether any clip was cut."""
    where = (pc.field("clip_spec") == clip_spec(config.clips)) & (pc.field("num_clips") > 0)
    return any(len(rows) for rows in store.scan("clippings", ["video_id"], where))
