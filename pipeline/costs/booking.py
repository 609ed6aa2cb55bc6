"""Book what a stage has used: one row of `costs` at the end of each batch, also of one that failed.

    with booked(store, config, "clips", batch="2026w47-0001"):
        cut_batch(...)

A process that is killed loses the booking of the batch that it was at, and no other.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.outside import shown_text
from pipeline.storage.arrow import pc, total
from pipeline.storage.store import Store
from pipeline.usage import NAMES, Usage, release_gpus, used

_LOGGER = logging.getLogger(__name__)


class Scope(NamedTuple):
    """What a stage has worked on."""

    batches: int
    """Batches that have video."""
    video_s: float
    """Seconds of video: of what was cut, or of what was downloaded where nothing is cut yet."""
    clips: int


@contextmanager
def booked(store: Store, config: Config, stage: str, batch: str | None = None) -> Iterator[None]:
    """Book what the block uses, whether it ends or fails.

    Args:
        store: where the row goes.
        config: its clip settings say which clips are meant.
        stage: name of the asset.
        batch: the batch; None for a stage over the whole store.
    """
    began, state = datetime.now(UTC), "failed"
    release_gpus()  # of the step before, in this process
    before = used()
    try:
        yield
        state = "ok"
    finally:
        release_gpus()
        spent = used() - before
        try:
            book(store, config, stage, batch, state, spent, began)
        except Exception as error:  # each store raises its own exceptions, and the work stands without its figures
            _LOGGER.warning("what %s has cost is not booked: %s", stage, shown_text(error))


def book(
    store: Store, config: Config, stage: str, batch: str | None, state: str, spent: Usage, began: datetime
) -> None:
    """Append the row of one piece of work; `state` is `ok` or `failed`."""
    scope, ended = scope_of(store, config, batch), datetime.now(UTC)
    row: dict[str, Any] = {
        "cost_id": str(uuid.uuid4()),
        "stage": stage,
        "batch": batch,
        "state": state,
        "started_at": began,
        "finished_at": ended,
        "seconds": (ended - began).total_seconds(),
        **scope._asdict(),
        **{name: getattr(spent, name) for name in NAMES},
    }
    store.append("costs", [row])


def scope_of(store: Store, config: Config, batch: str | None = None) -> Scope:
    """Return the video that a stage works on, of one batch or of the whole store."""
    mine = None if batch is None else pc.field("batch") == batch
    done = (pc.field("clip_spec") == clip_spec(config.clips)) & (pc.field("state") == "ok")
    cut = store.read("clippings", ["batch", "source_ms", "num_clips"], done if mine is None else mine & done)
    if len(cut):
        batches = pc.count_distinct(cut["batch"]).as_py()
        return Scope(batches, total(cut["source_ms"]) / 1000, total(cut["num_clips"]))
    fetched = pc.field("state") == "ok"
    rows = store.read("downloads", ["video_id", "batch", "duration_s"], fetched if mine is None else mine & fetched)
    longest = rows.group_by(["video_id", "batch"]).aggregate([("duration_s", "max")])
    seconds = float(pc.sum(longest["duration_s_max"]).as_py() or 0.0)
    return Scope(pc.count_distinct(longest["batch"]).as_py(), seconds, 0)
