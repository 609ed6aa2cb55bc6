"""Find what is due for download: by column for the videos of a whole store, by id for those of one batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clip_spec import MEASUREMENTS_VERSION, clip_spec
from pipeline.config import Config
from pipeline.download.circuit_breaker import breakers, paused_until
from pipeline.download.ledger import State, fold_all
from pipeline.errors import TOO_LONG
from pipeline.sources.faults import PRIVATE_ADDRESS
from pipeline.storage.arrow import among, in_parts, is_one_of, pc, rows_with, rows_without, unique
from pipeline.storage.moments import LONGEST_PAUSE
from pipeline.storage.store import Store
from pipeline.workers.outcome import OUT_OF_MEMORY, TIMEOUT, late_text, over_memory_text

_PART_ROWS = 1 << 19
CUTTING = "cutting: "
"""What the message of a video begins with that the engine ended while it was cut."""
# the host of a URL, in lower case: what `sources.base.site_of` calls the site of a video of `urls`
_HOST = r"^[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^:/?#]*)"


def due_batches(store: Store, config: Config, now: datetime) -> list[str]:
    """Return the batches of the configured source in which a video is due for download at this time, sorted."""
    return sorted(str(name) for name in due_rows(store, config, fold_all(store), now)["batch"].unique().to_pylist())


def due_rows(store: Store, config: Config, states: pa.Table, now: datetime) -> pa.Table:
    """Return the rows of `fold_all` that are due for download at this time.

    Due are the videos of the configured source that are pending with their time passed, those whose address or length
    was refused and is allowed now, and those whose dropped file is needed again; none of a site that is paused by its
    circuit breaker.
    """
    kind = config.source.kind
    mine = rows_with(states, "source", kind)
    dropped = uncut_rows(store, config, mine.filter(mine["dropped"]))
    too_long = rows_with(rows_with(mine, "state", "rejected"), "error_class", TOO_LONG)
    allowed = rows_with(too_long, "video_id", short_enough_by_now(store, config, unique(too_long["video_id"])))
    waiting = pa.concat_tables([mine.filter(due_mask(mine, now, config)), dropped, allowed])
    paused = paused_until(known := breakers(store), known, now)
    if not paused or not len(waiting):
        return waiting
    if kind != "urls":
        return waiting.slice(0, 0) if kind in paused else waiting
    pages = store.read("videos", ["video_id", "url"], (pc.field("source") == kind) & _of_the_batches(waiting))
    hosts = pc.utf8_trim(pc.struct_field(pc.extract_regex(pc.utf8_lower(pages["url"]), _HOST), "host"), "[]")
    return rows_without(waiting, "video_id", pages["video_id"].filter(among(hosts, [*paused])))


def uncut_rows(store: Store, config: Config, states: pa.Table) -> pa.Table:
    """Return the rows of `fold_all` that were downloaded and are due for cutting under the current clip_spec.

    A dropped file is not fetched again for the sake of measurements alone: its clips keep those that they have.
    """
    fetched = rows_with(states, "state", "ok")
    if not len(fetched):
        return fetched
    settled = (pc.field("clip_spec") == clip_spec(config.clips)) & ended_by_no_other_limit(config)
    settled &= with_detector(config.clips.cut_detector) & _of_the_batches(fetched)
    ids, files = fetched["video_id"].combine_chunks(), fetched["sha256"]

    def done(where: Any) -> Any:
        found = np.zeros(len(fetched), bool)
        # the ids and hashes of a million videos together would take 250 MB
        for cut in in_parts(store.scan("clippings", ["video_id", "source_sha256"], where), _PART_ROWS):
            place = pc.index_in(cut["video_id"], value_set=ids)
            same = pc.fill_null(pc.equal(files.take(place), cut["source_sha256"]), False)
            found[place.filter(same).to_numpy()] = True
        return pa.array(found)

    measured = done(settled & with_measurements())
    if pc.any(fetched["dropped"]).as_py():
        measured = pc.or_(measured, pc.and_(fetched["dropped"], done(settled)))
    return fetched.filter(pc.invert(measured))


def _of_the_batches(states: pa.Table) -> Any:
    """Return a filter of a table of videos: those of the batches of these rows, and of batches between them."""
    span, batch = pc.min_max(states["batch"]), pc.field("batch")
    if states["batch"].null_count:
        return pc.scalar(True)
    return ((batch >= span["min"]) & (batch <= span["max"])) | batch.is_null()


def ended_by_no_other_limit(config: Config) -> Any:
    """Return a filter of `clippings`: all but the videos that were ended at a limit of the engine which is another now.

    They are cut again: what they need is known only when they get it.
    """
    engine = config.engine
    present = [
        f"{CUTTING}{text}"
        for text in (late_text(engine.deadline_s, "engine.deadline_s"), over_memory_text(engine.memory_mb))
    ]
    return ~is_one_of("error_class", (TIMEOUT, OUT_OF_MEMORY)) | is_one_of("message", present)


def with_detector(cut_detector: str) -> Any:
    """Return a filter of `clippings`: all but the videos whose scene cuts another detector found.

    They are cut again, to the same clips with other cuts. Rows of older versions name none: it was the adaptive one.
    """
    name = pc.field("cut_detector")
    same = (name == cut_detector) | name.is_null() if cut_detector == "adaptive" else name == cut_detector
    return (pc.field("state") != "ok") | same


def with_measurements() -> Any:
    """Return a filter of `clippings`: all but the videos whose clips lack measurements that are made now.

    They are cut again from their file, to the same clips with more measurements.
    """
    return (pc.field("state") != "ok") | (pc.field("measurements_version") == MEASUREMENTS_VERSION)


def short_enough_by_now(store: Store, config: Config, refused: Collection[str]) -> list[str]:
    """Return those of the videos refused as too long that `download.max_duration_s` allows by now.

    What was read of a file before it was refused is a part of its length: one that is longer is refused again.
    """
    if not refused:
        return []
    rows = store.read("downloads", ["video_id", "duration_s"], pc.field("error_class") == TOO_LONG)
    # the longest of all attempts: one under a lower setting read less
    longest = rows_with(rows, "video_id", refused).group_by("video_id").aggregate([("duration_s", "max")])
    fits = longest.filter(pc.less_equal(longest["duration_s_max"], config.download.max_duration_s))
    return unique(fits["video_id"])


def due_mask(states: pa.Table, now: datetime, config: Config) -> Any:
    """Return which rows of `fold_all` are pending videos whose time has passed, or of an address now allowed."""
    kind = pa.timestamp("us", tz="UTC")
    ready = pc.fill_null(pc.less_equal(states["next_try_at"], pa.scalar(now, kind)), True)
    # as `is_over` has it: a time beyond every pause is of a clock that was set back since
    beyond = pc.greater(states["next_try_at"], pa.scalar(now + LONGEST_PAUSE, kind))
    ready = pc.or_(ready, pc.fill_null(beyond, False))
    due = pc.and_(pc.equal(states["state"], "pending"), ready)
    if not config.source.allow_private:
        return due
    refused = pc.equal(states["error_class"], pa.scalar(PRIVATE_ADDRESS))
    return pc.or_(due, pc.and_(pc.equal(states["state"], "failed"), pc.fill_null(refused, False)))


def due_videos(states: Iterable[State], now: datetime, config: Config) -> list[str]:
    """Return the ids of a batch's videos that are due for download at this time."""
    allowed = config.source.allow_private
    return [
        state.video_id
        for state in states
        if state.is_due(now) or (allowed and state.state == "failed" and state.error_class == PRIVATE_ADDRESS)
    ]


def dropped_and_uncut(store: Store, config: Config, batch: str, states: Iterable[State]) -> list[str]:
    """Return the videos whose raw file was dropped before it was cut under the current clip_spec."""
    dropped = {state.video_id: state.sha256 for state in states if state.dropped}
    if not dropped:
        return []
    where = (pc.field("batch") == batch) & (pc.field("clip_spec") == clip_spec(config.clips))
    where &= with_detector(config.clips.cut_detector)
    rows = store.read("clippings", ["video_id", "source_sha256"], where).to_pylist()
    cut = {(row["video_id"], row["source_sha256"]) for row in rows}
    return [name for name, digest in dropped.items() if (name, digest) not in cut]
