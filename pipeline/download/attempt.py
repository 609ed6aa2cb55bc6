"""One attempt at one video, as a thread of a worker process makes it: fetch, verify, store, return a row.

Each attempt works in a folder of its own, so it never continues a stale part of another file. Only a file of which
something plays becomes a blob, and the blob is written before its row.
"""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.config import DownloadConfig
from pipeline.download.file_versions import file_version
from pipeline.errors import PermanentError, RejectedError, RetryableError, StoreError, TooLongError
from pipeline.sources.actions import raw_actions
from pipeline.sources.base import Fetched, Source, site_of
from pipeline.sources.faults import BLOCKING, RETRYABLE, UNFINISHED, classify, clean_message
from pipeline.sources.politeness import pause_after_failure
from pipeline.storage.store import Store
from pipeline.workers.outcome import ENDED, Outcome

_MAX_BACKOFF_S = 7 * 86400.0
_LIVE_S = 6 * 3600.0
"""A stream, or one that is announced, is over some hours later at best."""


@dataclass(frozen=True)
class DownloadTask:
    """A video due for download."""

    video: Mapping[str, Any]
    """Its row of `videos`."""
    number: int
    """1 for the first attempt."""
    refused: int
    """Attempts among the earlier ones that do not count against the video."""

    @property
    def site(self) -> str:
        """The unit of its circuit breaker and its rate limits."""
        return site_of(str(self.video["source"]), str(self.video["url"] or ""))


@dataclass(frozen=True)
class AttemptResult:
    """The row of `downloads` that an attempt leaves, and the pause that its site asked for."""

    row: dict[str, Any]
    retry_after_s: float | None = None


@dataclass(frozen=True)
class AttemptContext:
    """What all attempts of a pass share; travels to the worker processes."""

    source: Source
    store: Store
    config: DownloadConfig
    batch: str
    folder: Path | None
    """Where each attempt makes a folder of its own; None: in the temporary folder of its process."""


def attempt(task: DownloadTask, context: AttemptContext) -> AttemptResult:
    """Fetch, verify and store one video; whatever happens becomes its row."""
    row = _new_row(task, context.batch)
    mine = (context.folder or Path(tempfile.gettempdir())) / uuid.uuid4().hex
    mine.mkdir()
    try:
        fetched = context.source.fetch(task.video, mine, context.config)
        row |= _stored(fetched, task.video, context)
        return AttemptResult(row | {"state": "ok"})
    except RejectedError as error:
        row |= {"state": "rejected", "error_class": error.error_class, "message": clean_message(str(error))}
        if isinstance(error, TooLongError):
            row["duration_s"] = error.seconds
        return AttemptResult(row | {"finished_at": datetime.now(UTC)})
    except (PermanentError, RetryableError, OSError) as error:
        fault = classify(error, hide=[f"{mine}/", str(mine)])
        row |= {"error_class": fault.error_class, "message": fault.message, "http_status": fault.http_status}
        return AttemptResult(row | _after(row, task, fault.retry_after_s, context.config), fault.retry_after_s)
    finally:
        shutil.rmtree(mine, ignore_errors=True)


def lost(task: DownloadTask, outcome: Outcome, context: AttemptContext) -> AttemptResult:
    """Return the result of an attempt that the engine ended, or that raised an unexpected error."""
    known = outcome.error_class in ENDED
    row = _new_row(task, context.batch) | {
        "error_class": outcome.error_class if known else "internal",
        "message": clean_message(outcome.message if known else f"{outcome.error_class}: {outcome.message}"),
    }
    return AttemptResult(row | _after(row, task, None, context.config))


def _new_row(task: DownloadTask, batch: str) -> dict[str, Any]:
    return {
        "attempt_id": str(uuid.uuid4()),
        "video_id": task.video["video_id"],
        "batch": batch,
        "attempt": task.number,
        "error_class": None,
        "message": None,
        "path": None,
        "file_version": file_version(task.video),
        "started_at": datetime.now(UTC),
        "site": task.site,
    }


def _after(
    row: Mapping[str, Any], task: DownloadTask, retry_after_s: float | None, config: DownloadConfig
) -> dict[str, Any]:
    """Return the state after a failed attempt, and when the next one is due.

    The video stays pending while its error class is retryable and it has attempts left.
    """
    now = datetime.now(UTC)
    if row["error_class"] in BLOCKING:
        # the site's circuit breaker says when: see `pipeline.download.circuit_breaker`
        return {"state": "pending", "finished_at": now, "next_try_at": None}
    count = task.number - task.refused
    if row["error_class"] == UNFINISHED:
        return {"state": "pending", "finished_at": now, "next_try_at": now + timedelta(seconds=retry_after_s or 0.0)}
    if row["error_class"] not in RETRYABLE or count >= config.max_attempts:
        return {"state": "failed", "finished_at": now, "next_try_at": None}
    base = max(config.backoff_s, _LIVE_S) if row["error_class"] == "live" else config.backoff_s
    pause = min(base * 2 ** (count - 1), _MAX_BACKOFF_S) * random.uniform(0.8, 1.2)
    pause = pause_after_failure(pause, retry_after_s, first=count == 1)
    return {"state": "pending", "finished_at": now, "next_try_at": now + timedelta(seconds=pause)}


def _stored(fetched: Fetched, video: Mapping[str, Any], context: AttemptContext) -> dict[str, Any]:
    """Verify a fetched file, publish it as a blob named by its content, and return its columns of the row."""
    from pipeline.download.verify import verify_media  # imported here: only workers need the decoder

    claimed = fetched.duration_claimed_s
    config = context.config
    original = fetched.original
    try:
        media = verify_media(
            fetched.path,
            claimed_s=claimed,
            tolerance=config.duration_tolerance,
            most_s=config.max_duration_s,
            own_file=fetched.own_file,
        )
    except PermanentError:
        if original is not None:
            original.require_finished(fetched.path)
        raise
    digest, size = _sha256(fetched.path), fetched.path.stat().st_size
    suffix = re.sub(r"[^a-z0-9]", "", fetched.path.suffix.lower())[:5] or "bin"
    if original is not None:
        original.require_rest()
    key = f"raw/{context.batch}/{video['video_id']}-{digest[:12]}.{suffix}"
    try:
        is_there = context.store.exists(key)
        for name in raw_actions(key):
            if fetched.actions is not None and name.endswith(fetched.actions_ending):
                context.store.write_blob(name, fetched.actions)
            elif is_there:  # the same file, fetched again with another sidecar, or without
                context.store.delete(name)
        if not is_there:
            context.store.take_file(key, fetched.path)
            if original is not None and original.has_changed():
                # what was copied may be bytes that were never hashed
                context.store.delete(key)
                original.require_rest()
    except (RetryableError, StoreError):
        raise
    except Exception as error:  # clients of object stores raise many types; none is this video's fault
        text = f"the store cannot take the file: {type(error).__name__}: {error}"
        raise RetryableError(text, error_class="environment") from error
    return {
        "path": key,
        "message": clean_message(fetched.note) or None,
        "sha256": digest,
        "actions_sha256": None if fetched.actions is None else hashlib.sha256(fetched.actions).hexdigest(),
        "bytes": size,
        "format": fetched.format,
        "codec": media.codec,
        "width": media.width,
        "height": media.height,
        "fps": media.fps,
        "duration_claimed_s": claimed,
        "duration_s": media.duration_s,
        "tool_version": fetched.tool_version,
        "bytes_360p": fetched.bytes_360p,
        "bytes_720p": fetched.bytes_720p,
        "finished_at": datetime.now(UTC),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
