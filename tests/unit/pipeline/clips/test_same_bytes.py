"""The same video gives the same tar and the same rows on every x86-64 processor that numpy runs on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.arcade.platformer import record_platformer
from pipeline.storage.store import Store
from tests.conftest import write_video

# cut one video and print everything that came of it; with `reduced`, without what newer processors add
PROGRAM = """
import ctypes, hashlib, json, sys
from pathlib import Path
import av, numpy as np
from pipeline.clips import encode
from pipeline.clips.cut_video import CutJob, cut_video
from pipeline.clips.read import read_clip, read_frames
from pipeline.clips.stored import decode_clip
from pipeline.config.clips import ClipConfig
from pipeline.storage.store import Store

root, key, tmp, mode = sys.argv[1:]
libavutil = ctypes.CDLL(next(word for word in Path("/proc/self/maps").read_text().split() if "libavutil" in word))
if mode == "reduced":
    mmx, mmxext, sse, sse2, sse3, ssse3, sse4, sse42 = 1, 2, 8, 16, 64, 128, 256, 512
    libavutil.av_force_cpu_flags(mmx | mmxext | sse | sse2 | sse3 | ssse3 | sse4 | sse42)
    encode._X264 = {**encode._X264, "x264-params": encode._X264["x264-params"] + ":asm=0"}
config = ClipConfig(seconds=2, fps=10)
cut = cut_video(CutJob(Store(root), config, "2026w47-0001", "folder-a", key, Store(root).sha256(key), tmp))
# what the features' table keeps: 32-bit floats
for row in cut.clips:
    row["features"] = np.float32(row["features"]).tolist()
    for read, decode in ((read_clip, decode_clip), (read_frames, np.asarray)):
        row[read.__name__] = hashlib.sha256(decode(read(Store(root), row)).tobytes()).hexdigest()
features = np._core._multiarray_umath.__cpu_features__
found = {"numpy": sorted(name for name, on in features.items() if on), "libav": libavutil.av_get_cpu_flags()}
print(json.dumps({"cpu": found, "clipping": cut.clipping, "clips": cut.clips}, default=bytes.hex))
"""
NUMPY_KERNELS: list[str] = np._core._multiarray_umath.__cpu_dispatch__
# SSE4.2 is what numpy's wheels need; all beyond it goes
REDUCED = {
    "NPY_DISABLE_CPU_FEATURES": " ".join(NUMPY_KERNELS),
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-FMA,-FMA4,-AVX",
    "JSIMD_FORCENONE": "1",
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Play six games of 2 s, then show 4 s of scrolling noise with a cut: eight clips, so that every feature varies."""
    played = np.stack([frame for seed in (1, 2, 6, 7, 9, 10) for frame in record_platformer(seed, 20, fps=10)])
    played = played.repeat(2, 1).repeat(2, 2)
    rng = np.random.default_rng(0)
    level = np.kron(rng.integers(0, 230, (12, 45, 3), dtype=np.uint8), np.ones((15, 15, 1), np.uint8))
    noise = np.stack([level[:, 5 * index : 5 * index + 320] for index in range(41)])
    noise += rng.integers(0, 25, noise.shape, dtype=np.uint8)
    noise[30:] = noise[30:, ::-1]
    path = tmp_path_factory.mktemp("level") / "level.mp4"
    return write_video(path, np.concatenate([played, noise]), fps=10).read_bytes()


def cut_in_a_process(root: Path, video: bytes, mode: str, environment: dict[str, str]) -> dict[str, Any]:
    store, tmp = Store(root), root / "tmp"
    tmp.mkdir(parents=True)
    key = "raw/2026w47-0001/folder-a.mp4"
    store.write_blob(key, video)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, store.root, key, str(tmp), mode],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4]), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    tar = store.read_blob(found["clipping"]["tar"])
    assert hashlib.sha256(tar).hexdigest() == found["clipping"]["tar_sha256"]
    return found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the switches are those of x86-64: SSE, AVX")
@pytest.mark.heavy
def test_an_old_and_a_new_processor_cut_the_same_tar_and_measure_the_same_rows(tmp_path: Path, video: bytes) -> None:
    new = cut_in_a_process(tmp_path / "new", video, "as it is", {})
    old = cut_in_a_process(tmp_path / "old", video, "reduced", REDUCED)
    assert NUMPY_KERNELS
    assert not set(NUMPY_KERNELS) & set(old["cpu"]["numpy"])
    assert old["cpu"]["libav"] < 1024, "libav uses more than SSE4.2"
    assert len(new["clips"]) == 8
    assert new["clips"][7]["cut_ms"] == [1000]
    for one, other in zip(new["clips"], old["clips"], strict=True):
        assert one == other
    assert new["clipping"] == old["clipping"]
