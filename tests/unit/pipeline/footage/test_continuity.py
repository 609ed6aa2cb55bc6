"""Packets that a demuxer passes over in silence are found, and pictures that stand still are left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.footage.h264 import numbering
from tests.media import run_ffmpeg
from tests.unit.pipeline.footage.conftest import RATE, SECONDS, read
from tests.unit.pipeline.footage.test_damage import packets, rewritten

Film = Callable[..., Path]


@pytest.mark.parametrize("ending", ["mkv", "flv", "ts"])
@pytest.mark.parametrize("missing", [range(96, 100), range(92, 114)])
def test_pictures_of_h264_that_are_gone_without_a_word_cost_the_time_to_the_next_key_frame(
    tmp_path: Path, film: Film, ending: str, missing: range
) -> None:
    path = rewritten(film("mkv"), tmp_path / f"v.{ending}", lambda n, d: None if n in missing else bytes(d))
    found = read(path)
    ((start, stop, reason),) = found.lost
    assert reason in {"gap", "damaged"}
    assert 5.8 < start < 6.8
    assert stop == pytest.approx(8, abs=0.1)
    assert found.end == pytest.approx(SECONDS, abs=0.2)


@pytest.mark.parametrize("encoder", ["libx264", "libvpx-vp9"])
def test_pictures_that_a_recorder_left_out_are_a_still_picture(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "left-out.mkv"
    # a screen that is recorded where it changes
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=160x96:rate={RATE}:duration=12")
    keep = "select='not(between(mod(n,40),20,30))'"
    run_ffmpeg(*picture, "-vf", keep, "-fps_mode", "vfr", "-c:v", encoder, "-deadline", "realtime", "-g", "60", path)
    found = read(path)
    assert found.lost == []
    assert found.end == pytest.approx(12, abs=0.9)


def test_the_numbers_of_h264_tell_a_recorder_that_left_out_pictures_from_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "hiccup.mkv"
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=160x96:rate={RATE}:duration=12")
    keep = "select='not(between(n,130,135))'"
    run_ffmpeg(*picture, "-vf", keep, "-fps_mode", "vfr", "-c:v", "libx264", "-g", "60", "-preset", "veryfast", path)
    found = read(path)
    assert found.lost == []
    assert len(found.times) == 12 * RATE - 6


@pytest.mark.parametrize(("ending", "encoder"), [("mkv", "libx264"), ("flv", "libx264"), ("webm", "libvpx-vp9")])
def test_bytes_that_a_demuxer_passes_over_leave_no_frozen_picture(tmp_path: Path, ending: str, encoder: str) -> None:
    path = tmp_path / f"noise.{ending}"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=160x96:rate=15:duration=12")
    coding = ("-c:v", encoder, "-g", "30", "-preset", "veryfast", "-deadline", "realtime", "-cpu-used", "8")
    run_ffmpeg(*picture, *coding, "-pix_fmt", "yuv420p", path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(5).bytes(2000)
    path.write_bytes(data)
    found = read(path)
    assert found.lost
    assert found.end == pytest.approx(12, abs=0.1)
    # beside what is lost, picture follows picture
    steps = zip(found.times, found.times[1:], strict=False)
    assert all(
        next_one - time < 0.2 for time, next_one in steps if not any(s < next_one <= e for s, e, _ in found.lost)
    )


@pytest.mark.parametrize(("ending", "encoder"), [("mkv", "mpeg4"), ("webm", "libvpx-vp9")])
def test_bytes_that_are_passed_over_are_evidence_where_the_decoder_notices_nothing(
    tmp_path: Path, film: Film, ending: str, encoder: str
) -> None:
    places = [packet.pos for packet in packets(film(ending, encoder))]
    data = bytearray(film(ending, encoder).read_bytes())
    data[places[35] : places[45]] = bytes(places[45] - places[35])
    path = tmp_path / f"v.{ending}"
    path.write_bytes(data)
    found = read(path)
    start, stop, _ = found.lost[0]
    assert start == pytest.approx(35 / RATE, abs=0.15)
    assert stop in {4.0, 6.0}


def test_extra_data_that_cannot_be_read_numbers_nothing() -> None:
    random = np.random.default_rng(0)
    assert numbering(None) is None
    assert numbering(b"\1") is None
    for size in (8, 20, 60):
        for head in (b"\1", b"\0\0\1\x67", b""):
            found = numbering(head + random.bytes(size))
            if found is not None:
                assert found.lost_between(random.bytes(50), random.bytes(50)) in {None, True, False}
                assert found.lost_between(b"", b"\0") is None
