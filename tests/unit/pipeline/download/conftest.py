"""A folder of files that only look like videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.media import at_rest, run_ffmpeg


@pytest.fixture(scope="session")
def traps(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path], clip_file: Path) -> Path:
    """A folder with one good video and everything that only looks like one."""
    folder = tmp_path_factory.mktemp("traps")
    good = clip_file.read_bytes()
    (folder / "good.mp4").write_bytes(good)
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "page.mp4").write_bytes(b"<!DOCTYPE html><html><body>Not found</body></html>")
    (folder / "json.mp4").write_bytes(b'{"error": "gone"}')
    (folder / "playlist.mp4").write_bytes(f"#EXTM3U\n#EXTINF:4,\n{clip_file}\n".encode())
    (folder / "script.mp4").write_bytes(f"ffconcat version 1.0\nfile '{clip_file}'\n".encode())
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    (folder / "no-index.mp4").write_bytes(good[: len(good) // 2])
    command = ["-movflags", "+faststart", "-c", "copy", str(folder / "cut.mp4")]
    run_ffmpeg("-i", str(clip_file), *command)
    cut = folder / "cut.mp4"
    cut.write_bytes(cut.read_bytes()[: cut.read_bytes().index(b"mdat") + 4])  # all of its index, none of its pictures
    run_ffmpeg("-i", str(clip_file), "-c", "copy", str(folder / "cut.mkv"))
    matroska = folder / "cut.mkv"
    matroska.write_bytes(matroska.read_bytes()[: matroska.read_bytes().index(b"\x1f\x43\xb6\x75")])  # no cluster
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=2", str(folder / "sound.mp4"))
    run_ffmpeg("-f", "lavfi", "-i", "color=size=64x64", "-frames:v", "1", str(folder / "picture.mp4"))
    damaged = bytearray(good)
    start, stop = damaged.index(b"mdat") + 8, damaged.index(b"moov") - 4
    damaged[start:stop] = bytes(stop - start)
    (folder / "blank.mp4").write_bytes(bytes(damaged))
    return at_rest(folder)
