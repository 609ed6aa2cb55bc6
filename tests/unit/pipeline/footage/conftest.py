"""One short film in several containers and codings, and what is read of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.footage.pictures import Lost
from pipeline.footage.read import Footage
from tests.media import run_ffmpeg

SECONDS, RATE, GOP = 8, 15, 30


@dataclass
class Found:
    """What was read of a file, in seconds."""

    times: list[float]
    lost: list[tuple[float, float, str]]
    end: float
    packets: float
    jumps: int


def read(path: Path) -> Found:
    footage = Footage(path)
    times: list[float] = []

    def seconds(units: int) -> float:
        return round(float(units * footage.time_base), 2)

    for event in footage.events():
        if isinstance(event, Lost):
            times = [time for time in times if time < seconds(event.start)]
        else:
            times.append(seconds(event.at))
    lost = [(seconds(loss.start), seconds(loss.stop), loss.reason) for loss in footage.lost]
    return Found(times, lost, seconds(footage.end), footage.packets_ms / 1000, footage.jumps)


@pytest.fixture(scope="package")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return 8 s of pictures that move, 15 a second, a key frame every 2 s: by ending and encoder, each made once."""
    folder = tmp_path_factory.mktemp("film")
    options = {
        "libx264": ["-preset", "veryfast", "-bf", "3"],
        "libx265": ["-preset", "ultrafast", "-x265-params", "log-level=none:bframes=3"],
        "libvpx-vp9": ["-deadline", "realtime", "-cpu-used", "8"],
        "mpeg2video": ["-bf", "2", "-b:v", "400k"],
        "mpeg4": ["-bf", "0", "-q:v", "4"],
    }

    def make(ending: str, encoder: str = "libx264") -> Path:
        path = folder / f"{encoder}.{ending}"
        source = folder / f"{encoder}.nut"
        if not source.exists():
            picture = ["-f", "lavfi", "-i", f"testsrc2=size=160x96:rate={RATE}:duration={SECONDS}"]
            coding = ["-c:v", encoder, *options[encoder], "-g", str(GOP), "-pix_fmt", "yuv420p"]
            run_ffmpeg(*picture, *coding, source)
        if not path.exists():
            run_ffmpeg("-i", source, "-c", "copy", path)
        return path

    return make
