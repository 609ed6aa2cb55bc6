"""The ledger of downloads: attempts are appended and never changed, and a video's state is their fold.

    pending   not tried yet, or to be tried again at `next_try_at`
    ok        some attempt brought a verified file
    failed    the last attempt says that trying again will not help, or was one too many
    taken_down  hidden by a tombstone, whatever was tried

Two runs of one batch at once append attempts side by side; the fold takes the earliest success, so every reader
agrees on the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow.compute as pc

from pipeline.config import Config
from pipeline.store import Store
from pipeline.takedown import taken_down

_ATTEMPT_COLUMNS = (
    "attempt_id", "video_id", "attempt", "state", "error_class", "message", "finished_at", "next_try_at", "bytes",
    "sha256", "path", "duration_s",
)  # fmt: skip
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known of one kept video's download."""

    video_id: str
    batch: str
    state: Literal["pending", "ok", "failed", "taken_down"]
    attempts: int = 0
    error_class: str | None = None
    """Of the last attempt, where it did not succeed."""
    message: str | None = None
    next_try_at: datetime | None = None
    """When a pending video may be tried again; None: at once."""
    path: str | None = None
    """Blob key of the file, where ok."""
    sha256: str | None = None
    bytes: int = 0
    duration_s: float | None = None

    def is_due(self, now: datetime) -> bool:
        """Tell whether an attempt may be made at this time."""
        return self.state == "pending" and (self.next_try_at is None or self.next_try_at <= now)


def download_states(store: Store, batch: str | None = None) -> dict[str, State]:
    """Return the state of every kept video, of one batch or of all, by id and in its order."""
    where = pc.field("verdict") == "kept"
    attempts_where = None
    if batch is not None:
        where, attempts_where = where & (pc.field("batch") == batch), pc.field("batch") == batch
    videos = store.read("videos", ["video_id", "batch", "channel_id"], where)
    attempts: dict[str, list[dict[str, Any]]] = {}
    for row in store.read("downloads", _ATTEMPT_COLUMNS, attempts_where).to_pylist():
        attempts.setdefault(row["video_id"], []).append(row)
    hidden = taken_down(store)
    states = {}
    for video in sorted(videos.to_pylist(), key=lambda row: str(row["video_id"])):
        video_id = video["video_id"]
        state = fold(video_id, video["batch"], attempts.get(video_id, ()))
        if hidden.hides(video_id, video["channel_id"]):
            state = State(video_id=video_id, batch=video["batch"], state="taken_down", attempts=state.attempts)
        states[video_id] = state
    return states


def fold(video_id: str, batch: str, attempts: Iterable[Mapping[str, Any]]) -> State:
    """Return the state that a video's attempts amount to, whatever their order in the table."""
    ordered = sorted(attempts, key=lambda row: (row["finished_at"] or _BEGINNING, row["attempt_id"]))
    if not ordered:
        return State(video_id=video_id, batch=batch, state="pending")
    tries = max(len(ordered), *(row["attempt"] or 0 for row in ordered))
    success = next((row for row in ordered if row["state"] == "ok"), None)
    if success is not None:
        return State(
            video_id=video_id,
            batch=batch,
            state="ok",
            attempts=tries,
            path=success["path"],
            sha256=success["sha256"],
            bytes=success["bytes"] or 0,
            duration_s=success["duration_s"],
        )
    last = ordered[-1]
    return State(
        video_id=video_id,
        batch=batch,
        state="failed" if last["state"] == "failed" else "pending",
        attempts=tries,
        error_class=last["error_class"],
        message=last["message"],
        next_try_at=last["next_try_at"],
    )


def due_batches(store: Store, config: Config, now: datetime) -> list[str]:
    """Return the batches of the configured source in which some video may be tried at this time, in order."""
    batches_here = _batches_of_source(store, config.source.kind)
    by_batch: dict[str, list[State]] = {}
    for state in download_states(store).values():
        by_batch.setdefault(state.batch, []).append(state)
    return [batch for batch in sorted(by_batch) if batch in batches_here and due_videos(by_batch[batch], now)]


def due_videos(states: Iterable[State], now: datetime) -> list[str]:
    """Return the ids of a batch's videos that may be tried at this time.

    None at all while the source that blocked one of them should rest: the others would only be blocked as well.
    """
    states = list(states)
    if any(
        state.error_class == "source_blocked" and state.state == "pending" and not state.is_due(now) for state in states
    ):
        return []
    return [state.video_id for state in states if state.is_due(now)]


def _batches_of_source(store: Store, kind: str) -> set[str]:
    rows = store.read("videos", ["batch"], (pc.field("source") == kind) & (pc.field("verdict") == "kept"))
    return {str(name) for name in pc.unique(rows["batch"]).to_pylist() if name}
