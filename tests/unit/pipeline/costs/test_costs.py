"""What stages have cost: booked at the end of each batch, also of one that failed, workers included."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from assets.cli.main import main
from assets.report.costs import write_costs
from pipeline.config import Config, EngineConfig
from pipeline.costs import scale, stages
from pipeline.costs.booking import booked
from pipeline.costs.stages import FEW_BATCHES, StageCost, cost_lines, stage_costs
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.usage import Usage, count, hold_gpus, release_gpus, take_unsent, used
from pipeline.workers.engine import make_engine

CONFIG = Config()
BATCHES = [f"2026w48-{number:04d}" for number in range(1, 5)]


def cut(store: Store, batch: str, hours: float = 10.0) -> None:
    from pipeline.clip_spec import clip_spec

    store.append("clippings", [{
        "video_id": f"v-{batch}", "batch": batch, "clip_spec": clip_spec(CONFIG.clips), "state": "ok", "num_clips": 7,
        "source_ms": round(hours * 3_600_000),
    }])  # fmt: skip


def cost_of(store: Store, stage: str) -> StageCost:
    return next(cost for cost in stage_costs(store) if cost.stage == stage)


def work(item: tuple[str, str]) -> int:
    """Read and write a blob in a worker, and use some processor time."""
    root, key = item
    store, end = Store(root), time.process_time() + 0.05
    store.write_blob(key, b"x" * 1000)
    while time.process_time() < end:
        pass
    if key.endswith("bad"):
        raise ValueError("bad item")
    return len(store.read_blob(key)) + len(store.read_range(key, 0, 10))


def test_a_batch_is_booked_with_what_it_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    cut(store, BATCHES[0])
    with booked(store, CONFIG, "clips", BATCHES[0]):
        store.write_blob("a/b", bytes(5000))
        store.read_blob("a/b")
        count(downloaded=77)
        rows = store.read("clippings")
    [row] = store.read("costs").to_pylist()
    assert (row["stage"], row["batch"], row["state"]) == ("clips", BATCHES[0], "ok")
    assert (row["batches"], row["video_s"], row["clips"]) == (1, 36_000.0, 7)
    assert (row["bytes_read"], row["bytes_written"], row["bytes_downloaded"]) == (5000 + rows.nbytes, 5000, 77)
    assert (row["requests"], row["gpu_s"]) == (3, 0.0)
    assert row["cpu_s"] > 0


def test_work_of_worker_processes_is_counted_once_also_of_items_that_fail(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    engine = make_engine(EngineConfig(workers=2), workers=2)
    before = used()
    items = [(store.root, f"blobs/{name}") for name in ("one", "two", "bad")]
    outcomes = [outcome.ok for _, outcome in engine.run(work, items)]
    spent = used() - before
    assert sorted(outcomes) == [False, True, True]
    assert (spent.bytes_written, spent.bytes_read) == (3000, 2 * 1010)
    assert spent.requests == 3 + 2 * 2
    assert spent.cpu_s > 3 * 0.05


def test_a_stage_that_fails_is_booked_and_its_error_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")

    @booked(store, CONFIG, "clips", BATCHES[0])
    def fails() -> None:
        store.write_blob("a", b"xyz")
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="full"):
        fails()
    [row] = store.read("costs").to_pylist()
    assert (row["state"], row["bytes_written"]) == ("failed", 3)
    assert cost_of(store, "clips").hours == 0
    assert cost_of(store, "clips").usage.bytes_written == 3, "what failed is paid for"


def test_a_booking_that_cannot_be_written_leaves_the_work_as_it_is(tmp_path: Path, caplog) -> None:
    store = Store(tmp_path / "root")
    (tmp_path / "root" / "tables").mkdir(parents=True)
    (tmp_path / "root" / "tables" / "costs").write_bytes(b"no folder")
    with booked(store, CONFIG, "clips", BATCHES[0]):
        pass
    assert "what clips has cost is not booked" in caplog.text


def test_a_kill_loses_the_booking_of_the_batch_at_work_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    program = """if True:
        import os, signal, sys
        from pipeline.config import Config
        from pipeline.costs.booking import booked
        from pipeline.storage.store import Store
        for batch in ("b1", "b2"):
            with booked(Store(sys.argv[1]), Config(), "clips", batch):
                if batch == "b2":
                    os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, store.root], env=environment, timeout=200, check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.read("costs", ["batch"])["batch"].to_pylist() == ["b1"]


def test_seconds_of_a_gpu_count_from_when_it_is_held_until_the_step_ends(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    with booked(store, CONFIG, "world_model"):
        hold_gpus(2)
        time.sleep(0.05)
    with booked(store, CONFIG, "curated_clips"):
        pass
    held, after = store.read("costs", ["gpu_s", "started_at"]).sort_by("started_at")["gpu_s"].to_pylist()
    assert held > 0.1
    assert after == 0.0
    release_gpus()


def test_what_a_worker_told_is_told_once() -> None:
    take_unsent()
    count(read=5, requests=1)
    first, second = take_unsent(), take_unsent()
    assert (first.bytes_read, first.requests) == (5, 1)
    assert (second.bytes_read, second.requests) == (0, 0)


def test_figures_are_per_thousand_hours_of_distinct_video_or_too_few(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    for batch in BATCHES:
        cut(store, batch)

    def done(batch: str) -> None:
        with booked(store, CONFIG, "clips", batch):
            count(written=2_000_000_000, requests=10)

    for batch in BATCHES[: FEW_BATCHES - 1]:
        done(batch)
    few = cost_of(store, "clips")
    assert few.per_thousand_hours("bytes_written") is None
    assert "too few to tell (2 batches, 20.0 h" in "\n".join(cost_lines([few]))
    done(BATCHES[2])
    done(BATCHES[2])  # made again: the same video
    enough = cost_of(store, "clips")
    assert (enough.batches, enough.runs, enough.hours) == (3, 4, 30.0)
    assert enough.per_thousand_hours("bytes_written") == pytest.approx(6e9 * 1000 / 30)
    assert enough.all_runs.bytes_written == 8e9
    with booked(store, CONFIG, "near_duplicates"):
        count(read=5)
    whole = cost_of(store, "near_duplicates")
    assert (whole.per_batch, whole.batches, whole.hours) == (False, 4, 40.0)
    text = format_status(status(store, CONFIG))
    assert "costs        per 1,000 h of video" in text
    assert "3 batches, 30.0 h" in text
    assert all(len(line) < 130 for line in text.splitlines())
    shown = json.loads(json.dumps(status(store, CONFIG).to_json()))["costs"]
    assert [cost["stage"] for cost in shown] == ["clips", "near_duplicates"]
    assert (shown[0]["usage"]["requests"], shown[0]["all_runs"]["requests"]) == (30, 40)


Run = tuple[str | None, str, float, float]
"""Batch, state, hours of video at its end, CPU-hours."""


def runs(store: Store, stage: str, *each: Run) -> None:
    """Book runs one after another."""
    store.append("costs", rows_of(stage, *each, day=len(store.read("costs", ["cost_id"]))))


def made_up(stage: str, *each: Run) -> StageCost:
    """Return the cost of runs that no store holds."""
    return stages._cost(stage, pa.Table.from_pylist(rows_of(stage, *each), SCHEMAS["costs"]))


def rows_of(stage: str, *each: Run, day: int = 0) -> list[dict[str, object]]:
    began = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(days=day)
    return [{
        "cost_id": f"{stage}-{began:%j}-{number}", "stage": stage, "batch": batch, "state": state,
        "started_at": began + timedelta(hours=number), "finished_at": began + timedelta(hours=number, minutes=1),
        "seconds": 60.0, "batches": 4 if batch is None else 1, "video_s": hours * 3600, "clips": 7,
        **dataclasses.asdict(Usage(cpu_s=cpu * 3600)),
    } for number, (batch, state, hours, cpu) in enumerate(each)]  # fmt: skip


def rate(store: Store, stage: str) -> float:
    return (cost_of(store, stage).per_thousand_hours("cpu_s") or 0.0) / 3600


def test_a_stage_over_the_whole_store_counts_as_its_last_run_that_ended_well(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    for week in range(1, 4):
        runs(store, "near_duplicates", (None, "failed", 10.0 * week, 50.0), (None, "ok", 10.0 * week, 1.0 * week))
    runs(store, "near_duplicates", (None, "failed", 40.0, 50.0))
    cost = cost_of(store, "near_duplicates")
    assert (cost.hours, cost.usage.cpu_s, cost.runs, cost.failed) == (30.0, 3.0 * 3600, 7, 4)
    assert rate(store, "near_duplicates") == pytest.approx(100)
    # a search finds other videos each time: all that were made count, over the video that came of them
    runs(store, "search_results", *((None, "ok", 10.0 * week, 1.0) for week in range(4)))
    assert rate(store, "search_results") == pytest.approx(4 * 1000 / 30)


@pytest.mark.parametrize("stage", ["training_shards", "video_tokenizer", "world_model", "token_shards"])
def test_a_stage_that_goes_on_counts_with_the_failed_runs_that_it_went_on_from(stage: str) -> None:
    each: list[Run] = []
    for run, counted in (
        ((None, "failed", 20.0, 90.0), 90.0),
        ((None, "ok", 20.0, 10.0), 100.0),
        ((None, "ok", 20.0, 0.01), 100.0),  # it was published before
        ((None, "failed", 20.0, 500.0), 100.0),  # nothing has come of it yet
        ((None, "ok", 30.0, 1.0), 501.0),  # of more video: what was made of less counts no more
        ((None, "ok", 30.0, 40.0), 501.0),
        ((None, "ok", 40.0, 60.0), 60.0),
        ((None, "ok", 30.0, 2.0), 501.0),  # videos were taken down
    ):
        each.append(run)
        assert made_up(stage, *each).usage.cpu_s == pytest.approx(counted * 3600), run
    cost = made_up(stage, *each)
    assert (cost.hours, cost.runs, cost.failed) == (30.0, 8, 2)


def test_a_stage_over_the_whole_store_that_only_failed_is_shown_and_left_out_of_plans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "root")
    cut(store, BATCHES[0])
    runs(store, "clips", *((batch, "ok", 10.0, 1.0) for batch in BATCHES))
    runs(store, "near_duplicates", (None, "failed", 40.0, 5.0))
    said = "too few to tell (0 batches, 0.0 h, 1 of 1 runs failed; 3 batches and 0.1 h are needed)"
    assert any("near_duplicates" in line and said in line for line in format_status(status(store, CONFIG)).splitlines())
    assert "near_duplicates" in store.read_blob(f"reports/latest/{write_costs(store, 'reports/latest')}").decode()
    assert main(["plan-scale", "--root", store.root]) == 0
    assert "too few batches to tell: near_duplicates" in capsys.readouterr().out
    cost = cost_of(store, "near_duplicates")
    assert (cost.usage.cpu_s, cost.all_runs.cpu_s) == (0.0, 5 * 3600)


def test_a_failed_run_in_the_middle_is_of_the_making_that_went_on_from_it() -> None:
    made, failed, done = (BATCHES[0], "ok", 8.0, 2.0), (BATCHES[0], "failed", 8.0, 1.0), (BATCHES[0], "ok", 10.0, 1.0)
    for each, counted in (
        ((made, failed, done), (10.0, 4.0)),
        ((made, failed), (8.0, 2.0)),
        ((made, failed, failed, made), (8.0, 4.0)),
        ((failed, failed), (0.0, 2.0)),
        # most of the video was taken down, and the rest made again: the dearest of the most video counts
        ((done, (BATCHES[0], "ok", 2.0, 9.0)), (10.0, 1.0)),
    ):
        cost = made_up("clips", *each)
        assert (cost.hours, cost.usage.cpu_s / 3600) == pytest.approx(counted), each


def test_a_batch_counts_once_by_its_dearest_making(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    for batch in BATCHES:
        # cut in three goes; a run that found nothing to do; all of it again, under other settings
        runs(store, "clips", (batch, "failed", 2.0, 1.0), (batch, "ok", 8.0, 2.0), (batch, "ok", 10.0, 1.0))
        assert cost_of(store, "clips").usage.cpu_s == pytest.approx(4 * 3600 * (BATCHES.index(batch) + 1))
        runs(store, "clips", (batch, "ok", 10.0, 0.1))
    assert rate(store, "clips") == pytest.approx(400)
    runs(store, "clips", *((batch, "ok", 10.0, 6.0) for batch in BATCHES), (BATCHES[0], "failed", 10.0, 50.0))
    assert rate(store, "clips") == pytest.approx(600)
    # every attempt at a download was needed, whatever it brought
    for batch in BATCHES:
        runs(store, "raw_videos", (batch, "ok", 9.0, 1.0), (batch, "ok", 10.0, 1.0), (batch, "ok", 10.0, 1.0))
    assert rate(store, "raw_videos") == pytest.approx(300)


def test_large_figures_stay_columns_of_their_own() -> None:
    usage = Usage(cpu_s=9e12, gpu_s=9e12, bytes_read=9 * 10**17, bytes_written=9 * 10**17, requests=9 * 10**11)
    cost = StageCost(
        stage="clips", per_batch=True, batches=4, runs=4, failed=0, hours=1000.0, seconds=1.0, usage=usage
    )  # fmt: skip
    few = dataclasses.replace(cost, stage="clip_embeddings", batches=1)
    lines = cost_lines([cost, few])
    assert lines[1].split()[1:7] == ["2,500,000,000"] * 2 + ["900,000,000"] * 2 + ["0.00", "900,000,000,000"]
    assert lines[0].index("requests") + len("requests") == lines[1].index("900,000,000,000") + len("900,000,000,000")
    assert all(figure in scale._cells(usage).split() for figure in ("2,500,000,000", "900,000.0", "900,000,000,000"))


def test_usages_add_up() -> None:
    one = Usage(cpu_s=1.5, bytes_read=3)
    assert one + one - one == one
