"""Odd but readable: times that start late, early or twice, edits, pictures of two sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.media import run_ffmpeg
from tests.unit.pipeline.footage.conftest import RATE, SECONDS, read
from tests.unit.pipeline.footage.test_clock import joined, with_times

Film = Callable[..., Path]


@pytest.mark.parametrize("offset", ["-3", "50", "95440"])
@pytest.mark.parametrize("ending", ["ts", "mkv"])
def test_a_time_line_starts_with_its_first_picture(tmp_path: Path, film: Film, ending: str, offset: str) -> None:
    path = tmp_path / f"v.{ending}"
    # 95,440 s: the clock of a transport stream ends within the film
    run_ffmpeg("-i", film("ts"), "-c", "copy", "-copyts", "-output_ts_offset", offset, path)
    found = read(path)
    assert found.times[0] == 0
    assert found.lost == []
    assert found.end == pytest.approx(SECONDS, abs=0.1)
    assert found.packets == pytest.approx(SECONDS, abs=0.3)
    assert len(found.times) == SECONDS * RATE


def test_what_an_edit_list_takes_away_counts_nowhere(tmp_path: Path, film: Film) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "edited.mp4"
    run_ffmpeg("-i", film("mkv"), "-c", "copy", whole)
    run_ffmpeg("-ss", "3", "-i", whole, "-c", "copy", path)
    found = read(path)
    assert found.lost == []
    assert found.end == pytest.approx(SECONDS - 3, abs=0.15)
    assert found.packets == pytest.approx(found.end, abs=0.5)


def test_two_pictures_of_one_moment_take_no_time(tmp_path: Path, film: Film) -> None:
    found = read(with_times(film("flv"), tmp_path / "v.flv", lambda n, ms: ms // 134 * 134))
    assert found.end == pytest.approx(SECONDS, abs=0.3)
    assert found.packets == pytest.approx(found.end, abs=0.5)
    assert found.lost == []


def test_times_that_are_swapped_in_pairs_add_no_time(tmp_path: Path, film: Film) -> None:
    swapped = with_times(film("flv"), tmp_path / "v.flv", lambda n, ms: ms + (67 if n % 2 else -67) * (n > 2))
    found = read(swapped)
    assert found.end == pytest.approx(SECONDS, abs=0.3)
    assert found.packets == pytest.approx(found.end, abs=0.5)
    assert found.lost == []


def test_pictures_of_two_sizes_are_one_time_line(tmp_path: Path, film: Film) -> None:
    other = tmp_path / "other.ts"
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=96x160:rate={RATE}:duration=3", "-pix_fmt", "yuv420p")
    run_ffmpeg(*picture, "-c:v", "libx264", "-preset", "veryfast", other)
    found = read(joined(tmp_path, film("ts"), other, film("ts")))
    assert len(found.times) == (2 * SECONDS + 3) * RATE
    assert found.end == pytest.approx(2 * SECONDS + 3, abs=0.5)
    assert found.packets == pytest.approx(found.end, abs=0.5)


def test_dozens_of_reconnects_are_carried_on(tmp_path: Path, film: Film) -> None:
    path = tmp_path / "v.flv"
    # 60 times the first 2 s, each with its own clock
    short = tmp_path / "short.flv"
    run_ffmpeg("-i", film("mkv"), "-c", "copy", "-t", "1.9", short)
    path.write_bytes(short.read_bytes() + short.read_bytes()[13:] * 59)
    found = read(path)
    assert found.jumps == 59
    assert found.lost == []
    assert found.packets == pytest.approx(found.end, rel=0.02)
