"""The headers inside of joined FLV files are found wherever they are, and everything else is read as it is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipeline import joined_flv
from pipeline.joined_flv import inner_headers, without_headers

HEADER = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"


@pytest.mark.parametrize("part", [16, 17, 64, 1 << 22])
def test_headers_are_left_out_and_any_range_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(joined_flv, "_PART", part)
    rng = random.Random(part)
    parts = [rng.randbytes(length) for length in (40, 0, 1, 97, 13)]
    path = tmp_path / "a.flv"
    path.write_bytes(HEADER + HEADER.join(parts))
    whole = HEADER + b"".join(parts)
    headers = inner_headers(path)
    assert len(headers) == 4
    file = without_headers(path, headers)
    assert file.read() == whole
    assert file.read(5) == b""
    for _ in range(200):
        start, size = rng.randrange(len(whole) + 5), rng.randrange(60)
        assert file.seek(start) == start == file.tell()
        assert file.read(size) == whole[start : start + size]
    assert file.seek(-7, 2) == len(whole) - 7
    assert file.read(100) == whole[-7:]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\x00\x00\x00\x18ftyp" + HEADER * 3)
    (tmp_path / "b.flv").write_bytes(HEADER + b"x" * 100)
    assert inner_headers(tmp_path / "a.mp4") == inner_headers(tmp_path / "b.flv") == []
