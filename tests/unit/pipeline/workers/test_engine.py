"""The local engine against workers that die, hang and lie; every process here is a real one."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipeline.config import EngineConfig
from pipeline.errors import StoreError
from pipeline.workers.engine import LocalEngine, make_engine
from pipeline.workers.outcome import Later, Outcome


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import engine_tasks

    return engine_tasks


def outcomes(engine: LocalEngine, fn: Callable, items) -> dict[int, Outcome]:
    return dict(engine.run(fn, items))


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_every_item_comes_back_once_with_its_value(tasks) -> None:
    results = list(LocalEngine(2).run(tasks.double, range(20)))
    assert sorted(item for item, _ in results) == list(range(20))
    assert all(outcome == Outcome(True, 2 * item, "", "", 1) for item, outcome in results)


def test_no_items_start_no_worker(tasks) -> None:
    assert list(LocalEngine(2).run(tasks.double, [])) == []


def test_workers_know_neither_dagster_nor_torch_and_use_one_thread(tasks) -> None:
    ((_, outcome),) = LocalEngine(1).run(tasks.environment, [0])
    assert outcome.value == ("1", False, False)


def test_a_worker_killed_once_loses_nothing(tasks, tmp_path: Path) -> None:
    results = outcomes(LocalEngine(2), partial(tasks.die_once, folder=str(tmp_path)), range(20))
    assert all(outcome.ok for outcome in results.values())
    assert len(results) == 20
    assert {item: outcome.attempts for item, outcome in results.items() if outcome.attempts > 1} == {7: 2}


def test_an_item_that_always_kills_its_worker_is_quarantined_and_the_others_are_done(tasks) -> None:
    results = outcomes(LocalEngine(2, max_attempts=2), tasks.die_always_on_seven, range(20))
    assert [item for item, outcome in results.items() if not outcome.ok] == [7]
    assert (results[7].error_class, results[7].attempts) == ("worker_died", 2)
    assert len(results) == 20


def test_a_worker_killed_in_the_middle_of_its_answer_garbles_nobody_else(tasks, tmp_path: Path) -> None:
    run = LocalEngine(2, max_attempts=2).run(partial(tasks.die_while_answering, folder=str(tmp_path)), [1, 7, 2, 3])
    first = next(run)
    (tmp_path / "go").touch()
    # nobody listens until the worker is dead, so it died with half of its answer sent
    assert eventually(lambda: (tmp_path / "pid").exists() and is_gone(int((tmp_path / "pid").read_text())))
    results = dict([first, *run])
    assert [item for item, outcome in results.items() if not outcome.ok] == [7]
    assert results[7].error_class == "worker_died"
    assert all(outcome.value == bytes(100) for item, outcome in results.items() if item != 7)


def test_a_hanging_item_is_ended_at_its_deadline_with_its_children(tasks, tmp_path: Path) -> None:
    results = outcomes(LocalEngine(2, deadline_s=1.0), partial(tasks.hang_on_seven, folder=str(tmp_path)), range(12))
    assert [item for item, outcome in results.items() if not outcome.ok] == [7]
    assert results[7].error_class == "timeout"
    assert "1 s" in results[7].message
    assert eventually(lambda: is_gone(int((tmp_path / "child").read_text())))


def test_the_message_of_a_deadline_names_its_setting(tasks, tmp_path: Path) -> None:
    hang = partial(tasks.hang_on_seven, folder=str(tmp_path))
    engine = make_engine(EngineConfig(), workers=1, deadline_s=0.5, deadline_setting="download.deadline_s")
    assert dict(engine.run(hang, [7]))[7].message == "ran longer than 0.5 s (download.deadline_s) and was ended"
    ((_, outcome),) = make_engine(EngineConfig(deadline_s=0.5), workers=1).run(hang, [7])
    assert outcome.message == "ran longer than 0.5 s (engine.deadline_s) and was ended"


def test_exceptions_become_outcomes_even_when_they_cannot_be_pickled(tasks) -> None:
    results = outcomes(LocalEngine(1), tasks.misbehave, range(6))
    assert (results[1].error_class, results[1].message) == ("Unpicklable", "only the text travels")
    assert (results[2].error_class, results[2].message) == ("rate_limited", "come back later")
    assert not results[3].ok
    assert "pickle" in results[3].message.lower()
    assert results[4].error_class == "SystemExit"
    assert [item for item, outcome in results.items() if outcome.ok] == [0, 5]


def test_a_store_that_refuses_ends_the_run_and_is_no_outcome_of_an_item(tasks) -> None:
    results = LocalEngine(1).run(tasks.lose_the_store, range(6))
    assert [(item, outcome.ok) for item, outcome in itertools.islice(results, 2)] == [(0, True), (1, True)]
    with pytest.raises(StoreError, match="the session token has expired"):
        next(results)


def test_an_item_that_cannot_be_sent_fails_alone(tasks) -> None:
    results = list(LocalEngine(1).run(tasks.double, [1, lambda: None, 2]))
    assert [outcome.ok for _, outcome in results].count(False) == 1
    assert sorted(outcome.value for _, outcome in results if outcome.ok) == [2, 4]


def test_items_are_read_as_workers_come_free_never_ahead(tasks) -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in range(1000):
            read += 1
            yield number

    run = LocalEngine(2).run(tasks.double, numbers())
    for done in range(1, 30):
        next(run)
        assert read <= done + 2 * 2
    run.close()


def test_closing_the_iterator_stops_the_workers_at_once(tasks, tmp_path: Path) -> None:
    def items() -> Iterator[int]:
        yield from range(2)
        assert eventually(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
        raise KeyboardInterrupt  # as Ctrl-C would, in the middle

    engine = LocalEngine(3)
    with pytest.raises(KeyboardInterrupt):
        list(engine.run(tasks.sleep_long, items(), initializer=partial(tasks.note_pid, str(tmp_path))))
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_workers_end_when_their_parent_is_killed(tasks, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import engine_tasks; engine_tasks.run_until_killed({str(tmp_path)!r})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert eventually(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    finally:
        parent.kill()
        parent.wait()
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert all(eventually(lambda pid=pid: is_gone(pid)) for pid in pids)


def test_workers_that_cannot_start_are_one_clear_error(tasks) -> None:
    with pytest.raises(RuntimeError, match=r"could not start(.|\n)*no such disk"):
        list(LocalEngine(2).run(tasks.double, range(3), initializer=tasks.fail_to_start))


def test_the_configuration_names_workers_attempts_deadline_and_memory() -> None:
    engine = make_engine(EngineConfig(workers=3, max_attempts=5, deadline_s=7.0, memory_mb=900))
    assert engine == LocalEngine(3, 5, 7.0, memory_mb=900, deadline_setting="engine.deadline_s")
    assert make_engine(EngineConfig(), workers=2, deadline_s=9.0) == LocalEngine(2, 3, 9.0)
    cores = len(os.sched_getaffinity(0))
    assert make_engine(EngineConfig()) == LocalEngine(cores, deadline_setting="engine.deadline_s")


# -- several items at a time in one worker --------------------------------------------------------------------------


def test_threads_of_a_worker_work_side_by_side(tasks) -> None:
    # each item waits for all the others: one after the other none would ever end
    results = list(LocalEngine(1, threads=4, deadline_s=20).run(tasks.meet_three_others, range(4)))
    assert sorted(outcome.value for _, outcome in results) == [0, 1, 2, 3]


def test_a_deadly_item_is_found_among_those_of_its_worker_and_costs_them_nothing(tasks) -> None:
    results = outcomes(LocalEngine(2, max_attempts=2, threads=4), tasks.die_always_on_seven, range(20))
    assert {item for item, outcome in results.items() if not outcome.ok} == {7}
    assert (results[7].error_class, results[7].attempts) == ("worker_died", 2)
    assert all(outcome.attempts == 1 for item, outcome in results.items() if item != 7)


def test_an_item_that_hangs_is_ended_and_those_beside_it_begin_anew(tasks, tmp_path: Path) -> None:
    hang = partial(tasks.hang_on_seven, folder=str(tmp_path))
    results = outcomes(LocalEngine(1, threads=3, deadline_s=1.0), hang, range(12))
    assert {item: outcome.error_class for item, outcome in results.items() if not outcome.ok} == {7: "timeout"}
    assert eventually(lambda: is_gone(int((tmp_path / "child").read_text())))


def test_items_that_are_not_ready_yet_are_asked_for_again(tasks) -> None:
    asked: list[float] = []

    def items() -> Iterator[int | Later]:
        while len(asked) < 3:
            asked.append(time.monotonic())
            yield Later(0.1)
        yield from (1, 2)

    assert sorted(item for item, _ in LocalEngine(1, threads=2).run(tasks.double, items())) == [1, 2]
    assert all(later - sooner >= 0.1 for sooner, later in itertools.pairwise(asked))


def test_an_outcome_ends_the_wait_of_the_items(tasks) -> None:
    def items() -> Iterator[int | Later]:
        yield 1
        yield Later(600)
        yield 2

    assert sorted(item for item, _ in LocalEngine(1, threads=2).run(tasks.double, items())) == [1, 2]


def test_an_engine_that_is_not_eager_asks_for_no_item_before_the_last_outcome_was_seen(tasks) -> None:
    given: list[int] = []

    def items() -> Iterator[int]:
        for item in range(6):
            given.append(item)
            yield item

    for seen, _ in enumerate(LocalEngine(1, eager=False).run(tasks.double, items()), start=1):
        assert len(given) == seen
