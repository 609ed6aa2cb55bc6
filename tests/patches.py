"""Files of six patches of known colour, SDR and HDR, as ffmpeg writes them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from pipeline.footage.look import PQ

PATCHES = np.array([(220, 20, 20), (20, 200, 40), (30, 40, 210), (230, 230, 230), (128, 128, 128), (240, 200, 30)])
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "8"]


def painted(patches: np.ndarray) -> np.ndarray:
    """Return a picture (90, 160, 3) of six patches."""
    picture = np.empty((90, 160, 3), patches.dtype)
    for index, patch in enumerate(patches):
        row, column = divmod(index, 3)
        picture[45 * row : 45 * row + 45, 54 * column : 54 * column + 54] = patch
    return picture


def encoded(path: Path, picture: np.ndarray, *options: str, kind: str = "rgb24") -> Path:
    """Write a picture for 2 s with these options of ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", kind, "-s", "160x90"]
    command += ["-r", "8", "-i", "-", *options, str(path)]
    subprocess.run(command, check=True, input=picture.tobytes() * 16)
    return path


def hdr_signal(transfer: str) -> np.ndarray:
    """Return the patches as R'G'B' of 16 bits in BT.2020, SDR white at 203 cd/m2 (ITU-R BT.2408)."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    nits = 203 * (PATCHES / 255) ** 2.4 @ to_2020.T
    if transfer == PQ:
        power = (nits / 10000) ** (2610 / 16384)
        signal = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    else:
        # undo the system gamma of a 1000 cd/m2 display, then the curve of HLG
        luminance = (nits @ [0.2627, 0.6780, 0.0593])[:, None] / 1000
        scene = nits / 1000 * luminance ** ((1 - 1.2) / 1.2)
        low, high = np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, low, high)
    return np.rint(signal * 65535).astype(np.uint16)


def hdr_file(path: Path, transfer: str, *more: str, codec: Sequence[str] = (*X264, "-pix_fmt", "yuv420p10le")) -> Path:
    tags = f"setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}"
    options = ["-vf", f"scale=out_color_matrix=bt2020,format={codec[-1]},{tags}", *codec, *more]
    return encoded(path, painted(hdr_signal(transfer)), *options, kind="rgb48le")
