"""Supervision of the worker processes of one run: give out tasks, receive answers, replace workers that die or hang."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from pipeline.workers.memory import MemoryWatch
from pipeline.workers.outcome import Outcome, late_text
from pipeline.workers.process import WorkerProcess, start_worker, stop_workers
from pipeline.workers.tasks import Task, TaskQueue
from pipeline.workers.worker import NUMBER_BYTES, READY

_START_DEATHS = 5
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many workers a run has, and how long an item may take."""

    workers: int
    threads: int
    """Items at a time in each worker."""
    deadline_s: float
    """Seconds after which an item is killed with its worker."""
    deadline_setting: str = ""
    """The name of the setting that says so."""
    eager: bool
    """Whether a worker gets its next item before the caller has seen the last outcome."""
    memory_mb: int = 0
    """Memory that a worker may hold together with its children; 0: no limit."""
    tmp: str | None = None
    """Where workers make temporary files; None: where this process makes them."""


class Supervisor:
    """The workers of one run."""

    def __init__(self, queue: TaskQueue, limits: Limits, setup: bytes) -> None:
        """Prepare a run without starting a worker.

        Args:
            queue: the tasks, and where their outcomes go.
            limits: number of workers and threads, deadline.
            setup: the pickled function, initializer and number of threads, sent to each worker at its start.
        """
        self._queue, self._limits, self._setup = queue, limits, setup
        self._workers: list[WorkerProcess] = []
        self._start_deaths = 0
        self._watch = MemoryWatch(limits.memory_mb)

    def outcomes(self) -> Iterator[tuple[Any, Outcome]]:
        """Yield each item with its outcome, as they end.

        Raises:
            RuntimeError: workers cannot start.
        """
        queue = self._queue
        while True:
            while queue.outcomes:
                yield queue.outcomes.popleft()
            self._fill()
            if queue.outcomes:  # items that cannot be sent to a worker
                continue
            idle = not any(worker.tasks for worker in self._workers)
            if idle and queue.is_empty():
                return
            if idle and not queue.must_pause():
                continue
            self._wait()

    def close(self, grace_s: float) -> None:
        """Stop all workers: idle ones end by themselves within `grace_s` seconds, the rest is killed."""
        self._watch.close()
        stop_workers(self._workers, grace_s)

    # -- sending --------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give tasks to all workers with room, and start workers while there are tasks left over."""
        for worker in self._workers:
            self._fill_worker(worker)
        while len(self._workers) < self._limits.workers:
            task = self._queue.next_task(alone=True)
            if task is None:
                return
            worker = start_worker(self._limits.tmp)
            self._workers.append(worker)
            self._watch.add(worker)
            worker.send_setup(self._setup)
            worker.send(task)
            self._fill_worker(worker)

    def _fill_worker(self, worker: WorkerProcess) -> None:
        while worker.has_room(self._limits.threads):
            task = self._queue.next_task(alone=not worker.tasks)
            if task is None:
                return
            worker.send(task)

    # -- receiving ------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for an answer, a deadline or the time to ask for more items, whichever is first, and act on it."""
        now = time.monotonic()
        ends = [
            task.started + self._limits.deadline_s
            for worker in self._workers
            if worker.ready
            for task in worker.tasks.values()
        ]
        if self._queue.resume_at > now:
            ends.append(self._queue.resume_at)
        left = min((end - now for end in ends), default=_LONGEST_WAIT_S)
        answered = set(wait([worker.connection for worker in self._workers], timeout=max(left, 0.0)))
        for worker in [worker for worker in self._workers if worker.connection in answered]:
            self._receive(worker)
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.ready and worker.connection not in answered]:
            self._kill_if_late(worker, now)

    def _receive(self, worker: WorkerProcess) -> None:
        try:
            message = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._replace_dead(worker)
            return
        if not worker.ready:
            self._start_tasks(worker, message)
            return
        task = worker.tasks.pop(int.from_bytes(message[:NUMBER_BYTES]))
        self._queue.finish(task, message[NUMBER_BYTES:], alone=worker.num_sent == 1)
        if not worker.tasks and self._watch.holds_much(worker):
            # not all memory goes back to the system: the next item shall not pay for this one
            self._end(worker)
        elif self._limits.eager:
            # the next item goes out before the caller sees this outcome: a slow caller leaves no worker idle
            self._fill_worker(worker)

    def _start_tasks(self, worker: WorkerProcess, message: bytes) -> None:
        """Note that a worker has started; the deadline of its tasks does not include its own start."""
        state, detail = pickle.loads(message)
        if state != READY:
            raise RuntimeError(f"a worker process could not start:\n{detail}")
        worker.ready, self._start_deaths = True, 0
        for task in worker.tasks.values():
            task.started = time.monotonic()

    def _end(self, worker: WorkerProcess) -> int:
        """Kill a worker and return its exit code; `_fill` starts another where there are tasks."""
        self._workers.remove(worker)
        self._watch.remove(worker)
        return worker.kill()

    def _replace_dead(self, worker: WorkerProcess) -> None:
        """Return the tasks of a worker that died to the queue; those that had not begun lose no attempt."""
        code, tasks = self._end(worker), list(worker.tasks.values())
        if worker.ready and worker.over_memory:
            self._queue.return_after_lack_of_memory(tasks, alone=worker.num_sent == 1)
            return
        if worker.ready:
            self._queue.return_after_death(tasks, code)
            return
        self._start_deaths += 1
        if self._start_deaths >= _START_DEATHS:
            raise RuntimeError(f"{_START_DEATHS} worker processes in a row died while they started (exit code {code})")
        self._queue.return_unharmed(tasks)

    def _kill_if_late(self, worker: WorkerProcess, now: float) -> None:
        """Kill a worker with an item past its deadline; its other items are tried again elsewhere."""
        late = [task for task in worker.tasks.values() if now - task.started >= self._limits.deadline_s]
        if not late:
            return
        self._end(worker)
        others: list[Task] = [task for task in worker.tasks.values() if task not in late]
        for task in late:
            self._queue.time_out(task, late_text(self._limits.deadline_s, self._limits.deadline_setting))
        self._queue.return_unharmed(others)
