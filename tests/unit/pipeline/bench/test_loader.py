"""`lampworks bench loader` measures the real loader, on a set of its own: what is printed is what was measured."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from pipeline.bench.loader import bench_resume, bench_speeds, bench_start, rows_of, write_set
from pipeline.storage.store import Store


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its file open
def test_speeds_and_resume_are_measured_beside_their_limits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    mp4s = write_set(store, 4)
    said: list[str] = []
    speeds = bench_speeds(store, mp4s, 1, 1, said.append)
    assert speeds.decode > speeds.decode_and_convert > 0
    assert speeds.share == pytest.approx(speeds.loader / speeds.decode_and_convert)
    assert speeds.loader_windows > speeds.whole_clip_windows, "several windows for one decode"
    assert speeds.webdataset is not None
    assert len(said) == 1

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "webdataset":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    [row] = rows_of(store)
    store.replace("shards", [row] * 3)
    assert bench_speeds(store, mp4s[:1], 1, 1).webdataset is None
    resume = bench_resume(store, 64, 1)
    assert resume.first_batch_s >= resume.position_s > 0


@pytest.mark.timeout(120)
def test_a_start_counts_the_clips_of_its_rows_and_decodes_one_batch() -> None:
    start = bench_start(100_000)
    assert start["clips"] >= 100_000
    assert start["peak_mb"] > 50
