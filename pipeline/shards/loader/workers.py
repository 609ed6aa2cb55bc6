"""Decode clips ahead in worker processes; the frames come through shared memory, the messages are short.

A worker that dies is started again, and what it had not finished is decoded again. A clip during which a worker died
twice cannot be used. Workers are plain interpreters, nothing is forked; they end with this process, however it dies.
Messages are pickled as in `pipeline.workers.process`: both ends are of this program, on this machine, and no pickle is
written to disk or sent over a network.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.errors import STORE_TROUBLE, PermanentError, RetryableError, StoreError, UserError
from pipeline.shards.loader.arena import Arena, Slots
from pipeline.shards.loader.clips import Mp4, Video
from pipeline.shards.loader.decode import decode_windows, read_mp4
from pipeline.shards.loader.local import Request
from pipeline.storage.store import Store
from pipeline.usage import add_of_worker
from pipeline.workers.process import WorkerProcess, start_worker, stop_workers
from pipeline.workers.worker import FAILED_START, NUMBER_BYTES

_MOST_DEATHS = 2
"""Deaths of a worker during a clip, after which the clip is not tried again."""
_MOST_STARTS = 5
"""Starts of workers without an answer between them, after which the cause is not a clip."""
_DEADLINE_S = 300.0
"""Seconds after which a worker that does not answer is ended: reads of a store that hang."""
_Item = tuple[Mp4, tuple[int, ...], list[int]]


class Decode:
    """What a worker does with an item: read a clip, decode it, and fill its slots."""

    def __init__(self, store: Store, fd: int, shape: tuple[int, ...]) -> None:
        """Work on the shared memory of a file, in slots of a shape."""
        self.store, self.fd, self.shape = store, fd, shape
        self._slots: Slots | None = None

    def __call__(self, item: _Item) -> None:
        mp4, starts, slots = item
        if self._slots is None:
            self._slots = Slots(self.fd, self.shape)
        decode_windows(read_mp4(self.store, mp4), starts, [self._slots.view(slot) for slot in slots])


@dataclass
class _Asked:
    """A request and where its frames go."""

    request: Request
    slots: list[int]
    deaths: int = 0
    is_done: bool = False
    error: Exception | None = None
    left: int = 0


@dataclass
class _Worker:
    process: WorkerProcess
    queue: deque[int] = field(default_factory=deque)
    """Numbers of the requests that it was sent and has not answered, in their order."""
    asked_at: float = 0.0


class WorkerDecoder:
    """Worker processes that decode requests in the order in which they come."""

    def __init__(self, store: Store, workers: int, shape: tuple[int, ...]) -> None:
        """Start the workers.

        Args:
            store: has the clips.
            workers: number of processes.
            shape: of a window, (T, H, W, 3).
        """
        self.arena = Arena(shape)
        self._decode = Decode(store, self.arena.fd, shape)
        self._setup = pickle.dumps((self._decode, None, 1))
        self._asked: dict[int, _Asked] = {}
        self._unsent: deque[int] = deque()
        self._has_started = False
        self._starts = 0
        self.restarts = 0
        """Workers that died and were started again."""
        self._is_open = True
        self._workers = [_Worker(self._start()) for _ in range(workers)]

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [worker.process.process.pid for worker in self._workers]

    def submit(self, request: Request) -> None:
        """Send a request to the worker with the fewest of them, once one has started."""
        assert request.clip.mp4 is not None
        asked = _Asked(request, self.arena.take(len(request.starts)), left=len(request.starts))
        self._asked[request.number] = asked
        self._unsent.append(request.number)
        self._receive(0)

    def windows(self, number: int) -> Sequence[Video]:
        """Wait for a request and return its frames; the views are those of the shared memory.

        While no worker has started yet, this process decodes what is needed at once.
        """
        asked = self._asked[number]
        while not asked.is_done:
            if number in self._unsent and not self._has_started:
                self._unsent.remove(number)
                self._decode_here(asked)
            else:
                self._receive(1.0)
        if asked.error is not None:
            self.arena.give_back(asked.slots)
            del self._asked[number]
            raise asked.error
        return [self.arena.view(slot) for slot in asked.slots]

    def release(self, number: int, window: int) -> None:
        """Free the slot of a window."""
        asked = self._asked[number]
        self.arena.give_back([asked.slots[window]])
        asked.left -= 1
        if not asked.left:
            del self._asked[number]

    def close(self) -> None:
        """End the workers and free the memory."""
        if self._is_open:
            self._is_open = False
            stop_workers([worker.process for worker in self._workers], grace_s=0)
            self.arena.close()

    def _decode_here(self, asked: _Asked) -> None:
        asked.is_done = True
        try:
            self._decode(_item(asked))
        except (PermanentError, StoreError) as exc:
            asked.error = exc

    def _start(self) -> WorkerProcess:
        self._starts += 1
        process = start_worker(fds=(self.arena.fd,))
        process.send_setup(self._setup)
        return process

    def _send(self, worker: _Worker, asked: _Asked) -> None:
        if not worker.queue:
            worker.asked_at = time.monotonic()
        worker.queue.append(asked.request.number)
        message = asked.request.number.to_bytes(NUMBER_BYTES) + pickle.dumps(_item(asked))
        with suppress(OSError):  # dead already: it is noticed when its answer is received
            worker.process.connection.send_bytes(message)

    def _receive(self, timeout_s: float) -> None:
        """Take the answers that are there, wait for one at most so long, and replace workers that died or hang."""
        by_connection: dict[Connection, _Worker] = {
            worker.process.connection: worker for worker in self._workers if worker.queue or not worker.process.ready
        }
        for ready in wait(list(by_connection), timeout_s):
            worker = by_connection[ready]  # type: ignore[index]
            try:
                while worker.process.connection.poll(0):
                    self._take(worker, worker.process.connection.recv_bytes())
            except (EOFError, OSError):
                self._replace(worker, "ended")
        ready_workers = [worker for worker in self._workers if worker.process.ready]
        while ready_workers and self._unsent:
            asked = self._asked[self._unsent.popleft()]
            self._send(min(ready_workers, key=lambda worker: len(worker.queue)), asked)
        for worker in self._workers:
            if worker.queue and time.monotonic() - worker.asked_at > _DEADLINE_S:
                self._replace(worker, f"gave no answer in {_DEADLINE_S:.0f} s")

    def _take(self, worker: _Worker, answer: bytes) -> None:
        if not worker.process.ready:
            state, text = pickle.loads(answer)
            if state == FAILED_START:
                raise RuntimeError(f"a process that decodes clips cannot start: {text}")
            worker.process.ready = self._has_started = True
            worker.asked_at = time.monotonic()
            return
        number = int.from_bytes(answer[:NUMBER_BYTES])
        ok, _, error_class, text, usage = pickle.loads(answer[NUMBER_BYTES:])
        add_of_worker(usage, is_child=True)
        worker.queue.remove(number)
        worker.asked_at = time.monotonic()
        self._starts = 0
        asked = self._asked[number]
        asked.is_done = True
        if not ok:
            asked.error = _error(asked.request, error_class, text)

    def _replace(self, worker: _Worker, how: str) -> None:
        """Start a worker in the place of one that died; what that had not answered goes out again first."""
        code = worker.process.kill()
        if self._starts >= _MOST_STARTS + len(self._workers):
            raise RuntimeError(
                f"{self._starts} processes that decode clips {how} one after the other, the last with exit code {code}"
                " (-9: the kernel or a person ended it). Lower training.decode_workers, or free memory."
            )
        unanswered = [self._asked[number] for number in worker.queue]
        worker.process, worker.queue = self._start(), deque()
        self.restarts += 1
        if unanswered:
            # it works on one after the other: the first was being decoded
            unanswered[0].deaths += 1
        for asked in reversed(unanswered):
            if asked.deaths >= _MOST_DEATHS:
                text = f"the process that decoded it {how} {asked.deaths} times (exit code {code})"
                asked.is_done, asked.error = True, PermanentError(text, error_class=BAD_SAMPLE)
            else:
                self._unsent.appendleft(asked.request.number)


def _item(asked: _Asked) -> _Item:
    """Return what a worker is sent."""
    mp4 = asked.request.clip.mp4
    assert mp4 is not None
    return mp4, asked.request.starts, asked.slots


def _error(request: Request, error_class: str, text: str) -> Exception:
    """Return the error of a worker as this process raises it."""
    if error_class == BAD_SAMPLE:
        return PermanentError(text, error_class=BAD_SAMPLE)
    error: Exception
    if error_class == UserError.__name__:
        error = UserError(text)
    elif error_class == STORE_TROUBLE:
        error = StoreError(text)
    elif error_class == "store_read":
        error = RetryableError(text, error_class=error_class)
    else:
        error = RuntimeError(f"{error_class}: {text}")
    error.add_note(f"clip {request.clip.clip_id}")
    return error
