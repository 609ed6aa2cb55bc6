"""Episodes: each recording is one clip of its own length, nothing is lost at its end, and short ones are left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clip_spec import clip_spec
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.episodes import episodes
from pipeline.clips.read import read_clip, read_clips, read_frames
from pipeline.clips.stored import decode_clip
from pipeline.clips.windows import Pick, RunEnd
from pipeline.config import ClipConfig, Config
from pipeline.errors import UserError
from pipeline.inspect.conservation import violations
from pipeline.inspect.status import status
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import BatchJob
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.unit.pipeline.clips.test_cut_batch import BATCH, add_video, pictures

EPISODES = ClipConfig(mode="episodes", min_seconds=2, max_seconds=4)


def run_of(num_frames: int, start_ms: int) -> Iterator[Pick | RunEnd]:
    """Yield a run whose last frame is on screen for 50 ms; pictures are as bright as their number."""
    for index in range(num_frames):
        yield Pick(np.full((1, 1, 3), index % 251, np.uint8), index, start_ms + 100 * index)
    yield RunEnd(start_ms + max(100 * num_frames - 50, 0))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=4))
def test_every_frame_of_a_recording_that_is_long_enough_is_in_one_clip(lengths: list[int]) -> None:
    starts = np.cumsum([0, *lengths]) * 100
    picks = [pick for length, start in zip(lengths, starts, strict=False) for pick in run_of(length, int(start))]
    found = list(episodes(picks, EPISODES))
    kept = [(length, int(start)) for length, start in zip(lengths, starts, strict=False) if length >= 20]
    assert [int(value) for window in found for value in window.frames[:, 0, 0, 0]] == [
        index % 251 for length, _ in kept for index in range(length)
    ]
    assert all(20 <= len(window.frames) <= 40 for window in found)
    # spans cover the runs, and no clip reaches over the end of one
    ends = {start + 100 * length - 50 for length, start in kept}
    assert {window.end_ms for window in found} <= ends | {window.start_ms for window in found}
    assert sum(window.end_ms - window.start_ms for window in found) == sum(100 * length - 50 for length, _ in kept)


@pytest.mark.usefixtures("inline")
def test_recordings_of_any_length_become_clips_and_short_ones_are_left_over_with_a_reason(
    store: Store, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    seconds = {"a": 1.5, "b": 2.45, "c": 3.9, "d": 5.0}
    for name, length in seconds.items():
        path = make_video(tmp_path / f"{name}.mp4", pictures(length, seed=ord(name)), fps=20)
        add_video(store, f"folder-{name}", path.read_bytes())
    config = Config(clips=EPISODES)
    report = cut_batch(BatchJob(store, config, home_of(store), batch=BATCH))
    assert (report.ok, report.failed, report.num_clips) == (4, {}, 4)
    rows = read_clips(store, config).to_pylist()
    found = [(row["video_id"][-1], row["start_ms"], row["end_ms"], row["num_frames"]) for row in rows]
    assert found == [("b", 0, 2450, 25), ("c", 0, 3900, 39), ("d", 0, 2500, 25), ("d", 2500, 5000, 25)]
    for row in rows:
        assert len(decode_clip(read_clip(store, row))) == row["num_frames"]
        assert len(read_frames(store, row)) == 8
    cut = {row["video_id"][-1]: row for row in store.read("clippings").to_pylist()}
    assert {name: (row["remainder_ms"], row["remainder_reason"]) for name, row in cut.items()} == {
        "a": (1500, "short"), "b": (0, None), "c": (0, None), "d": (0, None),
    }  # fmt: skip
    assert all(row["source_ms"] == row["clip_ms"] + row["remainder_ms"] for row in cut.values())
    assert "1.5 s left over (shorter than clips.min_seconds)" in format_why(why(store, config, "folder-a"))
    assert violations(status(store, config)) == []
    # what it says, done: a lower minimum makes it a clip
    lower = replace(config, clips=replace(EPISODES, min_seconds=1.6, max_seconds=4, fps=20))
    assert lower.clips.frames_range == (32, 80)
    cut_batch(
        BatchJob(store, replace(config, clips=replace(EPISODES, fps=20, min_seconds=1)), home_of(store), batch=BATCH)
    )
    spec = clip_spec(replace(EPISODES, fps=20, min_seconds=1))
    again = [row for row in store.read("clippings").to_pylist() if row["clip_spec"] == spec]
    assert {row["num_clips"] for row in again if row["video_id"].endswith("a")} == {1}


@pytest.mark.usefixtures("inline")
def test_a_window_of_a_fractional_length_is_exact(
    store: Store, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    add_video(store, "folder-a", make_video(tmp_path / "v.mp4", pictures(5.5), fps=20).read_bytes())
    config = Config(clips=ClipConfig(seconds=2.5))
    cut_batch(BatchJob(store, config, home_of(store), batch=BATCH))
    rows = read_clips(store, config).to_pylist()
    assert [(row["start_ms"], row["end_ms"], row["num_frames"]) for row in rows] == [(0, 2500, 25), (2500, 5000, 25)]
    [cut] = store.read("clippings").to_pylist()
    assert (cut["remainder_ms"], cut["remainder_reason"]) == (500, "rest")


def test_settings_that_give_no_whole_frames_or_no_clip_are_refused_with_the_fix() -> None:
    with pytest.raises(UserError, match=r"whole number of frames .* such as 3"):
        ClipConfig(seconds=2.55)
    assert ClipConfig(seconds=3).num_frames == 30
    with pytest.raises(UserError, match=r"at least 16 frames, which are 1.6 s"):
        ClipConfig(mode="episodes", min_seconds=1.5)
    assert ClipConfig(mode="episodes", min_seconds=1.6).frames_range == (16, 1200)
    with pytest.raises(UserError, match=r"at least twice clips.min_seconds"):
        ClipConfig(mode="episodes", min_seconds=2, max_seconds=3)
    assert ClipConfig(mode="episodes", min_seconds=2, max_seconds=4).num_frames == 40


def test_the_clip_format_names_what_changes_clips_and_nothing_else() -> None:
    windows, whole = ClipConfig(), ClipConfig(mode="episodes")
    assert clip_spec(windows) == clip_spec(ClipConfig(seconds=16.0, min_seconds=3, max_black_share=0.5))
    different = [windows, whole, replace(whole, min_seconds=3), replace(whole, max_seconds=60)]
    different += [replace(windows, seconds=8), replace(windows, crf=23), replace(windows, hdr="tone-map")]
    assert len({clip_spec(config) for config in different}) == len(different)
