"""Watch the memory of worker processes and end one that holds too much.

A file can claim sizes that it does not have, and a decoder believes it: an MP4 of 656 bytes took 2.8 GB, a GIF of 66
bytes 5.3 GB. A thread looks at every worker and its children (ffmpeg) ten times a second, whatever the caller does
meanwhile, and kills the worker that holds more than `engine.memory_mb`.

The limits of the system (RLIMIT_AS, RLIMIT_DATA) would not do: they count what is reserved and never touched, which
is gigabytes for Arrow and for the stacks of threads; and libav takes a lack of memory for damage of the file, so that
the files beside a hostile one would be refused for ever.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from pipeline.workers.process import WorkerProcess

_PAUSE_S = 0.1
_MB = 1 << 20


class MemoryWatch:
    """The workers of one run under a limit; a thread looks after them from the first one to `close`."""

    def __init__(self, memory_mb: int) -> None:
        """Prepare a watch; nothing is started.

        Args:
            memory_mb: what a worker may hold together with its children, in MB; 0: no limit, and no thread.
        """
        self.memory_mb = memory_mb
        self._workers: list[WorkerProcess] = []
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, worker: WorkerProcess) -> None:
        """Begin to watch a worker."""
        with self._lock:
            self._workers.append(worker)
        if self.memory_mb and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="memory of workers", daemon=True)
            self._thread.start()

    def remove(self, worker: WorkerProcess) -> None:
        """End the watch of a worker; must come before it is waited for, as its process id may be another's then."""
        with self._lock, suppress(ValueError):
            self._workers.remove(worker)

    def close(self) -> None:
        """End the watch of all workers."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def holds_much(self, worker: WorkerProcess) -> bool:
        """Tell whether a worker holds more than half of what it may."""
        return self.memory_mb > 0 and memory_of(worker.process.pid) > self.memory_mb * _MB // 2

    def _run(self) -> None:
        while not self._closed.wait(_PAUSE_S):
            with self._lock:
                for worker in self._workers:
                    if memory_of(worker.process.pid) > self.memory_mb * _MB:
                        worker.over_memory = True
                        # its connection breaks, and so the supervisor learns of it
                        with suppress(ProcessLookupError, PermissionError):
                            os.killpg(worker.process.pid, signal.SIGKILL)


def memory_of(pid: int) -> int:
    """Return the bytes that a process and its descendants hold, swapped ones too; 0 where it is gone.

    Pages of files do not count: the system takes them back when it needs them.
    """
    total, open_pids = 0, [pid]
    while open_pids:
        process = Path("/proc", str(open_pids.pop()))
        try:
            total += _own_bytes(process)
            for thread in (process / "task").iterdir():
                open_pids += map(int, (thread / "children").read_text().split())
        except OSError:  # it ended meanwhile
            continue
    return total


def _own_bytes(process: Path) -> int:
    lines = (process / "status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")))
