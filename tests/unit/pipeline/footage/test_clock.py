"""A clock that jumps or starts again is carried on, and no second of the picture is lost by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.media import run_ffmpeg
from tests.unit.pipeline.footage.conftest import RATE, SECONDS, read

Film = Callable[..., Path]


def joined(tmp_path: Path, *parts: Path) -> Path:
    path = tmp_path / f"joined{parts[0].suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(("ending", "encoder"), [("ts", "libx264"), ("vob", "mpeg2video"), ("ts", "libx265")])
def test_joined_parts_whose_clocks_start_again_are_one_time_line(
    tmp_path: Path, film: Film, ending: str, encoder: str
) -> None:
    part = film(ending, encoder)
    found = read(joined(tmp_path, part, part, part))
    assert len(found.times) == 3 * SECONDS * RATE
    assert found.times == sorted(found.times)
    assert found.end == pytest.approx(3 * SECONDS, abs=0.3)
    assert found.packets == pytest.approx(found.end, abs=0.3)
    assert (found.lost, found.jumps) == ([], 2)


def flv_tags(path: Path) -> bytes:
    """Return an FLV without its file header."""
    return path.read_bytes()[13:]


def test_an_flv_whose_recorder_connected_again_is_one_time_line(tmp_path: Path, film: Film) -> None:
    part = film("flv")
    path = tmp_path / "again.flv"
    path.write_bytes(part.read_bytes() + flv_tags(part))
    found = read(path)
    assert len(found.times) == 2 * SECONDS * RATE
    assert found.end == pytest.approx(2 * SECONDS, abs=0.1)
    assert found.lost == []


@pytest.mark.parametrize("offset", [100, 36_000, 95_440])
def test_a_clock_that_jumps_ahead_in_a_transport_stream_adds_no_time(tmp_path: Path, film: Film, offset: int) -> None:
    # 95,440 s: the clock of the second part passes 2^33 and starts at zero
    later = tmp_path / "later.ts"
    run_ffmpeg("-i", film("ts"), "-c", "copy", "-output_ts_offset", str(offset), later)
    found = read(joined(tmp_path, film("ts"), later))
    assert len(found.times) == 2 * SECONDS * RATE
    assert found.end == pytest.approx(2 * SECONDS, abs=0.3)
    assert found.packets == pytest.approx(found.end, abs=0.3)


def with_times(film: Path, path: Path, time_of: Callable[[int, int], int]) -> Path:
    """Copy an FLV, the time in ms of each tag changed: a function of its number and its time."""
    data = bytearray(film.read_bytes())
    place, number = 13, 0
    while place + 11 <= len(data):
        size = int.from_bytes(data[place + 1 : place + 4])
        if data[place] == 9:
            old = int.from_bytes(data[place + 4 : place + 7])
            new = time_of(number, old)
            data[place + 4 : place + 8] = (new & 0xFFFFFF).to_bytes(3) + (new >> 24).to_bytes(1)
            number += 1
        place += 11 + size + 4
    path.write_bytes(data)
    return path


def test_one_picture_with_a_wild_time_costs_nothing_after_it(tmp_path: Path, film: Film) -> None:
    found = read(with_times(film("flv"), tmp_path / "v.flv", lambda n, ms: ms + 36_000_000 * (n == 40)))
    assert len(found.times) == SECONDS * RATE
    assert found.end == pytest.approx(SECONDS, abs=0.3)


def test_a_jump_of_ten_hours_in_one_step_is_no_picture_of_ten_hours(tmp_path: Path, film: Film) -> None:
    found = read(with_times(film("flv"), tmp_path / "v.flv", lambda n, ms: ms + 36_000_000 * (n > 60)))
    assert len(found.times) == SECONDS * RATE
    assert found.end == pytest.approx(SECONDS, abs=0.3)
    assert (found.jumps, found.lost) == (1, [])


def test_a_picture_that_stands_still_for_more_than_ten_minutes_is_booked(tmp_path: Path, film: Film) -> None:
    found = read(with_times(film("flv"), tmp_path / "v.flv", lambda n, ms: ms + 700_000 * (n > 60)))
    assert len(found.times) == SECONDS * RATE
    ((start, stop, reason),) = found.lost
    assert (round(start), round(stop), reason) == (4, 704, "still")
    assert found.packets == pytest.approx(found.end, abs=0.3)


def test_a_clock_that_stands_still_is_carried_on_at_the_usual_rate(tmp_path: Path, film: Film) -> None:
    found = read(with_times(film("flv"), tmp_path / "v.flv", lambda n, ms: min(ms, 4000)))
    assert found.end == pytest.approx(SECONDS, abs=1.5)
    assert found.packets == pytest.approx(found.end, abs=1.5)


def test_pictures_without_times_follow_each_other_at_their_rate(tmp_path: Path, film: Film) -> None:
    raw = tmp_path / "raw.h264"
    run_ffmpeg("-i", film("ts"), "-c", "copy", raw)
    found = read(raw)
    assert len(found.times) == SECONDS * RATE
    assert found.end == pytest.approx(SECONDS, abs=0.2)


def test_pictures_that_refer_both_ways_keep_their_order_where_only_decoding_times_are_stored(
    tmp_path: Path, film: Film
) -> None:
    found = read(film("avi"))
    assert len(found.times) >= SECONDS * RATE - 4
    assert found.end == pytest.approx(SECONDS, abs=0.2)
