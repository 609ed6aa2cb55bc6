"""Run one function over many items as tasks of a Ray cluster: the same outcomes as `LocalEngine`, on many machines.

A task is one item. The keys of what it works on travel, not the data: a task reads and writes the store by itself, and
only its row comes back. On its node a worker process does the work (`pipeline.workers.node`), so deadlines, memory
and deaths are handled there. Here is handled what happens to nodes: an item whose node is lost is tried again on
another one, and quarantined after `engine.max_attempts` losses; one whose node says nothing long after its deadline is
cancelled; and where the head is gone the run ends with a sentence, and what is done is kept.
"""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.config.engine import EngineConfig
from pipeline.errors import UserError
from pipeline.storage.store import Store
from pipeline.usage import add_of_worker
from pipeline.workers.code import code_hash
from pipeline.workers.node import Landmark, NodeTask, Started
from pipeline.workers.outcome import Outcome, T, late_text, raise_store_trouble
from pipeline.workers.ray_cluster import connected, unreachable
from pipeline.workers.tasks import Task, TaskQueue

_GRACE_S = 60.0
"""Seconds after its last deadline at which a task is cancelled: its node ends it at the deadline, if it works."""
_LOOK_S = 5.0
"""Seconds between two looks at the head and the nodes, while nothing else happens."""


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Tasks of a Ray cluster."""

    config: EngineConfig
    workers: int = 0
    """Items in flight; 0: twice as many as the cluster works on at a time, so that no node waits for the next."""
    threads: int = 1
    """Items that share the cores of one task, because they wait for a network."""
    deadline_s: float = 900.0
    deadline_setting: str = ""
    eager: bool = True
    networks: bool = False
    """Whether a task runs a network: it gets `engine.task_gpus`."""
    folders: tuple[str, ...] = ()
    """Folders of this machine that all nodes must have."""
    landmark: Landmark | None = None
    """A file of the root that all nodes must see."""

    def run(
        self, fn: Callable[[Any], Any], items: Iterable[T], *, initializer: Callable[[], Any] | None = None
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each item with its outcome, unordered.

        Args:
            fn: a function (or `functools.partial` of one) that workers can import: not a lambda, not of `__main__`.
            items: picklable, or `Later`; read one at a time, when a task has room.
            initializer: called once in each worker before its first item.

        Raises:
            UserError: the cluster cannot be used, or its head went away.
            RuntimeError: no worker can start (the initializer raises, or the function cannot be imported).
            StoreError: an item ended with it.
        """
        ray = connected(self.config)
        run = _Run(ray, self, pickle.dumps((fn, initializer, 1)), TaskQueue(iter(items), self.config.max_attempts))
        run.refuse_unshared_folders()
        try:
            for item, outcome in run.outcomes():
                add_of_worker(outcome.usage, is_child=False)
                raise_store_trouble(outcome)
                yield item, outcome
        finally:
            run.cancel()


@dataclass
class _InFlight:
    """A task that Ray has."""

    task: Task
    answers: Any
    """Its generator of references."""
    started: float | None = None
    """Monotonic time of the node's first answer."""


@dataclass
class _Run:
    """One call of `RayEngine.run`."""

    ray: ModuleType
    engine: RayEngine
    setup: bytes
    queue: TaskQueue
    flying: dict[Any, _InFlight] = field(default_factory=dict)
    """By the generator of their references."""
    room: int = 0
    looked: float = float("-inf")

    def __post_init__(self) -> None:
        self.node_task = self._node_task()

    @property
    def patience_s(self) -> float:
        """Seconds after a node's first answer at which its item is given up.

        The node tries an item again whose worker dies, or lacks memory: each time may take as long as the deadline.
        """
        return (self.engine.config.max_attempts + 1) * self.engine.deadline_s + _GRACE_S

    def outcomes(self) -> Iterator[tuple[Any, Outcome]]:
        queue = self.queue
        work = self._remote()
        while True:
            while queue.outcomes:
                yield queue.outcomes.popleft()
            self._look()
            self._fill(work)
            if queue.outcomes:
                continue
            if not self.flying:
                if queue.is_empty():
                    return
                if queue.must_pause():
                    time.sleep(max(0.0, min(queue.resume_at - time.monotonic(), _LOOK_S)))
                continue
            self._wait()
            if self.engine.eager:
                self._fill(work)

    def cancel(self) -> None:
        """End what Ray still works on."""
        for flying in self.flying.values():
            self.ray.cancel(flying.answers, force=True)
        self.flying.clear()

    def refuse_unshared_folders(self) -> None:
        """Raise UserError where work would lie in a folder of this machine that other machines may not see."""
        engine, here = self.engine, self.ray.util.get_node_ip_address()
        others = sorted({str(node["NodeManagerAddress"]) for node in self._nodes()} - {here})
        if engine.folders and others and not engine.config.shared_root:
            raise UserError(
                f"the Ray cluster has nodes on other machines ({', '.join(others[:3])}), and {engine.folders[0]} is a "
                "folder of this one: use an s3:// root, or share the folder with all nodes under the same path and set "
                "engine.shared_root = true"
            )

    # -- sending --------------------------------------------------------------------------------------------------

    def _remote(self) -> Any:
        config, engine = self.engine.config, self.engine
        cpus = config.task_cpus / engine.threads
        return _task_of(self.ray).options(
            name="lampworks item",
            num_returns="streaming",
            max_retries=0,
            num_cpus=round(cpus, 4) if cpus < 1 else cpus,
            num_gpus=config.task_gpus if engine.networks else 0,
            memory=config.task_memory_mb << 20 or None,
        )

    def _node_task(self) -> bytes:
        engine = self.engine
        known = NodeTask(
            setup=self.setup,
            max_attempts=engine.config.max_attempts,
            deadline_s=engine.deadline_s,
            deadline_setting=engine.deadline_setting,
            memory_mb=engine.config.memory_mb,
            tmp=engine.config.node_tmp,
            folders=engine.folders,
            landmark=engine.landmark,
        )
        return pickle.dumps(known)

    def _fill(self, work: Any) -> None:
        while len(self.flying) < self.room:
            task = self.queue.next_task(alone=True)
            if task is None:
                return
            answers = work.remote(code_hash(), self.node_task, task.payload)
            self.flying[answers] = _InFlight(task, answers)

    # -- receiving ------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = time.monotonic()
        ends = [self.looked + _LOOK_S]
        ends += [one.started + self.patience_s for one in self.flying.values() if one.started]
        if self.queue.resume_at > now:
            ends.append(self.queue.resume_at)
        left = max(min(ends) - now, 0.0)
        answered, _ = self.ray.wait(list(self.flying), num_returns=1, timeout=left, fetch_local=False)
        for answers in answered:
            self._receive(self.flying[answers])
        now = time.monotonic()
        for one in [one for one in self.flying.values() if one.started and one.answers not in answered]:
            if one.started is not None and now - one.started > self.patience_s:
                self.ray.cancel(one.answers, force=True)
                del self.flying[one.answers]
                self.queue.time_out(one.task, late_text(self.engine.deadline_s, self.engine.deadline_setting))

    def _receive(self, one: _InFlight) -> None:
        errors = self.ray.exceptions
        try:
            answer = self.ray.get(next(one.answers))
        except (errors.NodeDiedError, errors.LocalRayletDiedError) as error:
            self._lost(one, f"node {_address_in(error)} is gone")
            return
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            self._lost(one, f"Ray's process for it ended: {type(error).__name__}")
            return
        except errors.TaskCancelledError:
            self._lost(one, "its task was cancelled from outside")
            return
        except (errors.RuntimeEnvSetupError, errors.TaskUnschedulableError) as error:
            raise UserError(f"the Ray cluster cannot run a task: {str(error).strip()[:500]}") from error
        except errors.RayTaskError as error:
            raise RuntimeError(f"a node of the Ray cluster cannot work on items:\n{error}") from error
        if isinstance(answer, Outcome):
            del self.flying[one.answers]
            self.queue.finish_elsewhere(one.task, answer)
            return
        address, started = answer
        if not isinstance(started, Started):
            raise UserError(
                f"node {address} of the Ray cluster cannot run Lampworks ({started}): install the package with its "
                'dependencies there (`pip install "lampworks[ray]"`), or take the node out. What was done is kept.'
            )
        if started.refusal:
            raise UserError(f"node {address} of the Ray cluster is refused: {started.refusal}. What was done is kept.")
        one.started = time.monotonic()

    def _lost(self, one: _InFlight, why: str) -> None:
        del self.flying[one.answers]
        self.queue.return_after_loss(one.task, why)

    # -- looking at the cluster -----------------------------------------------------------------------------------

    def _look(self) -> None:
        """See now and then that the head is there, and how many items the nodes can work on."""
        now = time.monotonic()
        if now - self.looked < _LOOK_S:
            return
        first, self.looked = self.looked == float("-inf"), now
        why = "" if first else unreachable(self.engine.config)
        if why:
            raise UserError(
                f"the Ray head at engine.address = {self.engine.config.address!r} went away ({why}). What was done is "
                "kept: run again when it is back."
            )
        places = sum(self._places(node) for node in self._nodes())
        if not places:
            config = self.engine.config
            raise UserError(
                f"no node of the Ray cluster at {config.address} can take a task of engine.task_cpus = "
                f"{config.task_cpus:g}, task_gpus = {config.task_gpus:g}, task_memory_mb = {config.task_memory_mb}: "
                f"start one with `ray start --address={config.address}`, or lower these. What was done is kept."
            )
        engine = self.engine
        most = engine.workers * engine.threads
        self.room = min(most, places) if most else (2 * places if engine.eager else places)

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]

    def _places(self, node: dict[str, Any]) -> int:
        """Return how many items a node can work on at a time."""
        config, has = self.engine.config, node["Resources"]
        places = int(has.get("CPU", 0.0) / (config.task_cpus / self.engine.threads) + 1e-6)
        if self.engine.networks and config.task_gpus:
            places = min(places, int(has.get("GPU", 0.0) / config.task_gpus))
        if config.task_memory_mb:
            places = min(places, int(has.get("memory", 0.0) / (config.task_memory_mb << 20)))
        return places


def landmark_of(store: Store) -> Landmark | None:
    """Return the newest file of the table of videos; None where there is none, or the store is in no folder."""
    if not store.is_local:
        return None
    written = sorted(Path(store.url("videos"), "_delta_log").glob("*.json"))
    return Landmark(str(written[-1]), hashlib.sha256(written[-1].read_bytes()).hexdigest()) if written else None


def _address_in(error: BaseException) -> str:
    """Return the address that Ray's message names."""
    _, found, rest = str(error).partition("Node IP: ")
    return rest.partition(",")[0] if found else "unknown"


def _task_of(ray: ModuleType) -> Any:
    """Return the task as a function that Ray sends whole, so that a node without the package can say so."""

    def item(code: str, task: bytes, payload: bytes) -> Iterator[Any]:
        import sys

        import ray as ray_there

        address = ray_there.util.get_node_ip_address()
        try:
            from pipeline.workers.node import work_on
        except ImportError as error:
            yield address, f"{error}, Python {sys.executable}"
            return
        answers = work_on(code, task, payload)
        yield address, next(answers)
        yield from answers

    return ray.remote(item)
