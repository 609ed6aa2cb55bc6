"""Download: the due videos of a batch are fetched, verified and stored, and every attempt leaves a row.

Attempts run in threads of a supervised process. Rows are appended in small chunks as they end: a kill loses seconds of
work, not a batch. What is due again within `download.max_wait_s` is waited for; what is due later, what a resting site
holds back and what found no room on the disk stays pending, and the report says until when.

    report = download_batch(store, config, home, "2026w47-0001")
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from pipeline.config import Config
from pipeline.download.attempt import Tried, Try, attempt, lost
from pipeline.download.circuit_breaker import Breaker, breakers, resting
from pipeline.download.disk_space import Room
from pipeline.download.ledger import State, download_states, dropped_and_uncut, due_batches, due_videos
from pipeline.download.rate_limits import SiteLimits
from pipeline.download.schedule import Feed
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.sources import open_source
from pipeline.sources.base import Source, site_of
from pipeline.storage.arrow import pc
from pipeline.storage.home import Home
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.workers.engine import make_engine
from pipeline.workers.outcome import Later

__all__ = ["DownloadReport", "State", "download_batch", "download_states", "due_batches"]

_CHUNK_ROWS = 64
_CHUNK_S = 5.0
_THREADS = 16
"""Most threads of one worker process: they share one interpreter, and a death or a hang disturbs them all."""
_PATIENCE = 3
"""Refusals in a row after which a run no longer waits for a site, however short its rests."""
# what a source needs to fetch a video: descriptions and tags would be most of the bytes of a batch
_NEEDED = [
    "video_id", "source", "extractor", "native_id", "url", "title", "licence", "age_limit", "channel_id", "channel",
]  # fmt: skip


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
    """When the first pending video may be tried; None where none waits for a time."""
    too_many_failed: bool
    """Whether the share of failed videos is above `download.max_failed_share`."""
    errors: list[tuple[str, str, int]] = field(default_factory=list)
    """The ten most frequent (class, message, videos)."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Videos that only their download showed to be none of ours, by class (`opt_out`)."""
    resting: dict[str, datetime] = field(default_factory=dict)
    """Sites of this batch that refused and rest, each with the time at which one video may ask again."""
    paused: str = ""
    """Why videos were left although they were due: no room, a quota, a limit of the day."""
    wall_s: float = 0.0
    """Seconds that this pass took."""
    bytes_360p: int = 0
    """What the usual choice of 360 rows with sound would have taken, of the videos whose source tells."""
    bytes_720p: int = 0
    """The same of 720 rows."""
    bytes_compared: int = 0
    """Our bytes of those videos."""

    @property
    def videos(self) -> int:
        """Kept videos of the batch."""
        return self.ok + sum(self.failed.values()) + sum(self.rejected.values()) + self.pending + self.taken_down

    @property
    def rate(self) -> float:
        """Attempts a second of this pass."""
        return self.tried / self.wall_s if self.wall_s > 0 else 0.0


def download_batch(
    store: Store,
    config: Config,
    home: Home,
    batch: str,
    *,
    on_progress: ProgressCallback | None = None,
    now: datetime | None = None,
) -> DownloadReport:
    """Try the due videos of a batch; nothing due, nothing written.

    A share of failures above `download.max_failed_share`, sites that rest and a full disk are told by the report,
    after everything was recorded: the caller decides what they mean.

    Args:
        store: the store.
        config: source, download and engine settings.
        home: local state of the root: attempts work under its `tmp/`.
        batch: a name that a search gave.
        on_progress: hears the progress.
        now: the time that decides what is due (UTC), and then one pass is all; the current time by default.

    Raises:
        UserError: no such batch, a folder that cannot be written, or settings of the source that are wrong.
    """
    start = time.monotonic()
    states = download_states(store, batch)
    if not states:
        raise UserError(f"batch {batch!r} has no kept video in {store.root}: run the search first, or look at its name")
    tried, paused = 0, ""
    where = (pc.field("batch") == batch) & (pc.field("source") == config.source.kind)
    videos = {row["video_id"]: row for row in store.read("videos", _NEEDED, where).to_pylist()}
    sites = {site_of(row["source"], row["url"] or "") for row in videos.values()}
    while True:
        known = breakers(store)
        tries = _tries(store, config, batch, states, videos, known, now or datetime.now(UTC))
        if tries:
            done, paused = _pass(store, config, home, batch, tries, known, on_progress)
            tried += done
            states = download_states(store, batch)
        if not tries or not done or paused or now is not None:
            break
        wait = _seconds_to_next(states, videos, breakers(store))
        if wait is None or wait > config.download.max_wait_s:
            break
        if wait > 1 and on_progress is not None:
            on_progress(f"download {batch}: the next attempt may start in {wait:.0f} s")
        time.sleep(wait)
    return _report(store, config, batch, states, sites, tried, paused, time.monotonic() - start)


def _tries(
    store: Store,
    config: Config,
    batch: str,
    states: Mapping[str, State],
    videos: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Breaker],
    now: datetime,
) -> list[Try]:
    """Return what may be tried: due videos whose site does not rest, and dropped files that are needed again."""
    due = {*due_videos(states.values(), now), *dropped_and_uncut(store, config, batch, states.values())}
    tries = [Try(videos[name], states[name].attempts + 1, states[name].refused) for name in sorted(due & videos.keys())]
    at_rest = resting(known, {item.site for item in tries}, now)
    return [item for item in tries if item.site not in at_rest]


def _seconds_to_next(
    states: Mapping[str, State], videos: Mapping[str, Mapping[str, Any]], known: Mapping[str, Breaker]
) -> float | None:
    """Return the seconds until a pending video may be tried; None where there is none, or its site is given up."""
    now = datetime.now(UTC)
    times = []
    for name, state in states.items():
        if state.state != "pending" or name not in videos:
            continue
        at = state.next_try_at or now
        breaker = known.get(site_of(videos[name]["source"], videos[name]["url"] or ""))
        if breaker is not None and breaker.state == "open":
            if breaker.refusals >= _PATIENCE:
                continue
            at = max(at, breaker.next_try_at or now)
        times.append(at)
    return max((min(times) - now).total_seconds(), 0.0) if times else None


def _report(
    store: Store,
    config: Config,
    batch: str,
    states: Mapping[str, State],
    sites: set[str],
    tried: int,
    paused: str,
    wall_s: float,
) -> DownloadReport:
    now = datetime.now(UTC)
    by_state = Counter(state.state for state in states.values())
    unhappy = [state for state in states.values() if state.error_class]
    at_rest = resting(breakers(store), sites, now)
    pending = [state for state in states.values() if state.state == "pending"]
    errors = Counter((state.error_class or "", state.message or "") for state in unhappy)
    compared = [state for state in states.values() if state.state == "ok" and state.bytes_360p and state.bytes_720p]
    times = [state.next_try_at for state in pending if state.next_try_at]
    if pending and not times:
        times = list(at_rest.values())
    return DownloadReport(
        batch=batch,
        ok=by_state["ok"],
        failed=_classes(unhappy, "failed"),
        rejected=_classes(unhappy, "rejected"),
        pending=len(pending),
        pending_classes=dict(sorted(Counter(state.error_class or "new" for state in pending).items())),
        taken_down=by_state["taken_down"],
        tried=tried,
        bytes=sum(state.bytes for state in states.values()),
        seconds=sum(state.duration_s or 0.0 for state in states.values() if state.state == "ok"),
        next_try_at=min(times, default=None),
        too_many_failed=by_state["failed"] > config.download.max_failed_share * len(states),
        errors=sorted(((*told, count) for told, count in errors.items()), key=lambda row: (-row[2], row))[:10],
        resting=at_rest,
        paused=paused,
        wall_s=wall_s,
        bytes_360p=sum(state.bytes_360p or 0 for state in compared),
        bytes_720p=sum(state.bytes_720p or 0 for state in compared),
        bytes_compared=sum(state.bytes for state in compared),
    )


def _classes(states: list[State], wanted: str) -> dict[str, int]:
    return dict(sorted(Counter(state.error_class or "" for state in states if state.state == wanted).items()))


# -- the pass -----------------------------------------------------------------------------------------------------


def _pass(
    store: Store,
    config: Config,
    home: Home,
    batch: str,
    tries: list[Try],
    known: dict[str, Breaker],
    on_progress: ProgressCallback | None,
) -> tuple[int, str]:
    """Make the tries that limits, breakers and the disk allow; return their number, and why others were left."""
    with _workplace(home) as folder:
        room = Room(store, config, home)
        if shortage := room.shortage():
            return 0, shortage
        limits = SiteLimits(home.limits, config.source.kind, config.download)
        with open_source(config, home, store.storage_options) as source, limits:
            feed = Feed(tries, config.download, known, limits, room)
            return _work(store, config, source, batch, len(tries), feed, folder, on_progress), feed.paused


def _work(
    store: Store,
    config: Config,
    source: Source,
    batch: str,
    total: int,
    feed: Feed,
    folder: Path,
    on_progress: ProgressCallback | None,
) -> int:
    """Run the attempts and append their rows in chunks as they end; return their number."""
    workers = min(config.download.workers, total)
    engine = make_engine(
        config.engine,
        workers=-(-workers // _THREADS),
        threads=min(workers, _THREADS),
        deadline_s=config.download.deadline_s,
        eager=False,  # a refusal must be seen before the next video asks
    )
    work = partial(attempt, source=source, store=store, config=config.download, batch=batch, folder=folder)
    ledger = _Ledger(store)
    with Progress(f"download {batch}", total=total, unit="videos", on_progress=on_progress) as progress:
        try:
            for item, outcome in engine.run(work, ledger.while_waiting(feed)):
                assert isinstance(item, Try)
                tried: Tried = outcome.value if outcome.ok else lost(item, batch, outcome, config.download)
                ledger.add(tried.row, feed.finished(item, tried))
                row = tried.row
                progress.advance(note="" if row["state"] == "ok" else f"{row['error_class']}: {row['message'][:60]}")
        finally:
            ledger.flush()
    return ledger.added


class _Ledger:
    """Rows of `downloads` and `breakers` on their way into the store, a few dozen or a few seconds at a time."""

    def __init__(self, store: Store) -> None:
        self.store, self.added = store, 0
        self._rows: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def add(self, row: dict[str, Any], change: Breaker | None) -> None:
        self._rows.append(row)
        self.added += 1
        if change is not None:
            # at once: other runs ask the same site
            self.store.append("breakers", [change.row()])
        if len(self._rows) >= _CHUNK_ROWS or change is not None:
            self.flush()
        self._flush_if_old()

    def while_waiting(self, feed: Feed) -> Iterator[Try | Later]:
        """Yield what a feed gives, and let no row wait as long as it may."""
        for item in feed:
            self._flush_if_old()
            if isinstance(item, Later):
                item = Later(min(item.seconds, _CHUNK_S))
            yield item
        # nothing more to give: what is finished is written while the last ones take their time
        while feed.at_work.total():
            self._flush_if_old()
            yield Later(_CHUNK_S)

    def _flush_if_old(self) -> None:
        if self._rows and time.monotonic() - self._since > _CHUNK_S:
            self.flush()

    def flush(self) -> None:
        """Append the rows, but for videos that were taken down meanwhile: their blobs go."""
        rows, self._rows, self._since = self._rows, [], time.monotonic()
        if not rows:
            return
        hidden = taken_down(self.store).hidden_videos(self.store)
        for row in rows:
            if row["video_id"] in hidden and row["path"]:
                self.store.delete(row["path"])
        self.store.append("downloads", [row for row in rows if row["video_id"] not in hidden])


@contextmanager
def _workplace(home: Home) -> Iterator[Path]:
    """Yield a folder for this process's attempts; sweep those of processes that are gone."""
    try:
        home.tmp.mkdir(parents=True, exist_ok=True)
        for leftover in home.tmp.glob("download-*-*"):
            owner = leftover.name.split("-")[1]
            if not owner.isdigit() or not psutil.pid_exists(int(owner)):
                shutil.rmtree(leftover, ignore_errors=True)
        folder = home.tmp / f"download-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
    except OSError as exc:
        raise UserError(
            f"folder {str(home.tmp)!r} for unfinished downloads cannot be made: {exc.strerror}. Give this user write "
            "access to it, or choose another --root."
        ) from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
