"""One worker process as its parent sees it: start it, send it tasks, receive its answers, kill it.

Each worker has a socket of its own, so one that is killed in the middle of an answer cannot garble or block the
answers of others, as can happen in pools that share one queue. Messages are pickled, as in the standard library's
pools: the other end is a child that this process started, and no pickle is written to disk or sent over a network.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from pipeline.workers.tasks import Task

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class WorkerProcess:
    """A process, the socket to it, and the tasks that it works on."""

    process: subprocess.Popen[bytes]
    connection: Connection
    life: socket.socket
    """Closing it ends the worker with its children, however this process dies."""
    ready: bool = False
    """Whether it has started and run its initializer."""
    tasks: dict[int, Task] = field(default_factory=dict)
    """By number."""
    num_sent: int = 0
    """Tasks that it was sent so far."""
    over_memory: bool = False
    """Whether it was killed because it held too much memory."""

    def has_room(self, threads: int) -> bool:
        """Tell whether it may get another task; beside a suspect it may not."""
        return len(self.tasks) < threads and not any(task.suspect for task in self.tasks.values())

    def send_setup(self, setup: bytes) -> None:
        """Send the pickled function, initializer and number of threads; must come before the first task."""
        with contextlib.suppress(OSError):  # dead already: the supervisor notices when it receives
            self.connection.send_bytes(setup)

    def send(self, task: Task) -> None:
        """Send a task, and start its deadline."""
        task.started = time.monotonic()
        self.tasks[task.number] = task
        self.num_sent += 1
        with contextlib.suppress(OSError):  # dead already: the supervisor notices when it receives
            self.connection.send_bytes(task.message())

    def kill(self) -> int:
        """Kill the worker with its children and return its exit code."""
        self.connection.close()
        # before `wait`: until then no other process can have its process id
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.life.close()
        return code


def start_worker(tmp: str | None = None, fds: Sequence[int] = ()) -> WorkerProcess:
    """Start a worker process that waits for its setup.

    Args:
        tmp: where it and its children make temporary files; None for the usual place.
        fds: files that it shares with this process, under the same numbers.
    """
    here, there = socket.socketpair()
    life, life_there = socket.socketpair()
    command = (
        f"import sys; sys.path[:] = {sys.path!r}; from pipeline.workers.worker import serve; "
        f"serve({there.fileno()}, {life_there.fileno()})"
    )
    with there, life_there:
        process = subprocess.Popen(
            [sys.executable, "-c", command],
            pass_fds=(there.fileno(), life_there.fileno(), *fds),
            stdin=subprocess.DEVNULL,
            # one thread each: processes are the parallelism, and sums do not depend on the number of cores
            env={**os.environ, **_ONE_THREAD, **({"TMPDIR": tmp} if tmp else {})},
            # a session of its own: Ctrl-C reaches the parent alone, and a kill reaches the worker's children too
            start_new_session=True,
        )
    return WorkerProcess(process, Connection(here.detach()), life)


def stop_workers(workers: list[WorkerProcess], grace_s: float) -> None:
    """Stop workers: close their sockets, wait `grace_s` seconds in all, and kill those that still run."""
    for worker in workers:
        worker.connection.close()
    end = time.monotonic() + grace_s
    while workers:
        worker = workers.pop()
        try:
            if not grace_s:
                raise subprocess.TimeoutExpired(worker.process.args, 0)
            worker.process.wait(timeout=max(end - time.monotonic(), 0.1))
            worker.life.close()
        except subprocess.TimeoutExpired:
            worker.kill()
