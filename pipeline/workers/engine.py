"""Run one function over many items in supervised worker processes.

    for item, outcome in make_engine(config.engine).run(cut_video, rows):
        ...

A worker that dies costs its item one attempt and the other items nothing. An item that kills every worker is
quarantined, one that hangs is killed at its deadline, one that needs more memory than `engine.memory_mb` is killed
when it holds it, and a function that raises gives an outcome instead of an
exception. Items are read from the iterable when a worker is free, never ahead, and outcomes come in the order in which
the items end. An iterable that has no item right now yields `Later`.

Work that waits for a network runs in threads of a worker. When such a worker dies, nobody knows which of its items
killed it: each is tried again alone, and only a death while alone counts against an item.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.engine import EngineConfig
from pipeline.storage.store import Store
from pipeline.usage import add_of_worker
from pipeline.workers.outcome import Engine, Outcome, T, raise_store_trouble
from pipeline.workers.supervisor import Limits, Supervisor
from pipeline.workers.tasks import TaskQueue

_GRACE_S = 5.0


def scratch_of(config: EngineConfig, tmp: Path) -> Path | None:
    """Return the folder for temporary files that items may name; None where each worker takes its own node's."""
    return tmp if config.backend == "local" else None


def make_engine(
    config: EngineConfig,
    *,
    workers: int | None = None,
    threads: int = 1,
    deadline_s: float | None = None,
    deadline_setting: str = "",
    eager: bool = True,
    tmp: Path | None = None,
    store: Store | None = None,
    folders: tuple[str, ...] = (),
    networks: bool = False,
    here: bool = False,
) -> Engine:
    """Return the engine that the configuration describes; `workers` and `deadline_s` override it.

    Args:
        config: worker processes, attempts, deadline and memory.
        workers: worker processes; by default those of the configuration, else one per core.
        threads: items at a time in each worker.
        deadline_s: seconds after which an item is killed.
        deadline_setting: the name of the setting that `deadline_s` is from, for messages.
        eager: whether a worker gets its next item before the caller has seen the last outcome.
        tmp: where workers of this machine make temporary files; by default where this process makes them. Nodes of a
            cluster make them in `engine.node_tmp`.
        store: what the items read and write: nodes of a cluster must see its folder.
        folders: other folders that the items read.
        networks: whether the items run a network, which a cluster may give a GPU.
        here: whether the work stays on this machine, whatever the backend: it is one question at a time, or reads
            what only this machine has.
    """
    if config.backend == "ray" and not here:
        from pipeline.workers.ray_engine import RayEngine, landmark_of  # Ray is imported where it is used

        return RayEngine(
            config=config,
            workers=workers or config.workers,
            threads=threads,
            deadline_s=deadline_s or config.deadline_s,
            deadline_setting=deadline_setting if deadline_s else "engine.deadline_s",
            eager=eager,
            networks=networks,
            folders=(*((store.root,) if store is not None and store.is_local else ()), *folders),
            landmark=landmark_of(store) if store is not None else None,
        )
    return LocalEngine(
        workers=workers or config.workers or len(os.sched_getaffinity(0)),
        max_attempts=config.max_attempts,
        deadline_s=deadline_s or config.deadline_s,
        deadline_setting=deadline_setting if deadline_s else "engine.deadline_s",
        threads=threads,
        eager=eager,
        memory_mb=config.memory_mb,
        tmp=tmp,
    )


@dataclass(frozen=True)
class LocalEngine:
    """Supervised worker processes on this machine."""

    workers: int
    max_attempts: int = 3
    deadline_s: float = 900.0
    threads: int = 1
    eager: bool = True
    memory_mb: int = 2048
    """Memory that a worker may hold together with its children; 0: no limit."""
    deadline_setting: str = ""
    """The name of the setting that gives `deadline_s`, for messages."""
    tmp: Path | None = None
    """Where workers make temporary files: in a folder that goes with the run, as a killed worker removes none."""

    def run(
        self, fn: Callable[[Any], Any], items: Iterable[T], *, initializer: Callable[[], Any] | None = None
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each item with its outcome, unordered.

        Args:
            fn: a function (or `functools.partial` of one) that workers can import: not a lambda, not of `__main__`.
            items: picklable, or `Later`; read one at a time, when a worker is free.
            initializer: called once in each worker before its first item.

        Raises:
            RuntimeError: no worker can start (the initializer raises, or the function cannot be imported).
            StoreError: an item ended with it. The store refuses or is away, which is no item's fault.
        """
        setup = pickle.dumps((fn, initializer, self.threads))
        with tempfile.TemporaryDirectory(prefix="lampworks-", dir=self.tmp, ignore_cleanup_errors=True) as folder:
            limits = Limits(
                workers=self.workers,
                threads=self.threads,
                deadline_s=self.deadline_s,
                deadline_setting=self.deadline_setting,
                eager=self.eager,
                memory_mb=self.memory_mb,
                tmp=folder,
            )
            supervisor = Supervisor(TaskQueue(iter(items), self.max_attempts, self.memory_mb), limits, setup)
            try:
                for item, outcome in supervisor.outcomes():
                    add_of_worker(outcome.usage, is_child=True)
                    raise_store_trouble(outcome)
                    yield item, outcome
                supervisor.close(grace_s=_GRACE_S)
            finally:
                supervisor.close(grace_s=0)
