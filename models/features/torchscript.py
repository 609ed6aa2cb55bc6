"""A user's TorchScript file as a network of features: I3D, V-JEPA, or anything else with a video at one end.

The file is a program, and loading runs it. So a setting must allow it (`pipeline.feature_nets.check_names`).

The module takes videos (B, 3, T, H, W), float32 with values 0 to 255, of whatever size and length the clips have, and
returns features (B, D). Whatever a network needs before (sizes, scales) belongs into the module.

Shapes: B videos, T frames, H W C pixels, D features.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor

from models.features.net import FeatureNet
from pipeline.errors import UserError
from pipeline.feature_nets import FILE, file_sha256
from pipeline.regular_file import read_regular

_LARGEST = 4 << 30
_MOST_FEATURES = 16_384


def torchscript_features(name: str, video_shape: tuple[int, int, int], device: torch.device) -> FeatureNet:
    """Return the network of a TorchScript file.

    Args:
        name: `file:PATH.pt`.
        video_shape: frames, height and width of the videos that it will see; it is tried on two of them first.
        device: where it runs.

    Raises:
        UserError: the file is none, or the module does not take such videos, or returns something else.
    """
    digest, path = file_sha256(name), Path(name.removeprefix(FILE)).expanduser()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(io.BytesIO(read_regular(path, _LARGEST)), map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as exc:
        raise UserError(f"the network {name!r} cannot be loaded as TorchScript ({_first_line(exc)})") from exc

    def run(video_BTHWC: Tensor) -> Tensor:
        found: Tensor = module(video_BTHWC.to(device).permute(0, 4, 1, 2, 3).float())
        return found

    dimension = _probe(name, run, video_shape)
    shown = re_named(path.stem)
    return FeatureNet(
        f"{shown}-{digest[:8]}", digest, dimension, "as the module scales it", "video", run, f"file {path.name}"
    )


def re_named(stem: str) -> str:
    """Return a file's name as it may stand in the name of a figure."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in stem)[
        :40
    ]


def _probe(name: str, run: object, video_shape: tuple[int, int, int]) -> int:
    """Return the number of features; UserError where a module takes no such videos or returns another shape."""
    assert callable(run)
    frames, height, width = video_shape
    videos = torch.arange(2 * frames * height * width * 3).remainder(251).to(torch.uint8)
    asked = f"videos (2, 3, {frames}, {height}, {width}), float32 with values 0 to 255"
    try:
        with torch.inference_mode():
            found = run(videos.reshape(2, frames, height, width, 3))
    except (RuntimeError, ValueError, TypeError, IndexError, torch.jit.Error) as exc:
        raise UserError(f"the network {name!r} does not take {asked} ({_first_line(exc)})") from exc
    if (
        not isinstance(found, Tensor)
        or found.dim() != 2
        or len(found) != 2
        or not 1 <= found.shape[1] <= _MOST_FEATURES
    ):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UserError(
            f"the network {name!r} returned {shape} for {asked}: it must return features (2, D), D at most "
            f"{_MOST_FEATURES}; average over positions in the module"
        )
    if not found.is_floating_point():
        raise UserError(
            f"the network {name!r} returned {found.dtype}: it must return features as floating point numbers"
        )
    return int(found.shape[1])


def _first_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(exc).__name__
