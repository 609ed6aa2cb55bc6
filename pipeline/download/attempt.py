"""One attempt at one video, as a thread of a worker process makes it: fetch, verify, store, and say what came of it.

It works in a folder of its own, so a stale part of another file can never be continued; only what plays from its first
to its last second becomes a blob, and the blob is there before its row.
"""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.config import DownloadConfig
from pipeline.errors import PermanentError, RejectedError, RetryableError
from pipeline.sources.base import Fetched, Source, site_of
from pipeline.sources.faults import BLOCKING, RETRYABLE, classify, clean_message
from pipeline.sources.politeness import pause_after_failure
from pipeline.storage.store import Store
from pipeline.workers.outcome import TIMEOUT, WORKER_DIED, Outcome

_MAX_BACKOFF_S = 7 * 86400.0
_LIVE_S = 6 * 3600.0
"""A stream, or one that is announced, is over some hours later at best."""


@dataclass(frozen=True)
class Try:
    """A video whose time has come."""

    video: Mapping[str, Any]
    """Its row of `videos`."""
    number: int
    """1 for the first attempt."""
    refused: int
    """Attempts before that met a site which refused them all: they do not count against the video."""

    @property
    def site(self) -> str:
        """What its breaker and its limits go by."""
        return site_of(str(self.video["source"]), str(self.video["url"] or ""))


@dataclass(frozen=True)
class Tried:
    """The row of `downloads` that an attempt leaves, and what its site asked for."""

    row: dict[str, Any]
    retry_after_s: float | None = None


def attempt(item: Try, *, source: Source, store: Store, config: DownloadConfig, batch: str, folder: Path) -> Tried:
    """Fetch, verify and store one video; whatever happens becomes its row."""
    row = _new_row(item, batch)
    mine = folder / uuid.uuid4().hex
    mine.mkdir()
    try:
        fetched = source.fetch(item.video, mine, config)
        row |= _stored(fetched, item.video, store, config, batch)
        return Tried(row | {"state": "ok"})
    except RejectedError as error:
        told = {"state": "rejected", "error_class": error.error_class, "message": clean_message(str(error))}
        return Tried(row | told | {"finished_at": datetime.now(UTC)})
    except (PermanentError, RetryableError, OSError) as error:
        fault = classify(error, hide=[f"{mine}/", str(mine)])
        row |= {"error_class": fault.error_class, "message": fault.message, "http_status": fault.http_status}
        return Tried(row | _after(row, item, fault.retry_after_s, config), fault.retry_after_s)
    finally:
        shutil.rmtree(mine, ignore_errors=True)


def lost(item: Try, batch: str, outcome: Outcome, config: DownloadConfig) -> Tried:
    """Return the row of an attempt whose worker died, hung, or failed in a way that nothing here expects."""
    known = outcome.error_class in {WORKER_DIED, TIMEOUT}
    row = _new_row(item, batch) | {
        "error_class": outcome.error_class if known else "internal",
        "message": clean_message(outcome.message if known else f"{outcome.error_class}: {outcome.message}"),
    }
    return Tried(row | _after(row, item, None, config))


def _new_row(item: Try, batch: str) -> dict[str, Any]:
    return {
        "attempt_id": str(uuid.uuid4()),
        "video_id": item.video["video_id"],
        "batch": batch,
        "attempt": item.number,
        "error_class": None,
        "message": None,
        "path": None,
        "started_at": datetime.now(UTC),
        "site": item.site,
    }


def _after(row: Mapping[str, Any], item: Try, retry_after_s: float | None, config: DownloadConfig) -> dict[str, Any]:
    """Return state and next time of an attempt that failed: pending while its class and the count allow it."""
    now = datetime.now(UTC)
    if row["error_class"] in BLOCKING:
        # the site's rest says when: see `pipeline.download.circuit_breaker`
        return {"state": "pending", "finished_at": now, "next_try_at": None}
    count = item.number - item.refused
    if row["error_class"] not in RETRYABLE or count >= config.max_attempts:
        return {"state": "failed", "finished_at": now, "next_try_at": None}
    base = max(config.backoff_s, _LIVE_S) if row["error_class"] == "live" else config.backoff_s
    pause = min(base * 2 ** (count - 1), _MAX_BACKOFF_S) * random.uniform(0.8, 1.2)
    pause = pause_after_failure(pause, retry_after_s, first=count == 1)
    return {"state": "pending", "finished_at": now, "next_try_at": now + timedelta(seconds=pause)}


def _stored(
    fetched: Fetched, video: Mapping[str, Any], store: Store, config: DownloadConfig, batch: str
) -> dict[str, Any]:
    """Verify a fetched file, publish it as a blob named by its content, and return what is now known of it."""
    from pipeline.download.verify import verify_media  # lazily: the decoder is for workers

    claimed = fetched.duration_claimed_s
    media = verify_media(fetched.path, claimed_s=claimed, tolerance=config.duration_tolerance)
    digest, size = _sha256(fetched.path), fetched.path.stat().st_size
    suffix = re.sub(r"[^a-z0-9]", "", fetched.path.suffix.lower())[:5] or "bin"
    key = f"raw/{batch}/{video['video_id']}-{digest[:12]}.{suffix}"
    try:
        if not store.exists(key):
            store.take_file(key, fetched.path)
    except Exception as error:  # whatever the client of an object store raises: not this video's fault
        text = f"the store cannot take the file: {type(error).__name__}: {error}"
        raise RetryableError(text, error_class="environment") from error
    return {
        "path": key,
        "sha256": digest,
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
