"""A queued run says in its log why it waits, once for each reason."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg

from assets.passes.waiting import say_why_runs_wait

STATUS = dg.DagsterRunStatus


def run_of(run_id: str, status: dg.DagsterRunStatus, pool: str | None = None, batch: str | None = None) -> Any:
    concurrency = SimpleNamespace(root_key_counts={pool: 1}) if pool else None
    tags = {"dagster/partition": batch} if batch else {}
    return SimpleNamespace(run_id=run_id, status=status, job_name="job", tags=tags, run_op_concurrency=concurrency)


class FakeInstance:
    """Runs, the slots of one pool, and what is written into logs."""

    def __init__(self, runs: list[Any], holders: list[str], slots: int = 1, most_runs: int = 2) -> None:
        self.runs, self.written = runs, list[tuple[str, str]]()
        info = SimpleNamespace(slot_count=slots, claimed_slots=[SimpleNamespace(run_id=run_id) for run_id in holders])
        self.event_log_storage = SimpleNamespace(get_concurrency_info=lambda pool: info)
        self.config = SimpleNamespace(run_queue_config=SimpleNamespace(max_concurrent_runs=most_runs))

    def get_runs(self, filters: dg.RunsFilter) -> list[Any]:
        return [run for run in self.runs if run.status in filters.statuses]

    def get_run_by_id(self, run_id: str) -> Any:
        return next((run for run in self.runs if run.run_id == run_id), None)

    def get_concurrency_config(self) -> Any:
        return self.config

    def report_engine_event(self, message: str, run: Any) -> None:
        self.written.append((run.run_id, message))


def written(runs: list[Any], holders: list[str], said: dict[str, str], **limits: int) -> list[tuple[str, str]]:
    instance: Any = FakeInstance(runs, holders, **limits)
    say_why_runs_wait(instance, said)
    return instance.written


def test_a_run_behind_a_full_pool_names_the_run_that_holds_it() -> None:
    holder = run_of("aaaaaaaa-1", STATUS.STARTED, batch="2026w47-0001")
    runs, said = [holder, run_of("bbbbbbbb-2", STATUS.QUEUED, "downloads")], dict[str, str]()
    pool = "Waits for the pool 'downloads', which has 1 slot (Deployment, Concurrency): "
    expected = [("bbbbbbbb-2", pool + "run aaaaaaaa (job of 2026w47-0001) at work there.")]
    assert written(runs, ["aaaaaaaa-1"], said) == expected
    assert written(runs, ["aaaaaaaa-1"], said) == [], "it was said"
    assert written(runs, ["gone0000-9"], said) == [
        ("bbbbbbbb-2", pool + "run gone0000, which was deleted at work there.")
    ]
    runs[1].status = STATUS.STARTED
    assert written(runs, ["aaaaaaaa-1"], said) == []
    assert said == {}


def test_a_run_behind_as_many_runs_as_may_work_names_them() -> None:
    runs = [run_of(f"{letter * 8}-1", STATUS.STARTED) for letter in "ab"] + [run_of("cccccccc-1", STATUS.QUEUED)]
    ((run_id, reason),) = written(runs, [], {})
    assert run_id == "cccccccc-1"
    assert "2 runs may work at a time" in reason
    assert "now run aaaaaaaa (job), run bbbbbbbb (job)" in reason


def test_a_run_that_only_has_to_wait_for_its_turn_says_nothing() -> None:
    runs = [run_of("aaaaaaaa-1", STATUS.STARTED), run_of("bbbbbbbb-2", STATUS.QUEUED, "downloads")]
    assert written(runs, ["aaaaaaaa-1"], {}, slots=2) == []
    assert written(runs, ["bbbbbbbb-2"], {}) == [], "the slot is its own"
    assert written(runs, [], {}, most_runs=-1) == []
