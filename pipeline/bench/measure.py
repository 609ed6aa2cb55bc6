"""Measure one call: seconds, CPU-seconds and peak memory; and how a figure grows from one size to the next."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")
_LOOK_S = 0.02


@dataclass(frozen=True)
class Cost:
    """What a call cost."""

    seconds: float
    cpu_s: float
    """Of all threads of the process, and of its children that ended."""
    peak_mb: float
    """The most memory of the process, its imports included; pages of mapped files, which may be dropped, are not."""
    above_mb: float
    """The same above what the process held before the call."""


def measure(call: Callable[[], object]) -> Cost:
    """Call a function and return what it cost; the process should do nothing else."""
    before = _memory_mb()
    with PeakMemory() as peak:
        started, cpu = time.monotonic(), _cpu_s()
        call()
        seconds, cpu_s = time.monotonic() - started, _cpu_s() - cpu
    return Cost(seconds, cpu_s, peak.own_mb, max(0.0, peak.own_mb - before))


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the exponent with which values grow with sizes, over the last two of them: 1 is linear."""
    grown = math.log(max(1e-9, values[-1]) / max(1e-9, values[-2]))
    return grown / math.log(sizes[-1] / sizes[-2])


class PeakMemory:
    """The most memory of its own that this process has while the block runs, looked at fifty times a second."""

    def __init__(self) -> None:
        self.own_mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self.own_mb = _memory_mb()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.own_mb = max(self.own_mb, _memory_mb())

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.own_mb = max(self.own_mb, _memory_mb())


def _memory_mb() -> float:
    """Return the memory that this process has of its own: what is resident, without pages of files where that shows."""
    if not _STATUS.exists():
        return float(psutil.Process().memory_info().rss) / (1 << 20)
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(lines["RssAnon"].split()[0]) / 1024


def _cpu_s() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system
