"""Parts that were joined by their bytes, and streams that begin or break where a decoder or a demuxer gives up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.media import run_ffmpeg
from tests.unit.pipeline.footage.conftest import RATE, SECONDS, read
from tests.unit.pipeline.footage.test_clock import joined
from tests.unit.pipeline.footage.test_damage import rewritten

Film = Callable[..., Path]


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_a_matroska_file_appended_to_another_is_one_time_line(tmp_path: Path, film: Film, encoder: str) -> None:
    # pictures are decoded early, and Matroska does not say when
    found = read(joined(tmp_path, film("mkv", encoder), film("mkv", encoder)))
    assert (len(found.times), found.lost, found.jumps) == (2 * SECONDS * RATE, [], 1)
    assert found.end == pytest.approx(2 * SECONDS, abs=0.1)
    assert found.packets == pytest.approx(found.end, abs=0.1)


def test_fragments_of_mp4_whose_clock_starts_again_are_one_time_line(tmp_path: Path, film: Film) -> None:
    part = tmp_path / "part.mp4"
    run_ffmpeg("-i", film("mp4"), "-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof", part)
    data = part.read_bytes()
    path = tmp_path / "again.mp4"
    path.write_bytes(data + data[data.index(b"moof") - 4 :])
    found = read(path)
    assert (len(found.times), found.lost) == (2 * SECONDS * RATE, [])
    assert found.packets == pytest.approx(2 * SECONDS, abs=0.1)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg2video"])
def test_segments_that_overlap_by_the_pictures_decoded_early_lose_no_group_of_pictures(
    tmp_path: Path, film: Film, encoder: str
) -> None:
    later = tmp_path / "later.ts"
    run_ffmpeg("-i", film("nut", encoder), "-c", "copy", "-output_ts_offset", str(SECONDS - 2 / RATE), later)
    found = read(joined(tmp_path, film("ts", encoder), later))
    assert found.lost == []
    assert len(found.times) == pytest.approx(2 * SECONDS * RATE, abs=3)


@pytest.mark.parametrize("ending", ["mkv", "webm"])
def test_vp9_that_begins_between_key_frames_plays_from_the_next_one(tmp_path: Path, film: Film, ending: str) -> None:
    source = film("webm", "libvpx-vp9")
    found = read(rewritten(source, tmp_path / f"v.{ending}", lambda n, d: bytes(d) if n else None))
    ((start, stop, reason),) = found.lost
    assert (start, stop, reason) == (0, pytest.approx(2, abs=0.1), "head")
    assert len(found.times) == SECONDS * RATE - 30


def test_damage_in_flv_that_looks_like_a_stream_of_sound_costs_its_own_span(tmp_path: Path, film: Film) -> None:
    data = bytearray(film("flv").read_bytes())
    place = 13
    for _ in range(40):  # the header of a tag: what it is, and its length
        place += 15 + int.from_bytes(data[place + 1 : place + 4])
    data[place] = 8
    path = tmp_path / "v.flv"
    path.write_bytes(data)
    found = read(path)
    assert found.end == pytest.approx(SECONDS, abs=0.1)
    assert len(found.times) > 80


def test_a_slow_rate_in_matroska_balances(tmp_path: Path) -> None:
    path = tmp_path / "slow.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1:duration=12", "-c:v", "libx264", "-bf", "3", path)
    found = read(path)
    assert found.packets == found.end == pytest.approx(12)


@pytest.mark.parametrize("count", [2, 3])
def test_flv_files_put_together_with_their_headers_are_one_time_line(tmp_path: Path, film: Film, count: int) -> None:
    found = read(joined(tmp_path, *[film("flv")] * count))
    assert (len(found.times), found.lost, found.jumps) == (count * SECONDS * RATE, [], count - 1)
    assert found.packets == pytest.approx(count * SECONDS, abs=0.1)


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_a_film_that_was_appended_to_an_mp4_is_booked_as_lost(tmp_path: Path, film: Film, ending: str) -> None:
    found = read(joined(tmp_path, film(ending), film(ending), film(ending)))
    assert len(found.times) == SECONDS * RATE
    assert [reason for _, _, reason in found.lost] == ["appended"]
    assert found.end == pytest.approx(3 * SECONDS, abs=0.1)
    assert read(film(ending)).lost == []
