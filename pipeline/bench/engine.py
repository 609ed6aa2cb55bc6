"""Items a second of the engine, and what an item costs beside its own work, on this machine and on a Ray cluster.

Two kinds of item: one without work, whose whole time is overhead, and one that computes for some milliseconds. The
first outcome comes after the start of the workers, which is measured apart.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.engine import EngineConfig
from pipeline.workers.engine import make_engine

WORK_MS = (0, 50)
"""Milliseconds that an item computes."""


@dataclass(frozen=True)
class EngineRun:
    """What one backend did with items of one kind."""

    backend: str
    work_ms: int
    items: int
    workers: int
    """Items at a time."""
    start_s: float
    """Seconds to the first outcome."""
    seconds: float
    """From the first outcome to the last."""
    failed: int

    @property
    def items_s(self) -> float:
        """Items a second, after the start."""
        return (self.items - 1) / self.seconds

    @property
    def overhead_ms(self) -> float:
        """Milliseconds of a worker for each item beyond the work itself."""
        return 1000 * self.workers / self.items_s - self.work_ms


def bench_engine(configs: list[EngineConfig], items: int) -> Iterator[EngineRun]:
    """Yield a run of each backend, kind by kind.

    Args:
        configs: the backends; `workers` says how many items at a time each works on.
        items: of each run, 2 at least.
    """
    for work_ms in WORK_MS:
        for config in configs:
            yield _measure(config, work_ms, items)


def local_config() -> EngineConfig:
    """Return the engine of this machine, with a worker for every core."""
    return EngineConfig(workers=len(os.sched_getaffinity(0)))


def cluster_config(address: str, token_file: str, workers: int) -> EngineConfig:
    """Return the engine of a Ray cluster, with so many items at a time."""
    return EngineConfig(backend="ray", address=address, token_file=token_file, workers=workers)


def compute(work_ms: int) -> int:
    """Compute for some milliseconds of processor time."""
    end = time.thread_time() + work_ms / 1000
    while time.thread_time() < end:
        pass
    return work_ms


def _measure(config: EngineConfig, work_ms: int, items: int) -> EngineRun:
    began, first, failed = time.perf_counter(), 0.0, 0
    for _, outcome in make_engine(config).run(compute, [work_ms] * items):
        first = first or time.perf_counter()
        failed += not outcome.ok
    seconds = time.perf_counter() - first
    return EngineRun(config.backend, work_ms, items, config.workers, first - began, seconds, failed)
