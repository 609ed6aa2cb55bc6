"""The ledger of downloads: attempts are appended and never changed, and a video's state is their fold.

    pending   not tried yet, or to be tried again at `next_try_at`
    ok        some attempt brought a verified file (which may have been dropped once it was cut)
    failed    the last attempt says that trying again will not help, or was one too many
    rejected  the download told that the video must not be taken (an opt-out)
    taken_down  hidden by a tombstone, whatever was tried

Two runs of one batch at once append attempts side by side; the fold takes the earliest success, so every reader
agrees on the file. It is made of columns, for all videos at once: a store of a million videos folds in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.breaker import BLOCKING, breakers, resting
from pipeline.columns import pc
from pipeline.config import Config
from pipeline.sources.base import site_of
from pipeline.store import Store
from pipeline.takedown import taken_down

_VIDEOS = ["video_id", "batch", "source", "channel_id"]
_ATTEMPTS = ["video_id", "attempt", "state", "error_class", "finished_at", "next_try_at"]
_DETAILS = ["message", "bytes", "sha256", "path", "duration_s", "site", "bytes_360p", "bytes_720p"]
_LAST, _OF_FILE = ("error_class", "message", "next_try_at"), _DETAILS[1:]
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known of one kept video's download."""

    video_id: str
    batch: str
    state: Literal["pending", "ok", "failed", "rejected", "taken_down"]
    attempts: int = 0
    refused: int = 0
    """Attempts that met a site which refused them all: they say nothing of the video."""
    error_class: str | None = None
    """Of the last attempt, where it did not succeed."""
    message: str | None = None
    next_try_at: datetime | None = None
    """When a pending video may be tried again; None: at once."""
    path: str | None = None
    """Blob key of the file, where ok and not dropped."""
    sha256: str | None = None
    dropped: bool = False
    """Whether the raw file was removed once it was cut."""
    bytes: int = 0
    duration_s: float | None = None
    bytes_360p: int | None = None
    bytes_720p: int | None = None

    def is_due(self, now: datetime) -> bool:
        """Tell whether an attempt may be made at this time."""
        return self.state == "pending" and (self.next_try_at is None or self.next_try_at <= now)


def download_states(store: Store, batch: str | None = None) -> dict[str, State]:
    """Return the state of every kept video, of one batch or of all, by id and in its order."""
    kept = pc.field("verdict") == "kept"
    mine = None if batch is None else pc.field("batch") == batch
    videos = store.read("videos", _VIDEOS, kept if mine is None else kept & mine)
    attempts = store.read("downloads", [*_ATTEMPTS, *_DETAILS], mine)
    names = [field for field in State.__dataclass_fields__ if field != "duration_s"]
    rows = fold(videos, attempts, hidden=_hidden(store, videos)).select([*names, "duration_s"]).to_pylist()
    rows.sort(key=lambda row: str(row["video_id"]))
    return {row["video_id"]: State(**{**row, "bytes": row["bytes"] or 0}) for row in rows}


def fold_all(store: Store) -> pa.Table:
    """Return one row per kept video of the store: what its attempts amount to, without the details of its file.

    Columns: video_id, batch, source, state, attempts, refused, dropped, error_class, next_try_at, path, sha256.
    """
    videos = store.read("videos", _VIDEOS, pc.field("verdict") == "kept")
    # long texts only of those that have a file
    attempts = store.read("downloads", _ATTEMPTS)
    files = store.read("downloads", [*_ATTEMPTS, "path", "sha256"], pc.field("state").isin(["ok", "dropped"]))
    return fold(videos, attempts, files, hidden=_hidden(store, videos))


def fold_attempts(store: Store) -> pa.Table:
    """Return what the attempts of every tried video amount to, asking nothing of `videos`: the other side of a sum.

    Columns: video_id, state, error_class, dropped.
    """
    attempts = store.read("downloads", _ATTEMPTS)
    ids = pc.unique(attempts["video_id"])
    nothing = pa.nulls(len(ids), pa.string())
    tried = pa.table({"video_id": ids, "batch": nothing, "source": nothing})
    return fold(tried, attempts).select(["video_id", "state", "error_class", "dropped"])


def fold(videos: pa.Table, attempts: pa.Table, files: pa.Table | None = None, *, hidden: Any = None) -> pa.Table:
    """Return what attempts amount to, a row per video, whatever the order of the attempts.

    Args:
        videos: video_id, batch, source, channel_id.
        attempts: rows of `downloads`: video_id, attempt, state, error_class, finished_at, next_try_at, and what else
            the result shall tell of the last attempt.
        files: rows of `downloads` with the states `ok` and `dropped`, and what the result shall tell of the file;
            None: they are among the attempts.
        hidden: a mask of the videos that were taken down.
    """
    size = len(videos)
    tried = _Attempts(videos, attempts)
    fetched = tried if files is None else _Attempts(videos, files)
    good = fetched.first_kept_file()
    had_file = fetched.counts(fetched.states == "ok") > 0
    last = tried.last(tried.states != "dropped")
    states = np.full(size, "pending", object)
    told = last >= 0
    states[told] = tried.states[last[told]]
    states[had_file] = "ok"
    if hidden is not None:
        states[np.asarray(hidden, bool)] = "taken_down"
    result = videos.select(["video_id", "batch", "source"])
    numbers = np.zeros(size, np.int64)
    np.maximum.at(numbers, tried.codes, tried.numbers)
    columns: dict[str, Any] = {
        "state": pa.array(states, pa.string()),
        "attempts": pa.array(np.maximum(numbers, tried.counts(tried.states != "dropped"))),
        "refused": pa.array(tried.counts(tried.is_refusal)),
        "dropped": pa.array((states == "ok") & (good < 0)),
    }
    # what went wrong last is news only where nothing went right
    open_rows = np.where(np.isin(states, ["pending", "failed", "rejected"]), last, -1)
    for name in _LAST:
        if name in tried.rows.column_names:
            columns[name] = _taken(tried.rows[name], open_rows)
    shown = np.where(states == "ok", good, -1)
    for name in _OF_FILE:
        if name in fetched.rows.column_names:
            columns[name] = _taken(fetched.rows[name], shown)
    if "sha256" in columns:
        # a dropped file is still known by its hash
        any_file = np.where((states == "ok") & (good < 0), fetched.last(fetched.states == "ok"), shown)
        columns["sha256"] = _taken(fetched.rows["sha256"], any_file)
        if "bytes" in fetched.rows.column_names:
            columns["bytes"] = _taken(fetched.rows["bytes"], any_file)
            columns["duration_s"] = _taken(fetched.rows["duration_s"], any_file)
    for name, column in columns.items():
        result = result.append_column(name, column)
    return result


class _Attempts:
    """Attempts as columns, in order of video and time; those of videos that are not asked for are left out."""

    def __init__(self, videos: pa.Table, rows: pa.Table) -> None:
        codes = pc.index_in(rows["video_id"].combine_chunks(), value_set=videos["video_id"].combine_chunks())
        known = codes.is_valid()
        rows, codes = rows.filter(known), codes.filter(known).to_numpy(zero_copy_only=False).astype(np.int64)
        times = pc.fill_null(rows["finished_at"].cast(pa.int64()), _NEVER).to_numpy()
        numbers = pc.fill_null(rows["attempt"], 0).to_numpy()
        order = np.lexsort((numbers, times, codes))
        self.size = len(videos)
        self.rows = rows.take(order)
        self.codes, self.times, self.numbers = codes[order], times[order], numbers[order]
        self.states = self.rows["state"].to_numpy(zero_copy_only=False)

    @property
    def is_refusal(self) -> Any:
        classes = self.rows["error_class"]
        return pc.fill_null(pc.is_in(classes, value_set=pa.array(sorted(BLOCKING))), False).to_numpy(
            zero_copy_only=False
        )

    def counts(self, mask: Any) -> Any:
        """Count the rows of a mask by video."""
        return np.bincount(self.codes[mask], minlength=self.size)

    def last(self, mask: Any) -> Any:
        """Return, by video, the index of the latest row of a mask; -1 where there is none."""
        found = np.full(self.size, -1)
        index = np.flatnonzero(mask)
        found[self.codes[index]] = index  # in order of time: the latest is written last
        return found

    def first_kept_file(self) -> Any:
        """Return, by video, the index of the earliest success after its file was last dropped; -1 without one."""
        dropped = self.last(self.states == "dropped")
        since = np.where(dropped >= 0, self.times[dropped] if len(self.times) else _NEVER, _NEVER)
        index = np.flatnonzero((self.states == "ok") & (self.times >= since[self.codes]))
        if len(self.times):
            # a drop ends the files of its own moment too
            index = index[(dropped[self.codes[index]] < 0) | (index > dropped[self.codes[index]])]
        found = np.full(self.size, -1)
        found[self.codes[index[::-1]]] = index[::-1]
        return found


def _taken(column: Any, rows: Any) -> Any:
    return column.take(pa.array(rows, pa.int64(), mask=rows < 0))


def _hidden(store: Store, videos: pa.Table) -> Any:
    hidden = taken_down(store)
    if not (hidden.videos or hidden.channels):
        return None
    by_name = pc.is_in(videos["video_id"], value_set=pa.array(sorted(hidden.videos), pa.string()))
    by_channel = pc.is_in(videos["channel_id"], value_set=pa.array(sorted(hidden.channels), pa.string()))
    return pc.or_(by_name, pc.fill_null(by_channel, False)).to_numpy(zero_copy_only=False)


# -- what is due --------------------------------------------------------------------------------------------------


def due_batches(store: Store, config: Config, now: datetime) -> list[str]:
    """Return the batches of the configured source in which some video may be tried at this time, in order."""
    states = fold_all(store)
    states = states.filter(pc.equal(states["source"], config.source.kind))
    due = due_mask(states, now)
    if pc.any(states["dropped"]).as_py():
        again = set(_uncut_drops(store, config, states))
        due = pc.or_(due, pc.is_in(states["video_id"], value_set=pa.array(sorted(again), pa.string())))
    waiting = states.filter(due).select(["video_id", "batch"])
    at_rest = resting(known := breakers(store), known, now)
    if at_rest:
        waiting = _of_open_sites(store, config.source.kind, waiting, at_rest)
    return sorted(str(name) for name in waiting["batch"].unique().to_pylist() if name)


def _of_open_sites(store: Store, kind: str, waiting: pa.Table, at_rest: Collection[str]) -> pa.Table:
    """Leave out videos whose site rests: an attempt would not be made."""
    if kind != "urls":
        return waiting.slice(0, 0) if kind in at_rest else waiting
    batches = pc.field("batch").isin(waiting["batch"].unique().to_pylist())
    urls = store.read("videos", ["video_id", "url"], batches)
    asked = [site_of(kind, url or "") not in at_rest for url in urls["url"].to_pylist()]
    return waiting.filter(pc.is_in(waiting["video_id"], value_set=urls["video_id"].filter(pa.array(asked, pa.bool_()))))


def due_mask(states: pa.Table, now: datetime) -> Any:
    """Return which rows of a fold are videos that may be tried at this time."""
    moment = pa.scalar(now, pa.timestamp("us", tz="UTC"))
    ready = pc.fill_null(pc.less_equal(states["next_try_at"], moment), True)
    return pc.and_(pc.equal(states["state"], "pending"), ready)


def due_videos(states: Iterable[State], now: datetime) -> list[str]:
    """Return the ids of a batch's videos that may be tried at this time."""
    return [state.video_id for state in states if state.is_due(now)]


def dropped_and_uncut(store: Store, config: Config, batch: str, states: Iterable[State]) -> list[str]:
    """Return the videos whose raw file is gone although the clips of the present format were not cut from it."""
    dropped = {state.video_id: state.sha256 for state in states if state.dropped}
    if not dropped:
        return []
    where = (pc.field("batch") == batch) & (pc.field("clip_spec") == _spec(config))
    rows = store.read("clippings", ["video_id", "source_sha256"], where).to_pylist()
    cut = {(row["video_id"], row["source_sha256"]) for row in rows}
    return [name for name, digest in dropped.items() if (name, digest) not in cut]


def _uncut_drops(store: Store, config: Config, states: pa.Table) -> list[str]:
    rows = states.filter(states["dropped"]).select(["video_id", "sha256"])
    spec = pc.field("clip_spec") == _spec(config)
    cut = store.read("clippings", ["video_id", "source_sha256"], spec).rename_columns(["video_id", "sha256"])
    return [str(name) for name in rows.join(cut, ["video_id", "sha256"], join_type="left anti")["video_id"].to_pylist()]


def _spec(config: Config) -> str:
    from pipeline.cutting import clip_spec  # lazily: it brings the decoder, which few readers need

    return clip_spec(config.clips)
