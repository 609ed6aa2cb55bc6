"""Download: the due videos of a batch are fetched, verified and stored, and every attempt leaves a row.

An attempt works in a folder of its own under the root's `tmp/`, so a stale part of another file can never be
continued; only what plays from its first to its last second becomes a blob, and the blob is there before its row.
Rows are appended in small chunks as attempts end: a kill loses seconds of work, not a batch.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow.compute as pc

from pipeline.config import Config, DownloadConfig
from pipeline.engine import TIMEOUT, WORKER_DIED, Outcome, make_engine
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.faults import RETRYABLE, classify, clean_message
from pipeline.home import Home
from pipeline.ledger import State, download_states, due_batches, due_videos
from pipeline.progress import Listener, Progress
from pipeline.sources import open_source
from pipeline.sources.base import Fetched, Source
from pipeline.store import Store
from pipeline.takedown import taken_down
from pipeline.verify import verify_media

__all__ = ["DownloadReport", "State", "download_batch", "download_states", "due_batches"]

_CHUNK_ROWS = 16
_CHUNK_S = 10.0
_MAX_BACKOFF_S = 7 * 86400.0


@dataclass(frozen=True)
class DownloadReport:
    """A batch after a pass: where each of its kept videos stands, and what this pass did."""

    batch: str
    ok: int
    failed: dict[str, int]
    """Failed videos by error class."""
    pending: int
    pending_classes: dict[str, int]
    """Pending videos by the class of their last attempt (`new` where there was none)."""
    taken_down: int
    tried: int
    """Attempts of this pass."""
    bytes: int
    """Bytes of all files of the batch."""
    seconds: float
    """Seconds of video of all files of the batch."""
    next_try_at: datetime | None
    """When the first pending video may be tried."""
    too_many_failed: bool
    """Whether the share of failed videos is above `download.max_failed_share`."""
    errors: list[tuple[str, str, int]] = field(default_factory=list)
    """The ten most frequent (class, message, videos)."""

    @property
    def videos(self) -> int:
        """Kept videos of the batch."""
        return self.ok + sum(self.failed.values()) + self.pending + self.taken_down


def download_batch(
    store: Store,
    config: Config,
    home: Home,
    batch: str,
    *,
    listen: Listener | None = None,
    now: datetime | None = None,
) -> DownloadReport:
    """Try the due videos of a batch; nothing due, nothing written.

    A share of failures above `download.max_failed_share` is told by the report, after everything was recorded: the
    caller decides what it means.

    Args:
        store: the store.
        config: source, download and engine settings.
        home: local state of the root: attempts work under its `tmp/`.
        batch: a name that a search gave.
        listen: hears the progress.
        now: the time that decides what is due (UTC); the current time by default.

    Raises:
        UserError: no such batch, or no room left to work in.
    """
    states = download_states(store, batch)
    if not states:
        raise UserError(f"batch {batch!r} has no kept video in {store.root}: run the search first, or look at its name")
    due = set(due_videos(states.values(), now or datetime.now(UTC)))
    where = (pc.field("batch") == batch) & (pc.field("source") == config.source.kind)
    videos = [row for row in store.read("videos", where=where).to_pylist() if row["video_id"] in due]
    if videos:
        with _workplace(home, config.download) as folder, open_source(config, home) as source:
            videos.sort(key=lambda row: str(row["video_id"]))
            tries = [(video, states[video["video_id"]].attempts + 1) for video in videos]
            _try_all(store, config, source, batch, tries, folder, listen)
        states = download_states(store, batch)
    return _report(batch, states, len(videos), config.download)


def _report(batch: str, states: Mapping[str, State], tried: int, config: DownloadConfig) -> DownloadReport:
    by_state = Counter(state.state for state in states.values())
    unhappy = [state for state in states.values() if state.error_class]
    waiting = [state.next_try_at for state in states.values() if state.state == "pending" and state.next_try_at]
    pending = Counter(state.error_class or "new" for state in states.values() if state.state == "pending")
    errors = Counter((state.error_class or "", state.message or "") for state in unhappy)
    return DownloadReport(
        batch=batch,
        ok=by_state["ok"],
        failed=dict(sorted(Counter(state.error_class or "" for state in unhappy if state.state == "failed").items())),
        pending=by_state["pending"],
        pending_classes=dict(sorted(pending.items())),
        taken_down=by_state["taken_down"],
        tried=tried,
        bytes=sum(state.bytes for state in states.values()),
        seconds=sum(state.duration_s or 0.0 for state in states.values() if state.state == "ok"),
        next_try_at=min(waiting, default=None),
        too_many_failed=by_state["failed"] > config.max_failed_share * len(states),
        errors=sorted(((*told, count) for told, count in errors.items()), key=lambda row: (-row[2], row))[:10],
    )


# -- the pass -----------------------------------------------------------------------------------------------------


def _try_all(
    store: Store,
    config: Config,
    source: Source,
    batch: str,
    tries: list[tuple[dict[str, Any], int]],
    folder: Path,
    listen: Listener | None,
) -> None:
    """Run the attempts and append their rows in chunks as they end."""
    attempt = partial(_attempt, source=source, store=store, config=config.download, batch=batch, folder=folder)
    engine = make_engine(
        config.engine, workers=min(config.download.workers, len(tries)), deadline_s=config.download.deadline_s
    )
    rows: list[dict[str, Any]] = []
    flushed = time.monotonic()
    with Progress(f"download {batch}", total=len(tries), unit="videos", listen=listen) as progress:
        try:
            for (video, number), outcome in engine.run(attempt, tries):
                row = outcome.value if outcome.ok else _lost_row(video, number, batch, outcome, config.download)
                rows.append(row)
                progress.advance(note="" if row["state"] == "ok" else f"{row['error_class']}: {row['message'][:60]}")
                _stop_if_disk_is_full(row, store)
                if len(rows) >= _CHUNK_ROWS or time.monotonic() - flushed > _CHUNK_S:
                    rows, flushed = _publish(store, rows), time.monotonic()
        finally:
            _publish(store, rows)


def _publish(store: Store, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Append rows, but for videos that were taken down meanwhile (their blobs go); return an empty list."""
    hidden = taken_down(store).hidden_videos(store)
    for row in rows:
        if row["video_id"] in hidden and row["path"]:
            store.delete(row["path"])
    store.append("downloads", [row for row in rows if row["video_id"] not in hidden])
    return []


def _stop_if_disk_is_full(row: Mapping[str, Any], store: Store) -> None:
    text = row["message"] or ""
    if row["error_class"] == "environment" and os.strerror(errno.ENOSPC) in text:
        raise UserError(
            f"no room left for {store.root}: {text}. Free space or choose another --root; what is done stays."
        )


@contextmanager
def _workplace(home: Home, config: DownloadConfig) -> Iterator[Path]:
    """Yield a folder for this process's attempts; sweep those of processes that are gone."""
    home.tmp.mkdir(parents=True, exist_ok=True)
    for leftover in home.tmp.glob("download-*-*"):
        owner = leftover.name.split("-")[1]
        if not owner.isdigit() or not psutil.pid_exists(int(owner)):
            shutil.rmtree(leftover, ignore_errors=True)
    free = shutil.disk_usage(home.tmp).free
    if free < config.min_free_gb * 1e9:
        raise UserError(
            f"only {free / 1e9:.2f} GB are free at {home.tmp}, and download.min_free_gb = {config.min_free_gb:g}: "
            "free space, choose another --root, or lower the setting"
        )
    folder = home.tmp / f"download-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- one attempt, in a worker -------------------------------------------------------------------------------------


def _attempt(
    item: tuple[dict[str, Any], int], *, source: Source, store: Store, config: DownloadConfig, batch: str, folder: Path
) -> dict[str, Any]:
    """Fetch, verify and store one video; return its row of `downloads`, whatever happened."""
    video, number = item
    row = _new_row(video, number, batch)
    mine = folder / uuid.uuid4().hex
    mine.mkdir()
    try:
        fetched = source.fetch(video, mine, config)
        row |= _stored(fetched, video, store, config, batch)
        row["state"] = "ok"
    except (PermanentError, RetryableError, OSError) as error:
        fault = classify(error, hide=[f"{mine}/", str(mine)])
        row |= {"error_class": fault.error_class, "message": fault.message, "http_status": fault.http_status}
        row |= _failed(row, fault.retry_after_s, config)
    finally:
        shutil.rmtree(mine, ignore_errors=True)
    return row


def _stored(
    fetched: Fetched, video: Mapping[str, Any], store: Store, config: DownloadConfig, batch: str
) -> dict[str, Any]:
    """Verify a fetched file, publish it as a blob named by its content, and return what is now known of it."""
    claimed = fetched.duration_claimed_s
    media = verify_media(fetched.path, claimed_s=claimed, tolerance=config.duration_tolerance)
    digest = _sha256(fetched.path)
    suffix = re.sub(r"[^a-z0-9]", "", fetched.path.suffix.lower())[:5] or "bin"
    key = f"raw/{batch}/{video['video_id']}-{digest[:12]}.{suffix}"
    try:
        if not store.exists(key):
            store.put_file(key, fetched.path)
    except Exception as error:  # whatever the client of an object store raises: not this video's fault
        text = f"the store cannot take the file: {type(error).__name__}: {error}"
        raise RetryableError(text, error_class="environment") from error
    return {
        "path": key,
        "sha256": digest,
        "bytes": fetched.path.stat().st_size,
        "format": fetched.format,
        "codec": media.codec,
        "width": media.width,
        "height": media.height,
        "fps": media.fps,
        "duration_claimed_s": claimed,
        "duration_s": media.duration_s,
        "tool_version": fetched.tool_version,
        "finished_at": datetime.now(UTC),
    }


def _new_row(video: Mapping[str, Any], number: int, batch: str) -> dict[str, Any]:
    return {
        "attempt_id": str(uuid.uuid4()),
        "video_id": video["video_id"],
        "batch": batch,
        "attempt": number,
        "error_class": None,
        "message": None,
        "path": None,
        "started_at": datetime.now(UTC),
    }


def _failed(row: Mapping[str, Any], retry_after_s: float | None, config: DownloadConfig) -> dict[str, Any]:
    """Return state and next time of an attempt that failed: pending while its class and the count allow it."""
    now = datetime.now(UTC)
    if row["error_class"] not in RETRYABLE or row["attempt"] >= config.max_attempts:
        return {"state": "failed", "finished_at": now, "next_try_at": None}
    pause = min(config.backoff_s * 2 ** (row["attempt"] - 1), _MAX_BACKOFF_S)
    wait = timedelta(seconds=max(pause, retry_after_s or 0.0))
    return {"state": "pending", "finished_at": now, "next_try_at": now + wait}


def _lost_row(
    video: Mapping[str, Any], number: int, batch: str, outcome: Outcome, config: DownloadConfig
) -> dict[str, Any]:
    """Return the row of an attempt whose worker died, hung, or failed in a way that nothing here expects."""
    known = outcome.error_class in {WORKER_DIED, TIMEOUT}
    row = _new_row(video, number, batch) | {
        "error_class": outcome.error_class if known else "internal",
        "message": clean_message(outcome.message if known else f"{outcome.error_class}: {outcome.message}"),
    }
    return row | _failed(row, None, config)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
