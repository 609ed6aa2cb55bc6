"""The engine seam: run one function over many items, in supervised worker processes.

    for item, outcome in make_engine(config.engine).run(cut_video, rows):
        ...

A worker that dies costs its item one attempt and the others nothing; an item that always kills its worker is
quarantined; one that hangs is ended at its deadline; a function that raises gives an outcome, not an exception.
Items are taken from the iterable as workers come free, never ahead, and outcomes come in the order they end. An
iterable that has nothing to give right now yields `Later`.

Work that waits for a network runs in threads of a worker. When such a worker dies, nobody knows which of its items
did it: each is tried again alone, and only a death alone counts against an item.

Each worker has a socket of its own, so one that is killed in the middle of an answer cannot garble or lock what the
others say (pools that share one queue can lose all of it). What goes over it is pickled, as in the standard library's
pools: the other end is a child that this process started itself, and nothing of it reaches a disk or a network.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from pipeline.config.source import EngineConfig
from pipeline.workers.worker import NUMBER_BYTES, READY

T = TypeVar("T")
WORKER_DIED, TIMEOUT = "worker_died", "timeout"
_START_DEATHS = 5
_GRACE_S = 5.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Outcome:
    """What came of one item."""

    ok: bool
    value: Any
    """The function's result (None unless ok)."""
    error_class: str
    """`error_class` of the exception if it has one, else its type's name; `worker_died`; `timeout`; "" if ok."""
    message: str
    attempts: int
    """Times it was tried: above 1 only where a worker died."""


@dataclass(frozen=True)
class Later:
    """Given by an iterable of items instead of one: ask again in this many seconds, or after the next outcome."""

    seconds: float


class Engine(Protocol):
    """Runs a top-level function over items somewhere else; never raises for an item."""

    def run(
        self, fn: Callable[[Any], Any], items: Iterable[T], *, initializer: Callable[[], Any] | None = None
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each item with its outcome, unordered; closing the iterator stops the workers."""
        ...


def make_engine(
    config: EngineConfig,
    *,
    workers: int | None = None,
    threads: int = 1,
    deadline_s: float | None = None,
    eager: bool = True,
) -> Engine:
    """Return the engine that the configuration names; `workers` and `deadline_s` win over it.

    Args:
        config: worker processes, attempts and deadline.
        workers: worker processes.
        threads: items at a time in each of them.
        deadline_s: seconds after which an item is ended.
        eager: whether a worker gets its next item before the caller has seen the last outcome.
    """
    return LocalEngine(
        workers=workers or config.workers or len(os.sched_getaffinity(0)),
        max_attempts=config.max_attempts,
        deadline_s=deadline_s or config.deadline_s,
        threads=threads,
        eager=eager,
    )


@dataclass
class _Task:
    """An item on its way: its bytes, and how often it was tried."""

    number: int
    item: Any
    payload: bytes
    attempts: int = 0
    suspect: bool = False
    """Whether it was in a worker that died with several items: it runs alone from now on."""
    started: float = 0.0

    def message(self) -> bytes:
        return self.number.to_bytes(NUMBER_BYTES) + self.payload


@dataclass
class _Worker:
    """A process, the socket to it, and what it is busy with."""

    process: subprocess.Popen[bytes]
    connection: Connection
    life: socket.socket
    ready: bool = False
    tasks: dict[int, _Task] = field(default_factory=dict)

    def has_room(self, threads: int) -> bool:
        return len(self.tasks) < threads and not any(task.suspect for task in self.tasks.values())


@dataclass(frozen=True)
class LocalEngine:
    """Supervised worker processes on this machine."""

    workers: int
    max_attempts: int = 3
    deadline_s: float = 900.0
    threads: int = 1
    eager: bool = True

    def run(
        self, fn: Callable[[Any], Any], items: Iterable[T], *, initializer: Callable[[], Any] | None = None
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each item with its outcome, unordered.

        Args:
            fn: a function (or `functools.partial` of one) that workers can import: not a lambda, not of `__main__`.
            items: picklable, or `Later`; read one at a time, as workers come free.
            initializer: called once in each worker before its first item.

        Raises:
            RuntimeError: workers cannot start at all (the initializer raises, the function cannot be imported).
        """
        run = _Run(self, pickle.dumps((fn, initializer, self.threads)), iter(items))
        try:
            yield from run.outcomes()
            run.close(grace_s=_GRACE_S)
        finally:
            run.close(grace_s=0)


class _Run:
    """One pass over the items: the workers, what they do, and what must be tried again."""

    def __init__(self, engine: LocalEngine, setup: bytes, items: Iterator[Any]) -> None:
        self.engine, self.setup, self.items = engine, setup, items
        self.workers: list[_Worker] = []
        self.again: deque[_Task] = deque()
        self.suspects: deque[_Task] = deque()
        self.done: deque[tuple[Any, Outcome]] = deque()
        self.exhausted = False
        self.resume_at = 0.0
        self.start_deaths = 0
        self._numbers = itertools.count()

    def outcomes(self) -> Iterator[tuple[Any, Outcome]]:
        while True:
            while self.done:
                yield self.done.popleft()
            self._fill()
            if self.done:  # items that cannot be sent to a worker
                continue
            idle = not any(worker.tasks for worker in self.workers)
            if idle and self.exhausted and not (self.again or self.suspects):
                return
            if idle and not self._must_pause():
                continue
            self._wait()

    # -- giving out -----------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give every worker with room an item, and start workers while there are items without one."""
        for worker in self.workers:
            self._fill_one(worker)
        while len(self.workers) < self.engine.workers:
            task = self._next_task()
            if task is None:
                return
            worker = _start_worker()
            self.workers.append(worker)
            with contextlib.suppress(OSError):
                worker.connection.send_bytes(self.setup)
            self._give(worker, task)
            self._fill_one(worker)

    def _fill_one(self, worker: _Worker) -> None:
        while worker.has_room(self.engine.threads):
            task = self._next_task(alone=not worker.tasks)
            if task is None:
                return
            self._give(worker, task)

    def _next_task(self, *, alone: bool = True) -> _Task | None:
        """Return the next task, a suspect only for a worker that has nothing else to do."""
        if alone and self.suspects:
            return self.suspects.popleft()
        if self.again:
            return self.again.popleft()
        while not self.exhausted and not self._must_pause():
            try:
                item = next(self.items)
            except StopIteration:
                self.exhausted = True
                return None
            if isinstance(item, Later):
                self.resume_at = time.monotonic() + item.seconds
                return None
            try:
                return _Task(next(self._numbers), item, pickle.dumps(item))
            except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
                self.done.append((item, Outcome(False, None, type(error).__name__, f"item: {error}", 0)))
        return None

    def _must_pause(self) -> bool:
        return time.monotonic() < self.resume_at

    def _give(self, worker: _Worker, task: _Task) -> None:
        task.started = time.monotonic()
        worker.tasks[task.number] = task
        with contextlib.suppress(OSError):  # dead already: _wait finds out
            worker.connection.send_bytes(task.message())

    # -- hearing back ---------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Hear at least one worker, or end those past their deadline, or wait until there may be more items."""
        now = time.monotonic()
        ends = [
            task.started + self.engine.deadline_s
            for worker in self.workers
            if worker.ready
            for task in worker.tasks.values()
        ]
        if self.resume_at > now:
            ends.append(self.resume_at)
        left = min((end - now for end in ends), default=60.0)
        heard = set(wait([worker.connection for worker in self.workers], timeout=max(left, 0.0)))
        for worker in [worker for worker in self.workers if worker.connection in heard]:
            self._hear(worker)
        now = time.monotonic()
        for worker in [worker for worker in self.workers if worker.ready and worker.connection not in heard]:
            self._end_if_late(worker, now)

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if not worker.ready:
            state, detail = pickle.loads(message)
            if state != READY:
                raise RuntimeError(f"a worker process could not start:\n{detail}")
            worker.ready, self.start_deaths = True, 0
            for task in worker.tasks.values():
                # the deadline is the item's: it does not count the worker's own start
                task.started = time.monotonic()
            return
        task = worker.tasks.pop(int.from_bytes(message[:NUMBER_BYTES]))
        self.resume_at = 0.0  # what an iterable waited for may be this outcome
        self.done.append((task.item, _outcome(message[NUMBER_BYTES:], task.attempts + 1)))
        if self.engine.eager:
            # the next item goes out before the caller sees this outcome: a slow caller leaves no worker idle
            self._fill_one(worker)

    def _bury(self, worker: _Worker) -> None:
        """Account for a worker that died: its item loses one attempt, unless it had not begun or was not alone."""
        self.workers.remove(worker)
        code = _kill(worker)
        tasks = list(worker.tasks.values())
        if not worker.ready:
            self.start_deaths += 1
            if self.start_deaths >= _START_DEATHS:
                raise RuntimeError(f"{_START_DEATHS} worker processes in a row died at their start (exit code {code})")
            self.again.extend(tasks)
            return
        if len(tasks) > 1:
            for task in tasks:
                task.suspect = True
            self.suspects.extend(tasks)
            return
        for task in tasks:
            task.attempts += 1
            if task.attempts < self.engine.max_attempts:
                (self.suspects if task.suspect else self.again).append(task)
                continue
            text = f"its worker process died {task.attempts} times (last exit code {code}): quarantined"
            self.done.append((task.item, Outcome(False, None, WORKER_DIED, text, task.attempts)))

    def _end_if_late(self, worker: _Worker, now: float) -> None:
        """End a worker that holds an item past its deadline; what else it was doing begins anew elsewhere."""
        late = [task for task in worker.tasks.values() if now - task.started >= self.engine.deadline_s]
        if not late:
            return
        self.workers.remove(worker)
        _kill(worker)
        text = f"ran longer than {self.engine.deadline_s:g} s and was ended"
        for task in worker.tasks.values():
            if task in late:
                self.done.append((task.item, Outcome(False, None, TIMEOUT, text, task.attempts + 1)))
            else:
                (self.suspects if task.suspect else self.again).append(task)

    def close(self, grace_s: float) -> None:
        """Stop all workers: those that are idle by closing their socket, the rest by force."""
        for worker in self.workers:
            worker.connection.close()
        end = time.monotonic() + grace_s
        while self.workers:
            worker = self.workers.pop()
            try:
                if not grace_s:
                    raise subprocess.TimeoutExpired(worker.process.args, 0)
                worker.process.wait(timeout=max(end - time.monotonic(), 0.1))
                worker.life.close()
            except subprocess.TimeoutExpired:
                _kill(worker)


def _outcome(message: bytes, attempts: int) -> Outcome:
    try:
        ok, value, name, text = pickle.loads(message)
    except Exception as error:  # whatever a value's own unpickling raises: the item fails, the run goes on
        return Outcome(False, None, type(error).__name__, f"its result cannot be read back: {error}", attempts)
    return Outcome(ok, value, name, text, attempts)


def _start_worker() -> _Worker:
    here, there = socket.socketpair()
    life, life_there = socket.socketpair()
    command = (
        f"import sys; sys.path[:] = {sys.path!r}; from pipeline.workers.worker import serve; "
        f"serve({there.fileno()}, {life_there.fileno()})"
    )
    with there, life_there:
        process = subprocess.Popen(
            [sys.executable, "-c", command],
            pass_fds=(there.fileno(), life_there.fileno()),
            stdin=subprocess.DEVNULL,
            # one thread each: workers are the parallelism, and sums do not depend on the number of cores
            env={**os.environ, **_ONE_THREAD},
            # a session of its own: Ctrl-C reaches the parent alone, and a kill reaches the worker's children too
            start_new_session=True,
        )
    return _Worker(process, Connection(here.detach()), life)


def _kill(worker: _Worker) -> int:
    """Kill a worker with its children and return its exit code."""
    worker.connection.close()
    # before `wait`: until then its process id cannot belong to anyone else
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    code = worker.process.wait()
    worker.life.close()
    return code
