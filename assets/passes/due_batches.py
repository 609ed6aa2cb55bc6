"""Which batches have something to download, to cut, to embed or to score, and when a video that waits is due.

Reads by column and makes no Python object per video: a store of a million videos is read within seconds. The driver,
the sensor and `lampworks run --plan` share it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    from pipeline.download.ledger import fold_all

    # without the paths: what follows copies rows, and there are a million
    videos = fold_all(store, paths=False).drop_columns(["refused", "earlier_file"])
    spec = f"{clip_spec(config.clips)}-{MEASUREMENTS_VERSION}"
    if config.clips.cut_detector != "adaptive":
        spec = f"{spec}-{config.clips.cut_detector}"
    downloads = set(unique(due_rows(store, config, videos, now)["batch"]))
    # a dropped file that another clip format needs is downloaded again first
    cuts = frozenset(unique(uncut_rows(store, config, rows_where(videos, pc.invert(videos["dropped"])))["batch"]))
    sums = videos.group_by("batch").aggregate([("attempts", "sum")])
    tried = dict(zip(sums["batch"].to_pylist(), sums["attempts_sum"].to_pylist(), strict=True))
    due = {batch: f"{tried[batch]}-{spec}{'' if batch in downloads else '-cut'}" for batch in sorted(downloads | cuts)}
    rests = paused_until(known := breakers(store), known, now)
    return Due(due, cuts, _next_at(rows_with(videos, "source", config.source.kind), rests, now))


def _next_at(mine: pa.Table, rests: Mapping[str, datetime], now: datetime) -> datetime | None:
    """Return the earliest time after now at which a pending video of the configured source may be tried."""
    waiting = rows_with(mine, "state", "pending")
    times = waiting["next_try_at"]
    later = times.filter(pc.fill_null(pc.greater(times, pa.scalar(now, times.type)), False))
    found = [pc.min(later).as_py(), *(rests.values() if len(waiting) else ())]
    return min([time for time in found if time is not None], default=None)


def waiting_videos(settings: Settings) -> tuple[int, datetime | None]:
    """Return how many videos of the configured source are pending, and when the first may be tried (None: now)."""
    from pipeline.download.circuit_breaker import breakers, paused_until
    from pipeline.download.ledger import fold_all

    now = datetime.now(UTC)
    mine = rows_with(fold_all(settings.store), "source", settings.config.source.kind)
    rests = paused_until(known := breakers(settings.store), known, now)
    return len(rows_with(mine, "state", "pending")), _next_at(mine, rests, now)


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
