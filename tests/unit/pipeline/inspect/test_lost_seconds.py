"""Seconds of a video that are lost: booked with their reason, shown, and checked against its packets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.report import clip_report
from pipeline.config import ClipConfig, Config, EngineConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.inspect.conservation import violations
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.media import run_ffmpeg


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Config, str]:
    """Return a store with one file of 9 s that is damaged at 5 s (key frames every 2 s), cut into clips of 2 s."""
    folder = tmp_path_factory.mktemp("lost")
    film = folder / "films" / "film.mp4"
    film.parent.mkdir()
    picture = ("-f", "lavfi", "-i", "testsrc2=size=160x96:rate=10:duration=9")
    run_ffmpeg(*picture, "-c:v", "mpeg4", "-g", "20", "-q:v", "2", film)
    data = bytearray(film.read_bytes())
    middle = len(data) * 5 // 9
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    film.write_bytes(data)
    config = Config(
        source=SourceConfig(spec=f"folder:{film.parent}"),
        clips=ClipConfig(seconds=2),
        engine=EngineConfig(workers=1),
    )
    store = Store(folder / "root")
    search_videos(Job(store, config, home_of(store)))
    (batch,) = batches(store)
    job = BatchJob(store, config, home_of(store), batch=batch)
    download_batch(job)
    cut_batch(job)
    return store, config, batch


def test_lost_seconds_are_counted_by_reason_and_every_sum_holds(cut: tuple[Store, Config, str]) -> None:
    store, config, batch = cut
    (row,) = store.read("clippings").to_pylist()
    assert row["source_ms"] == row["clip_ms"] + row["remainder_ms"] + row["lost_ms"]
    assert (row["source_ms"], row["packets_ms"]) == (9000, 9000)
    assert 100 <= row["lost_ms"] <= 2500
    found = status(store, config)
    assert found.conserved
    assert found.clips.lost_seconds == {"damaged": row["lost_ms"] / 1000}
    assert clip_report(store, config, batch).lost_ms == {"damaged": row["lost_ms"]}
    seconds = row["lost_ms"] / 1000
    assert f"lost: {seconds:,.1f} s damaged" in format_status(found)
    (video,) = store.read("videos").to_pylist()
    assert re.search(r"s left over, lost [\d.]+-[\d.]+ s damaged", format_why(why(store, config, video["video_id"])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lost_ms": 0, "lost": "[]"}, "seconds of the videos that were cut: 9 is not"),
        ({"packets_ms": 20_000}, "its packets hold another time than its clips, remainder and losses"),
    ],
)
def test_seconds_that_vanish_are_said(
    cut: tuple[Store, Config, str], change: dict[str, object], said: str, tmp_path: Path
) -> None:
    store, config, _ = cut
    copy = Store(tmp_path / "copy")
    for table in ("videos", "downloads", "clips"):
        copy.append(table, store.read(table).to_pylist())
    copy.append("clippings", [row | change for row in store.read("clippings").to_pylist()])
    assert any(said in sentence for sentence in violations(status(copy, config)))
