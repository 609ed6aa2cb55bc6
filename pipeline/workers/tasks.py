"""The tasks of a run: which item goes out next, and what is tried again after a worker died."""

from __future__ import annotations

import itertools
import pickle
import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipeline.workers.outcome import (
    OUT_OF_MEMORY,
    TIMEOUT,
    WORKER_DIED,
    Later,
    Outcome,
    over_memory_text,
)
from pipeline.workers.worker import NUMBER_BYTES


@dataclass(frozen=True)
class Packed:
    """An item or a value that is pickled already: a process that only hands it on does not open it."""

    data: bytes


@dataclass
class Task:
    """An item as it is sent to a worker, and how often it was tried."""

    number: int
    item: Any
    payload: bytes
    attempts: int = 0
    """Deaths of a worker that count against it."""
    suspect: bool = False
    """Whether a worker died, or lacked memory, perhaps by another item: this one runs alone from then on."""
    started: float = 0.0
    """Monotonic time in seconds at which its deadline began to run."""

    def message(self) -> bytes:
        """Return the bytes that a worker expects."""
        return self.number.to_bytes(NUMBER_BYTES) + self.payload


class TaskQueue:
    """Tasks in the order in which they go out, and the outcomes that the caller has not seen yet.

    Tasks to try again go before new items. Items are read one at a time, when a worker is free.
    """

    def __init__(self, items: Iterator[Any], max_attempts: int, memory_mb: int = 0) -> None:
        self.outcomes: deque[tuple[Any, Outcome]] = deque()
        self.resume_at = 0.0
        """Monotonic time before which no item is read, because the iterable said `Later`."""
        self._items, self._max_attempts, self._memory_mb = items, max_attempts, memory_mb
        self._again: deque[Task] = deque()
        self._suspects: deque[Task] = deque()
        self._exhausted = False
        self._numbers = itertools.count()

    def is_empty(self) -> bool:
        """Tell whether no task is left to send, now or later."""
        return self._exhausted and not (self._again or self._suspects)

    def must_pause(self) -> bool:
        """Tell whether the iterable asked to be read later."""
        return time.monotonic() < self.resume_at

    def next_task(self, *, alone: bool) -> Task | None:
        """Return the next task, None if there is none right now; a suspect only where it would run alone."""
        if alone and self._suspects:
            return self._suspects.popleft()
        if self._again:
            return self._again.popleft()
        while not self._exhausted and not self.must_pause():
            try:
                item = next(self._items)
            except StopIteration:
                self._exhausted = True
                return None
            if isinstance(item, Later):
                self.resume_at = time.monotonic() + item.seconds
                return None
            try:
                payload = item.data if isinstance(item, Packed) else pickle.dumps(item)
                return Task(next(self._numbers), item, payload)
            except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
                self.outcomes.append((item, Outcome(False, None, type(error).__name__, f"item: {error}", 0)))
        return None

    def finish(self, task: Task, answer: bytes, *, alone: bool = True) -> None:
        """Record a worker's answer as the outcome of a task.

        Args:
            task: the task.
            answer: what the worker sent.
            alone: whether the worker has run no other task, so that a lack of memory is this one's doing.
        """
        outcome = _outcome(answer, task.attempts + 1)
        if not isinstance(task.item, Packed):
            outcome = opened(outcome)
        if outcome.error_class == OUT_OF_MEMORY:
            self.return_after_lack_of_memory([task], alone=alone)
            return
        self._record(task, outcome)

    def finish_elsewhere(self, task: Task, outcome: Outcome) -> None:
        """Record the outcome that the queue of another process gave to a task, whose value is packed."""
        self._record(task, opened(replace(outcome, attempts=task.attempts + outcome.attempts)))

    def _record(self, task: Task, outcome: Outcome) -> None:
        self.resume_at = 0.0  # the iterable may be waiting for this outcome
        self.outcomes.append((task.item, outcome))

    def return_unharmed(self, tasks: list[Task]) -> None:
        """Take back tasks that did nothing wrong; they are tried again."""
        for task in tasks:
            (self._suspects if task.suspect else self._again).append(task)

    def return_after_lack_of_memory(self, tasks: list[Task], *, alone: bool) -> None:
        """Take back the tasks of a worker that held too much memory.

        A task that was alone in a new worker needs too much, and fails. Otherwise the memory may be that of others,
        or of earlier tasks: each is tried again alone, and fails if that happens again.
        """
        for task in tasks:
            if task.suspect or (alone and len(tasks) == 1):
                text = over_memory_text(self._memory_mb)
                self._record(task, Outcome(False, None, OUT_OF_MEMORY, text, task.attempts + 1))
            else:
                task.suspect = True
                self._suspects.append(task)

    def return_after_death(self, tasks: list[Task], exit_code: int) -> None:
        """Take back the tasks of a worker that died.

        A single task loses one attempt, and fails after the last. Of several, nobody knows which one killed the
        worker: none loses an attempt, and each is tried again alone.
        """
        if len(tasks) > 1:
            for task in tasks:
                task.suspect = True
            self._suspects.extend(tasks)
            return
        for task in tasks:
            task.attempts += 1
            if task.attempts < self._max_attempts:
                self.return_unharmed([task])
                continue
            text = f"its worker process died {task.attempts} times ({_how_it_ended(exit_code)}): quarantined"
            self._record(task, Outcome(False, None, WORKER_DIED, text, task.attempts))

    def return_after_loss(self, task: Task, why: str) -> None:
        """Take back a task whose machine is gone; it loses one attempt, and fails after the last."""
        task.attempts += 1
        if task.attempts < self._max_attempts:
            self.return_unharmed([task])
            return
        text = f"it was lost {task.attempts} times with what worked on it (last: {why}): quarantined"
        self._record(task, Outcome(False, None, WORKER_DIED, text, task.attempts))

    def time_out(self, task: Task, text: str) -> None:
        """Record that a task was killed at its deadline, which the text names."""
        self._record(task, Outcome(False, None, TIMEOUT, text, task.attempts + 1))


def _how_it_ended(exit_code: int) -> str:
    """Return an exit code in words: a process that a signal ended has a negative one."""
    if exit_code == -signal.SIGKILL:
        return "last by SIGKILL, as by a system that is short of memory"
    try:
        return f"last by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"last with exit code {exit_code}"


def _outcome(answer: bytes, attempts: int) -> Outcome:
    """Return a worker's answer as an outcome whose value is packed."""
    ok, value, name, text, usage = pickle.loads(answer)
    return Outcome(ok, Packed(value) if ok else None, name, text, attempts, usage)


def opened(outcome: Outcome) -> Outcome:
    """Return an outcome with its value unpacked; a failure where that is not possible."""
    if not isinstance(outcome.value, Packed):
        return outcome
    try:
        return replace(outcome, value=pickle.loads(outcome.value.data))
    except Exception as error:  # whatever unpickling a value raises: the item fails and the run continues
        text = f"its result cannot be read back: {error}"
        return Outcome(False, None, type(error).__name__, text, outcome.attempts)
