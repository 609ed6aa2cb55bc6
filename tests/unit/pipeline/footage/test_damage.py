"""Damage is a span from the first picture that it may touch to the next key frame, and all else is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import PermanentError
from tests.media import run_ffmpeg
from tests.unit.pipeline.footage.conftest import RATE, SECONDS, read

Film = Callable[..., Path]


def packets(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(container.streams.video[0]) if packet.size]


def rewritten(source: Path, target: Path, change: Callable[[int, bytearray], bytes | None]) -> Path:
    """Copy a film, its packets changed by number; None leaves one out."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = given.streams.video[0]
        out = made.add_stream_from_template(stream)
        for number, packet in enumerate(given.demux(stream)):
            if not packet.size:
                continue
            data = change(number, bytearray(bytes(packet)))
            if data is None:
                continue
            copy = av.Packet(bytes(data))
            copy.pts, copy.dts, copy.time_base, copy.duration = (
                packet.pts,
                packet.dts,
                packet.time_base,
                packet.duration,
            )
            copy.is_keyframe = packet.is_keyframe
            copy.stream = out
            made.mux(copy)
    return target


def noisy(numbers: range) -> Callable[[int, bytearray], bytes]:
    def change(number: int, data: bytearray) -> bytes:
        if number in numbers:
            middle = min(len(data) // 3, 60)
            data[middle:] = np.random.default_rng(number).bytes(len(data) - middle)
        return bytes(data)

    return change


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_damaged_pictures_cost_the_time_to_the_next_key_frame(tmp_path: Path, film: Film, encoder: str) -> None:
    found = read(rewritten(film("mkv", encoder), tmp_path / "v.mkv", noisy(range(40, 42))))
    ((start, stop, reason),) = found.lost
    assert 2.4 < start < 2.8
    assert (stop, reason) == (4.0, "damaged")
    assert found.end == pytest.approx(SECONDS, abs=0.1)
    assert found.packets == pytest.approx(SECONDS, abs=0.3)


def test_pictures_that_are_shown_before_a_damaged_one_and_refer_to_it_are_lost_too(tmp_path: Path, film: Film) -> None:
    times = [float(packet.pts * packet.time_base) for packet in packets(film("mkv"))]
    # decoded first, shown after the next ones, which refer both ways
    damaged = next(number for number in range(38, 50) if times[number] > max(times[number + 1], times[number + 2]))
    path = rewritten(film("mkv"), tmp_path / "v.mkv", lambda n, d: bytes(len(d)) if n == damaged else bytes(d))
    ((start, _, _),) = read(path).lost
    assert start <= round(min(times[damaged + 1 : damaged + 3]), 2) + 0.01


def test_damage_in_every_group_of_pictures_is_booked_each_time(tmp_path: Path, film: Film) -> None:
    found = read(
        rewritten(film("mkv", "mpeg4"), tmp_path / "v.mkv", lambda n, d: noisy(range(n, n + (n % 30 == 9)))(n, d))
    )
    assert found.end == pytest.approx(SECONDS, abs=0.1)
    assert [round(start) for start, _, _ in found.lost] == [1, 3, 5, 7]
    assert [stop for _, stop, _ in found.lost] == pytest.approx([2, 4, 6, 8], abs=0.1)


def test_damage_in_the_first_pictures_costs_the_head(tmp_path: Path, film: Film) -> None:
    found = read(rewritten(film("mkv", "mpeg4"), tmp_path / "v.mkv", noisy(range(2))))
    assert found.lost == [(0, 2.0, "damaged")]


@pytest.mark.parametrize(
    ("ending", "encoder"),
    [("ts", "libx264"), ("ts", "mpeg2video"), ("mkv", "libvpx-vp9"), ("mkv", "mpeg4"), ("mkv", "libx265")],
)
def test_a_capture_that_begins_between_key_frames_begins_with_the_next_one(
    tmp_path: Path, film: Film, ending: str, encoder: str
) -> None:
    late = rewritten(film(ending, encoder), tmp_path / f"late.{ending}", lambda n, d: None if n < 10 else bytes(d))
    found = read(late)
    ((start, stop, reason),) = found.lost
    assert (start, reason) == (0, "head")
    assert stop == pytest.approx(2 - 10 / RATE, abs=0.25)
    assert found.times[0] == stop
    assert found.end == pytest.approx(SECONDS - 10 / RATE, abs=0.25)
    assert found.packets == pytest.approx(found.end, abs=0.3)


def test_packets_that_the_container_doubts_are_kept_where_they_decode(tmp_path: Path, film: Film) -> None:
    # the packets of a transport stream are numbered, here anew in each segment
    run_ffmpeg("-i", film("ts"), "-c", "copy", "-f", "segment", "-segment_time", "2", tmp_path / "%d.ts")
    parts = [tmp_path / f"{number}.ts" for number in range(4)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found = read(path)
    assert found.lost == []
    assert len(found.times) == SECONDS * RATE
    assert any(packet.is_corrupt for packet in packets(path))


def test_packets_of_a_transport_stream_that_are_gone_are_a_gap_and_no_still_picture(tmp_path: Path, film: Film) -> None:
    data = film("ts").read_bytes()
    # from before the key frame at 4 s to the one at 6 s
    places = [packet.pos for packet in packets(film("ts")) if packet.is_keyframe]
    path = tmp_path / "gone.ts"
    path.write_bytes(data[: places[2]] + data[places[3] :])
    found = read(path)
    ((start, stop, reason),) = found.lost
    assert start == pytest.approx(4, abs=0.2)
    assert stop == pytest.approx(6, abs=0.2)
    assert reason in {"gap", "damaged"}


@pytest.mark.parametrize("ending", ["flv", "mkv", "ts", "avi", "vob"])
def test_a_recording_that_was_killed_is_read_to_where_it_ends(tmp_path: Path, film: Film, ending: str) -> None:
    whole = film(ending, "mpeg2video" if ending == "vob" else "libx264").read_bytes()
    path = tmp_path / f"killed.{ending}"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    found = read(path)
    assert 3.5 < found.end < 7.5
    assert sum(stop - start for start, stop, _ in found.lost) < 0.3
    assert found.packets == pytest.approx(found.end, abs=0.3)


def test_a_fragmented_recording_that_was_killed_is_read_to_where_it_ends(tmp_path: Path, film: Film) -> None:
    path = tmp_path / "killed.mp4"
    run_ffmpeg("-i", film("mkv"), "-c", "copy", "-movflags", "frag_keyframe+empty_moov", path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    found = read(path)
    assert 4 <= found.end < 6.5
    assert found.packets == pytest.approx(found.end, abs=0.3)


def test_pictures_that_an_index_names_and_the_file_has_not_are_booked(tmp_path: Path, film: Film) -> None:
    path = tmp_path / "cut.mp4"
    run_ffmpeg("-i", film("mkv"), "-c", "copy", "-movflags", "+faststart", path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    found = read(path)
    assert found.end == pytest.approx(SECONDS, abs=0.2)
    assert {reason for _, _, reason in found.lost} <= {"missing", "damaged"}
    assert found.lost[-1][1] == found.end
    assert found.lost[-1][2] == "missing"
    assert 3.5 < found.times[-1] < 6


def test_garbage_at_the_end_costs_no_picture_before_it(tmp_path: Path, film: Film) -> None:
    for ending in ("ts", "mkv", "flv"):
        path = tmp_path / f"end.{ending}"
        path.write_bytes(film(ending).read_bytes() + np.random.default_rng(0).bytes(20_000))
        found = read(path)
        assert len(found.times) == SECONDS * RATE
        assert found.end == pytest.approx(SECONDS, abs=0.2)


def test_a_file_in_which_nothing_plays_says_so(tmp_path: Path, film: Film) -> None:
    path = rewritten(film("mkv"), tmp_path / "v.mkv", lambda n, d: bytes(len(d)))
    with pytest.raises(PermanentError, match="no frame could be decoded") as caught:
        read(path)
    assert caught.value.error_class == "decode_error"
