"""`lampworks bench clips`: our cutting beside ffmpeg on the same film, and a worker's memory."""

from __future__ import annotations

import argparse
import json

import pytest

from assets.cli import bench_clips
from pipeline.bench.clips import MEMORY_LIMIT_MB, PARTS, Cutting, Memory, bench_cutting, bench_memory
from pipeline.errors import UserError


def test_each_part_cuts_the_same_clips_of_the_same_film() -> None:
    lines: list[str] = []
    found = bench_cutting(96, 1, lines.append, seconds=16)
    assert (found.clips, len(found.limit), len(found.frames), len(found.everything)) == (1, 1, 1, 1)
    assert found.limit[0] > 0
    assert 0 < found.frames[0] < found.everything[0]
    assert found.parts_ms.keys() == {*PARTS, "other measurements"}
    assert all(len(values) == 1 and values[0] > 0 for values in found.parts_ms.values())
    # they are parts of a whole that was timed in another process, beside decoding and storing
    assert sum(values[0] for values in found.parts_ms.values()) < 2000 * found.everything[0]
    assert len(lines) == 1


def test_each_figure_has_its_limit_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cutting = Cutting(
        360, 64, 4, limit=[2.0, 1.0, 3.0], frames=[2.0], everything=[3.0], parts_ms={"encoding": [55.25, 60.0, 50.0]}
    )
    monkeypatch.setattr("pipeline.bench.clips.bench_cutting", lambda *_: cutting)
    monkeypatch.setattr("pipeline.bench.clips.bench_memory", lambda *_: Memory(188.0, 1000, 140.0, 141.0))
    args = argparse.Namespace(videos=None, rounds=1, json=False)
    assert bench_clips.run_clips(args) == 0
    said = capsys.readouterr().out
    assert "1.00 x limit" in said
    assert "1.50 x limit" in said
    assert "encoding                55.2 CPU-ms a clip" in said
    assert "188 MB at its peak  limit 400 MB" in said
    args.json = True
    bench_clips.run_clips(args)
    assert json.loads(capsys.readouterr().out)["cutting"][0]["everything_ratio"] == 1.5


@pytest.mark.parametrize("wrong", [{"videos": 0, "rounds": 1}, {"videos": 1, "rounds": 0}])
def test_a_wrong_number_is_named(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="must be at least 1"):
        bench_clips.run_clips(argparse.Namespace(json=False, **wrong))


@pytest.mark.slow
def test_a_worker_stays_below_its_limit_and_keeps_nothing_of_the_videos_that_it_cut() -> None:
    found = bench_memory(12, lambda text: None)
    assert found.peak_mb < MEMORY_LIMIT_MB
    # the planes of a clip take 3.5 MB: keeping one a video would show; the allocator alone moves by 20
    assert found.late_mb - found.early_mb < 30
