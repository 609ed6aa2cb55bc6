"""The plan of many clips: measured figures times hours of video, prices as inputs, and what is too few is left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from assets.cli.main import main
from pipeline.config import Config
from pipeline.costs.booking import Scope, book
from pipeline.costs.scale import Inputs, plan_scale, scale_lines
from pipeline.costs.stages import StageCost
from pipeline.errors import UserError
from pipeline.storage.store import Store
from pipeline.usage import Usage

MEASURED = Scope(batches=4, video_s=36_000.0, clips=2000)  # 200 clips an hour
CLIPS = StageCost(
    stage="clips", per_batch=True, batches=4, runs=4, failed=0, hours=10.0, seconds=100.0,
    usage=Usage(cpu_s=7200.0, bytes_read=5 * 10**9, bytes_written=2 * 10**9, requests=1000),
)  # fmt: skip
RAW = dataclasses.replace(CLIPS, stage="raw_videos", usage=Usage(bytes_written=3 * 10**9, bytes_downloaded=4 * 10**9))
WHOLE = dataclasses.replace(CLIPS, stage="near_duplicates", per_batch=False, usage=Usage(cpu_s=36.0))
FEW = dataclasses.replace(CLIPS, stage="clip_scores", batches=2)


def test_a_plan_multiplies_what_was_measured() -> None:
    inputs = Inputs(clips=2_000_000, days=10, cores=10, busy=0.5, months=2)
    plan = plan_scale([RAW, CLIPS, FEW], MEASURED, inputs)
    assert plan.hours == 10_000
    assert plan.left_out == ["clip_scores"]
    assert plan.total.cpu_s == pytest.approx(7_200_000)
    assert (plan.total.bytes_downloaded, plan.stored_bytes) == (4 * 10**12, 5 * 10**12)
    assert plan.total.requests == 1_000_000
    assert plan.machines == 2, "2,000 core-hours; ten cores give 1,200 in ten days at half their time"
    money = plan.money
    assert money["cores"] == pytest.approx(2000 / 0.5 * 0.04)
    assert money["store"] == pytest.approx(5 * 2 * 23)
    assert money["requests"] == pytest.approx(5)
    assert plan_scale([RAW, CLIPS], MEASURED, dataclasses.replace(inputs, keep_raw=False)).stored_bytes == 2 * 10**12
    text = "\n".join(scale_lines(plan))
    assert "not in it, too few batches to tell: clip_scores" in text
    assert "inputs, not measured" in text


def test_a_stage_over_the_whole_store_grows_as_it_was_measured_to() -> None:
    plan = plan_scale([WHOLE], MEASURED, Inputs(clips=2_000_000))
    assert plan.total.cpu_s == pytest.approx(36.0 * 1000 * 1000**0.1)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (Inputs(clips=0), "--clips = 0: must be above 0"),
        (Inputs(days=float("nan")), "--days = nan"),
        (Inputs(busy=1.5), "--busy = 1.5: must be at most 1"),
        (Inputs(core_hour=-1), "--core-hour = -1: must be at least 0"),
    ],
)
def test_inputs_without_a_meaning_are_refused(inputs: Inputs, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_scale([CLIPS], MEASURED, inputs)


def test_without_enough_batches_there_is_no_plan() -> None:
    with pytest.raises(UserError, match="no stage has enough batches"):
        plan_scale([FEW], MEASURED, Inputs())
    with pytest.raises(UserError, match="no clip was cut yet"):
        plan_scale([CLIPS], Scope(0, 0.0, 0), Inputs())


def test_the_command_plans_from_a_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from datetime import UTC, datetime

    from pipeline.clip_spec import clip_spec

    store, now = Store(tmp_path / "root"), datetime.now(UTC)
    for number in range(3):
        store.append("clippings", [{
            "video_id": f"v{number}", "batch": f"2026w48-{number:04d}", "clip_spec": clip_spec(Config().clips),
            "state": "ok", "num_clips": 220, "source_ms": 3_600_000,
        }])  # fmt: skip
        book(store, Config(), "clips", f"2026w48-{number:04d}", "ok", Usage(cpu_s=360.0), now)
    assert main(["plan-scale", "--root", store.root, "--clips", "2200000", "--days", "5"]) == 0
    text = capsys.readouterr().out
    assert "plan of 2,200,000 clips, from 660 clips of 3.0 h of video in 3 batches" in text
    assert "10,000 hours of video (220.0 clips an hour)" in text
    assert "1,000" in next(line for line in text.splitlines() if line.startswith("  clips "))
    assert main(["plan-scale", "--root", store.root, "--busy", "2"]) == 2
