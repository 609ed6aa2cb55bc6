"""What this process has used so far: processor time, GPU time, bytes and requests, its worker processes included.

    before = used()
    ...
    spent = used() - before

One counter for the whole process. Storage counts what it reads and writes, sources what they download; workers send
what they counted with each answer (`pipeline.workers`), and `add_of_worker` adds it here.
"""

from __future__ import annotations

import dataclasses
import resource
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What some work has used."""

    cpu_s: float = 0.0
    """Seconds of processors, of all threads, and of child processes that ended."""
    gpu_s: float = 0.0
    """Seconds for which GPUs were held, each counted."""
    bytes_read: int = 0
    """From the store: of blobs as they lie there, of tables as their rows are in memory."""
    bytes_written: int = 0
    bytes_downloaded: int = 0
    """From sources, over the network, whatever came of it."""
    requests: int = 0
    """To the store. In a folder: operations on blobs and tables. On S3: requests for blobs as they are sent, those
    that were tried again included; an operation on a table counts as one, and is several requests of delta-rs."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})

    def __sub__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) - getattr(other, name) for name in NAMES})


NAMES = tuple(field.name for field in dataclasses.fields(Usage))
"""The quantities."""
_lock = threading.Lock()
_counted = Usage()
_gpus, _since = 0, 0.0
_sent = Usage()


def count(*, read: int = 0, written: int = 0, downloaded: int = 0, requests: int = 0) -> None:
    """Add what was just done."""
    _add(Usage(bytes_read=read, bytes_written=written, bytes_downloaded=downloaded, requests=requests))


def used() -> Usage:
    """Return what this process has used since it began."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = time.process_time() + children.ru_utime + children.ru_stime
    with _lock:
        return _counted + Usage(cpu_s=own, gpu_s=_gpus * (time.monotonic() - _since))


def hold_gpus(gpus: int = 1) -> None:
    """Count the seconds of so many GPUs from now on, until `release_gpus`; the same call again changes nothing."""
    global _gpus, _since
    if gpus != _gpus:
        release_gpus()
        with _lock:
            _gpus, _since = gpus, time.monotonic()


def release_gpus() -> None:
    """Stop counting seconds of GPUs."""
    global _counted, _gpus
    with _lock:
        _counted += Usage(gpu_s=_gpus * (time.monotonic() - _since))
        _gpus = 0


def take_unsent() -> Usage:
    """Return what a worker process has used since it last told its parent."""
    global _sent
    now = used()
    with _lock:
        before, _sent = _sent, now
    return now - before


def add_of_worker(usage: Usage, *, is_child: bool) -> None:
    """Add what a worker told; the processor time of a child is known once it ends, and is not counted twice."""
    _add(dataclasses.replace(usage, cpu_s=0.0) if is_child else usage)


def _add(usage: Usage) -> None:
    global _counted
    with _lock:
        _counted += usage
