"""Tasks of a worker that died with several are tried again one at a time; a single one loses an attempt."""

from __future__ import annotations

from pipeline.workers.process import start_worker
from pipeline.workers.tasks import Task, TaskQueue


def taken(queue: TaskQueue, *, alone: bool = True) -> Task:
    task = queue.next_task(alone=alone)
    assert task is not None
    return task


def test_tasks_that_died_together_lose_no_attempt_and_run_alone_from_then_on() -> None:
    queue = TaskQueue(iter("abc"), max_attempts=2)
    first, second = taken(queue), taken(queue)
    queue.return_after_death([first, second], exit_code=-9)
    assert taken(queue, alone=False).item == "c"  # a worker that is busy gets neither of them
    assert taken(queue) is first
    assert first.attempts == 0
    worker = start_worker()
    try:
        assert worker.has_room(threads=4)
        worker.send(first)
        assert not worker.has_room(threads=4)
    finally:
        worker.kill()


def test_a_task_that_dies_alone_fails_after_its_last_attempt() -> None:
    queue = TaskQueue(iter("a"), max_attempts=2)
    for _ in range(2):
        assert not queue.outcomes
        queue.return_after_death([taken(queue)], exit_code=-9)
    assert queue.next_task(alone=True) is None
    assert queue.is_empty()
    ((item, outcome),) = queue.outcomes
    assert (item, outcome.error_class, outcome.attempts) == ("a", "worker_died", 2)
