"""The engine seam: run one function over many items, in supervised worker processes.

    for item, outcome in make_engine(config.engine).run(cut_video, rows):
        ...

A worker that dies costs its item one attempt and the others nothing; an item that always kills its worker is
quarantined; one that hangs is ended at its deadline; a function that raises gives an outcome, not an exception.
Items are taken from the iterable as workers come free, never ahead, and outcomes come in the order they end.

Each worker has a socket of its own, so one that is killed in the middle of an answer cannot garble or lock what the
others say (pools that share one queue can lose all of it). What goes over it is pickled, as in the standard library's
pools: the other end is a child that this process started itself, and nothing of it reaches a disk or a network.
"""

from __future__ import annotations

import contextlib
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
from pipeline.worker import READY

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


class Engine(Protocol):
    """Runs a top-level function over items somewhere else; never raises for an item."""

    def run(
        self, fn: Callable[[Any], Any], items: Iterable[T], *, initializer: Callable[[], Any] | None = None
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each item with its outcome, unordered; closing the iterator stops the workers."""
        ...


def make_engine(config: EngineConfig, *, workers: int | None = None, deadline_s: float | None = None) -> Engine:
    """Return the engine that the configuration names; `workers` and `deadline_s` win over it."""
    return LocalEngine(
        workers=workers or config.workers or len(os.sched_getaffinity(0)),
        max_attempts=config.max_attempts,
        deadline_s=deadline_s or config.deadline_s,
    )


@dataclass
class _Task:
    """An item on its way: its bytes, and how often it was tried."""

    item: Any
    payload: bytes
    attempts: int = 0


@dataclass
class _Worker:
    """A process, the socket to it, and what it is busy with."""

    process: subprocess.Popen[bytes]
    connection: Connection
    life: socket.socket
    ready: bool = False
    task: _Task | None = None
    started: float = field(default=0.0)


@dataclass(frozen=True)
class LocalEngine:
    """Supervised worker processes on this machine."""

    workers: int
    max_attempts: int = 3
    deadline_s: float = 900.0

    def run(
        self, fn: Callable[[Any], Any], items: Iterable[T], *, initializer: Callable[[], Any] | None = None
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each item with its outcome, unordered.

        Args:
            fn: a function (or `functools.partial` of one) that workers can import: not a lambda, not of `__main__`.
            items: picklable; read one at a time, as workers come free.
            initializer: called once in each worker before its first item.

        Raises:
            RuntimeError: workers cannot start at all (the initializer raises, the function cannot be imported).
        """
        run = _Run(self, pickle.dumps((fn, initializer)), iter(items))
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
        self.done: deque[tuple[Any, Outcome]] = deque()
        self.exhausted = False
        self.start_deaths = 0

    def outcomes(self) -> Iterator[tuple[Any, Outcome]]:
        while True:
            self._fill()
            while self.done:
                yield self.done.popleft()
            if not any(worker.task for worker in self.workers):
                if self.exhausted and not self.again and not self.done:
                    return
                if not self.workers:
                    continue
            self._wait()

    # -- giving out -----------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give every free worker an item, and start workers while there are items without one."""
        for worker in self.workers:
            if worker.task is None:
                task = self._next_task()
                if task is None:
                    return
                self._give(worker, task)
        while len(self.workers) < self.engine.workers:
            task = self._next_task()
            if task is None:
                return
            worker = _start_worker()
            self.workers.append(worker)
            with contextlib.suppress(OSError):
                worker.connection.send_bytes(self.setup)
            self._give(worker, task)

    def _next_task(self) -> _Task | None:
        if self.again:
            return self.again.popleft()
        while not self.exhausted:
            try:
                item = next(self.items)
            except StopIteration:
                self.exhausted = True
                return None
            try:
                return _Task(item, pickle.dumps(item))
            except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
                self.done.append((item, Outcome(False, None, type(error).__name__, f"item: {error}", 0)))
        return None

    def _give(self, worker: _Worker, task: _Task) -> None:
        worker.task, worker.started = task, time.monotonic()
        with contextlib.suppress(OSError):  # dead already: _wait finds out
            worker.connection.send_bytes(task.payload)

    # -- hearing back ---------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Hear at least one worker, or end those past their deadline."""
        now = time.monotonic()
        busy = [worker for worker in self.workers if worker.task is not None and worker.ready]
        left = min((worker.started + self.engine.deadline_s - now for worker in busy), default=60.0)
        heard = set(wait([worker.connection for worker in self.workers], timeout=max(left, 0.0)))
        for worker in [worker for worker in self.workers if worker.connection in heard]:
            self._hear(worker)
        now = time.monotonic()
        for worker in busy:
            if worker in self.workers and worker.connection not in heard:
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
            # the deadline is the item's: it does not count the worker's own start
            worker.ready, worker.started, self.start_deaths = True, time.monotonic(), 0
            return
        task = worker.task
        assert task is not None, "a worker answered without a question"
        worker.task = None
        self.done.append((task.item, _outcome(message, task.attempts + 1)))
        # the next item goes out before the caller sees this outcome: a slow caller leaves no worker idle
        following = self._next_task()
        if following is not None:
            self._give(worker, following)

    def _bury(self, worker: _Worker) -> None:
        """Account for a worker that died: its item loses one attempt, unless it had not begun."""
        self.workers.remove(worker)
        code = _kill(worker)
        task = worker.task
        if not worker.ready:
            self.start_deaths += 1
            if self.start_deaths >= _START_DEATHS:
                raise RuntimeError(f"{_START_DEATHS} worker processes in a row died at their start (exit code {code})")
        elif task is not None:
            task.attempts += 1
        if task is None:
            return
        if task.attempts < self.engine.max_attempts:
            self.again.append(task)
            return
        text = f"its worker process died {task.attempts} times (last exit code {code}): quarantined"
        self.done.append((task.item, Outcome(False, None, WORKER_DIED, text, task.attempts)))

    def _end_if_late(self, worker: _Worker, now: float) -> None:
        task = worker.task
        if task is None or now - worker.started < self.engine.deadline_s:
            return
        self.workers.remove(worker)
        _kill(worker)
        text = f"ran longer than {self.engine.deadline_s:g} s and was ended"
        self.done.append((task.item, Outcome(False, None, TIMEOUT, text, task.attempts + 1)))

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
        f"import sys; sys.path[:] = {sys.path!r}; from pipeline.worker import serve; "
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
