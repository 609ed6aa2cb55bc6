"""Fixtures that several parts share: small stores on a folder and on a loopback S3 server, tiny real videos."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store on an empty folder."""
    return Store(tmp_path / "root")


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, str]]:
    """Storage options of an S3 server on loopback that has one bucket, `lampworks-test`."""
    boto3 = pytest.importorskip("boto3", reason="the S3 tests need the dev extra: boto3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        options = {
            "key": "test",
            "secret": "test",
            "endpoint_url": f"http://127.0.0.1:{port}",
            "region": "us-east-1",
        }
        client = boto3.client(
            "s3",
            endpoint_url=options["endpoint_url"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="lampworks-test")
        client.close()
        yield options
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """The writer of tiny real videos, `write_video`."""
    return write_video


def write_video(
    path: Path,
    frames: np.ndarray,
    *,
    fps: int = 30,
    codec: str = "libx264",
    pts: list[int] | None = None,
    audio: bool = False,
) -> Path:
    """Write uint8 RGB frames (T, H, W, 3) as a real file; `pts` in units of 1/90000 s makes the rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "18"}
        elif codec == "libvpx-vp9":
            stream.options = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"}
        sound = container.add_stream("aac", rate=8000) if audio else None
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = pts[index] if pts is not None else index * 90000 // fps
            frame.time_base = Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            seconds = len(frames) / fps
            for start in range(0, int(seconds * 8000), 1024):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 8000, start
                container.mux(sound.encode(silence))
            container.mux(sound.encode())
    return path
