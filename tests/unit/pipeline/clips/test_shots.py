"""Clips that begin with a shot: where they start, what is left over, and that none holds a cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.clip_spec import clip_spec
from pipeline.clips.cut_video import CutJob, cut_video
from pipeline.clips.cuts import detect_cuts
from pipeline.clips.read import read_clip
from pipeline.clips.samples import Planes
from pipeline.clips.shots import shots
from pipeline.clips.stored import decode_clip
from pipeline.clips.windows import Pick, RunEnd, Window
from pipeline.config.clips import ClipConfig
from pipeline.errors import UserError
from pipeline.inspect.why_text import _cut as cut_in_words
from pipeline.storage.store import Store

CONFIG = ClipConfig(seconds=2, fps=10, start_after_cut=True)


def scene(seed: int, frames: int, fps: int = 10) -> np.ndarray:
    """Return frames (T, 90, 160, 3) of a picture that pans by ten pixels a second."""
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 255, (9, 40, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
    return np.stack([picture[:, 10 * index // fps :][:, :160] for index in range(frames)])


def picks(*scenes: np.ndarray, start_ms: int = 0) -> list[Pick | RunEnd]:
    frames = np.concatenate(scenes)
    run: list[Pick | RunEnd] = [Pick(frame, index, start_ms + 100 * index) for index, frame in enumerate(frames)]
    return [*run, RunEnd(start_ms + 100 * len(frames))]


def starts(windows: list[Window]) -> list[int]:
    assert all(window.end_ms - window.start_ms == 2000 and len(window.frames) == 20 for window in windows)
    return [window.start_ms for window in windows]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([60], [0, 2000, 4000]),  # one shot: as without the option
        ([35, 10, 50], [0, 4500, 6500]),  # a shot that is too short, between two that are not
        ([20, 20], [0, 2000]),  # a cut just between two clips
        ([5, 6, 7, 19], []),
        ([5, 6, 7, 20], [1800]),
        ([39, 39], [0, 3900]),
        ([1, 40], [100, 2100]),
    ],
)
def test_clips_begin_with_a_shot_and_end_within_it(lengths: list[int], expected: list[int]) -> None:
    film = picks(*(scene(seed, length) for seed, length in enumerate(lengths)))
    assert starts(list(shots(film, CONFIG, detect_cuts))) == expected


def test_no_clip_reaches_over_lost_time() -> None:
    film = picks(scene(1, 30)) + picks(scene(1, 45), start_ms=9000)
    assert starts(list(shots(film, CONFIG, detect_cuts))) == [0, 9000, 11000]


def test_the_detector_that_is_handed_over_decides() -> None:
    answers = iter([[5, 8], [], []])

    def detector(luma: Planes, chroma: Planes, fps: int) -> list[int]:
        assert (luma.shape, chroma.shape, fps) == ((20, 90, 160), (20, 2, 45, 80), 10)
        return next(answers)

    assert starts(list(shots(picks(scene(1, 50)), CONFIG, detector))) == [800, 2800]


@pytest.mark.heavy
def test_a_video_cut_by_shots_has_clips_without_cuts_and_its_seconds_add_up(
    store: Store, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    film = np.concatenate([scene(1, 70, 20), scene(2, 20, 20), scene(3, 96, 20)])
    key = "raw/2026w47-0001/folder-a.mp4"
    store.write_blob(key, make_video(tmp_path / "v.mp4", film, fps=20).read_bytes())
    job = CutJob(store, CONFIG, "2026w47-0001", "folder-a", key, store.sha256(key), str(tmp_path))
    cut = cut_video(job)
    assert [(row["start_ms"], row["end_ms"]) for row in cut.clips] == [(0, 2000), (4500, 6500), (6500, 8500)]
    assert all((row["cut_ms"], row["num_cuts"], row["longest_shot_share"]) == ([], 0, 1.0) for row in cut.clips)
    first = decode_clip(read_clip(store, cut.clips[1]))[0]
    assert np.abs(first.astype(int) - scene(3, 1)[0]).mean() < 12
    row = cut.clipping
    assert (row["source_ms"], row["clip_ms"], row["remainder_ms"]) == (9300, 6000, 3300)
    assert row["remainder_reason"] == "shot"
    assert "3.3 s left over (of shots that no clip fits into)" in cut_in_words({**row, "current": True})
    # as it is by default, the same video has clips with cuts
    plain = cut_video(replace(job, config=ClipConfig(seconds=2, fps=10)))
    assert [row["cut_ms"] for row in plain.clips] == [[], [1500], [500], []]
    assert plain.clipping["remainder_reason"] == "rest"


def test_spans_that_depend_on_cuts_are_another_clip_format() -> None:
    plain = ClipConfig()
    by_shots, by_network = (
        ClipConfig(start_after_cut=True, cut_detector=name)
        for name in ("adaptive", "transnetv2")  # type: ignore[arg-type]
    )
    assert len({clip_spec(plain), clip_spec(by_shots), clip_spec(by_network)}) == 3
    # where spans do not depend on them, neither does the format
    assert clip_spec(ClipConfig(cut_detector="transnetv2")) == clip_spec(plain)


def test_whole_recordings_and_clips_by_shots_exclude_each_other_with_both_ways_out() -> None:
    with pytest.raises(UserError, match=r"clips.start_after_cut = false, or clips.mode = windows"):
        ClipConfig(mode="episodes", start_after_cut=True)
    ClipConfig(mode="episodes", start_after_cut=False)
    ClipConfig(mode="windows", start_after_cut=True)
