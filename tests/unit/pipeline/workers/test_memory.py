"""An item that needs more memory than its worker may hold ends alone; every process here is a real one."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipeline.config import EngineConfig
from pipeline.errors import UserError
from pipeline.workers.engine import LocalEngine, make_engine
from pipeline.workers.memory import memory_of

LIMIT = 512


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import engine_tasks

    return engine_tasks


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def failures(results) -> dict[int, tuple[str, int]]:
    return {item: (outcome.error_class, outcome.attempts) for item, outcome in results if not outcome.ok}


def test_an_item_that_holds_too_much_is_ended_and_the_setting_is_named(tasks) -> None:
    results = list(LocalEngine(2, memory_mb=LIMIT).run(tasks.hold, [1, 2, 700, 3, 4]))
    assert sorted(item for item, _ in results) == [1, 2, 3, 4, 700]
    assert set(failures(results)) == {700}
    outcome = dict(results)[700]
    assert outcome.error_class == "out_of_memory"
    assert outcome.message == (
        "needs more memory than a worker process may hold (engine.memory_mb = 512) and was ended"
    )


def test_an_item_that_asks_for_more_than_the_machine_gives_fails_alone(tasks) -> None:
    results = list(LocalEngine(1, memory_mb=LIMIT).run(tasks.claim, [1 << 40, 1, 2]))
    assert failures(results) == {1 << 40: ("out_of_memory", 1)}
    assert "engine.memory_mb = 512" in dict(results)[1 << 40].message


def test_memory_that_is_reserved_and_never_touched_is_free(tasks) -> None:
    assert failures(LocalEngine(1, memory_mb=LIMIT).run(tasks.claim, [4000])) == {}


def test_the_limit_is_raised_by_the_setting_that_the_message_names(tasks) -> None:
    for memory_mb, wanted in ((512, {600}), (1024, set())):
        engine = make_engine(EngineConfig(memory_mb=memory_mb), workers=1)
        assert set(failures(engine.run(tasks.hold_and_release, [600]))) == wanted


@pytest.mark.parametrize(("task", "large"), [("hold_and_note", 900), ("hold_while_answering", 7)])
def test_it_is_ended_while_the_caller_is_busy_and_while_its_answer_is_made_ready(
    tasks, tmp_path: Path, task: str, large: int
) -> None:
    run = LocalEngine(2, memory_mb=LIMIT).run(partial(getattr(tasks, task), folder=str(tmp_path)), [1, large, 1])
    item, outcome = next(run)
    assert (item, outcome.ok) == (1, True)
    # nobody asks for the next outcome
    assert eventually(lambda: (tmp_path / "pid").exists() and is_gone(int((tmp_path / "pid").read_text())))
    assert sorted((item, outcome.error_class) for item, outcome in run) == [(1, ""), (large, "out_of_memory")]


def test_what_its_children_hold_counts(tasks) -> None:
    results = list(LocalEngine(1, memory_mb=LIMIT).run(tasks.hold_in_a_child, [1, 7, 2]))
    assert set(failures(results)) == {7}
    assert dict(results)[7].error_class == "out_of_memory"


def test_the_items_beside_it_and_after_it_are_not_blamed(tasks) -> None:
    results = list(LocalEngine(1, threads=3, memory_mb=LIMIT).run(tasks.hold, [1, 700, 2, 3, 4, 5]))
    assert set(failures(results)) == {700}
    assert sorted(item for item, _ in results) == [1, 2, 3, 4, 5, 700]


@pytest.mark.slow
def test_items_that_fit_alone_and_not_together_are_all_done(tasks) -> None:
    results = list(LocalEngine(1, threads=2, memory_mb=LIMIT).run(tasks.hold_and_release, [301, 302]))
    assert sorted((item, outcome.value) for item, outcome in results) == [(301, 301), (302, 302)]


def test_a_worker_that_keeps_much_after_an_item_is_replaced_before_the_next(tasks) -> None:
    engine = LocalEngine(1, memory_mb=LIMIT)
    pids = [outcome.value for _, outcome in engine.run(tasks.keep, [0, 300, 0, 0])]
    assert pids[0] == pids[1]
    assert pids[2] == pids[3] != pids[1]


def test_without_a_limit_none_is_set(tasks) -> None:
    assert failures(LocalEngine(1, memory_mb=0).run(tasks.hold_and_release, [600])) == {}


def test_memory_is_that_of_the_process_and_none_where_it_is_gone() -> None:
    before = memory_of(os.getpid())
    # pages of its own: what this process has freed before would be used again for bytes
    with mmap.mmap(-1, 50 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"\1" * (50 << 20))
        assert memory_of(os.getpid()) - before >= 40 << 20
    assert memory_of(2**22 + 1) == 0


def test_a_limit_below_what_the_program_needs_is_refused() -> None:
    with pytest.raises(UserError, match=r"engine\.memory_mb = 100.*at least 512"):
        EngineConfig(memory_mb=100)


@pytest.mark.parametrize("fault", ["memory", "deadline", "death"])
def test_what_a_killed_worker_left_is_gone_at_the_end_of_the_run(tasks, tmp_path: Path, fault: str) -> None:
    engine = LocalEngine(
        2, max_attempts=1, deadline_s=2.0 if fault == "deadline" else 60.0, memory_mb=LIMIT, tmp=tmp_path
    )
    results = list(engine.run(tasks.leave_a_file, [("", 0), (fault, 1), ("", 2)]))
    assert [item for item, outcome in results if not outcome.ok] == [(fault, 1)]
    assert all(tmp_path in Path(str(outcome.value)).parents for _, outcome in results if outcome.ok)
    assert list(tmp_path.iterdir()) == []
