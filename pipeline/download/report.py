"""What a batch holds after a download: its videos by state, the frequent errors, bytes and the pauses of its sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.download.circuit_breaker import breakers, paused_until
from pipeline.download.ledger import State
from pipeline.job import BatchJob


@dataclass(frozen=True)
class DownloadReport:
    """A batch after a download: where each of its kept videos stands, and what this download did."""

    batch: str
    ok: int
    failed: dict[str, int]
    """Failed videos by error class."""
    pending: int
    pending_classes: dict[str, int]
    """Pending videos by the class of their last attempt (`new` where there was none)."""
    taken_down: int
    tried: int
    """Attempts that this download made."""
    bytes: int
    """Bytes of all files of the batch."""
    seconds: float
    """Seconds of video of all files of the batch."""
    next_try_at: datetime | None
    """When the first pending video is due; None where none waits for a time."""
    too_many_failed: bool
    """Whether the share of failed videos is above `download.max_failed_share`."""
    errors: list[tuple[str, str, int]] = field(default_factory=list)
    """The ten most frequent (class, message, videos)."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Videos that must not be used, for a reason that only their download showed, by class (`opt_out`)."""
    paused_sites: dict[str, datetime] = field(default_factory=dict)
    """Sites of this batch that their circuit breaker pauses, each with the time at which one video may ask again."""
    paused: str = ""
    """Why due videos were not attempted: the disk budget or a daily limit; "" where all were."""
    wall_s: float = 0.0
    """Seconds that this download took."""
    bytes_360p: int = 0
    """Bytes of the usual format (at most 360 rows, with sound), of the videos whose source gives them."""
    bytes_720p: int = 0
    """The same for at most 720 rows."""
    bytes_compared: int = 0
    """Our bytes of those videos."""

    @property
    def videos(self) -> int:
        """Kept videos of the batch."""
        return self.ok + sum(self.failed.values()) + sum(self.rejected.values()) + self.pending + self.taken_down

    @property
    def rate(self) -> float:
        """Attempts a second."""
        return self.tried / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(frozen=True)
class PassTotals:
    """What the passes of one download did."""

    attempts: int
    paused: str
    """Why due videos were not attempted; "" where all were."""
    wall_s: float = 0.0


def download_report(
    job: BatchJob, states: Mapping[str, State], sites: Iterable[str], passes: PassTotals
) -> DownloadReport:
    """Return the report of a batch.

    Args:
        job: the batch.
        states: states of its videos by id, after the last pass.
        sites: sites that its videos are on.
        passes: what this download did.
    """
    by_state = Counter(state.state for state in states.values())
    with_error = [state for state in states.values() if state.error_class]
    errors = Counter((state.error_class or "", state.message or "") for state in with_error)
    pending = [state for state in states.values() if state.state == "pending"]
    compared = [state for state in states.values() if state.state == "ok" and state.bytes_360p and state.bytes_720p]
    paused_sites = paused_until(breakers(job.store), sites, datetime.now(UTC))
    times = [state.next_try_at for state in pending if state.next_try_at]
    if pending and not times:
        times = list(paused_sites.values())
    return DownloadReport(
        batch=job.batch,
        ok=by_state["ok"],
        failed=_by_class(with_error, "failed"),
        rejected=_by_class(with_error, "rejected"),
        pending=len(pending),
        pending_classes=dict(sorted(Counter(state.error_class or "new" for state in pending).items())),
        taken_down=by_state["taken_down"],
        tried=passes.attempts,
        bytes=sum(state.bytes for state in states.values()),
        seconds=sum(state.duration_s or 0.0 for state in states.values() if state.state == "ok"),
        next_try_at=min(times, default=None),
        too_many_failed=by_state["failed"] > job.config.download.max_failed_share * len(states),
        errors=sorted(((*error, count) for error, count in errors.items()), key=lambda row: (-row[2], row))[:10],
        paused_sites=paused_sites,
        paused=passes.paused,
        wall_s=passes.wall_s,
        bytes_360p=sum(state.bytes_360p or 0 for state in compared),
        bytes_720p=sum(state.bytes_720p or 0 for state in compared),
        bytes_compared=sum(state.bytes for state in compared),
    )


def _by_class(states: Iterable[State], wanted: str) -> dict[str, int]:
    return dict(sorted(Counter(state.error_class or "" for state in states if state.state == wanted).items()))
