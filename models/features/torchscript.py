"""A user's TorchScript file as a network of features: I3D, V-JEPA, or anything else with a video at one end.

The file is a program, and loading runs it. So a setting must allow it (`pipeline.feature_nets.check_names`).

The module takes videos (B, 3, T, H, W), float32 with values 0 to 255, of whatever size and length the clips have, and
returns features (B, D). Whatever a network needs before (sizes, scales) belongs into the module.

Shapes: B videos, T frames, H W C pixels, D features.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import torch
from torch import Tensor

from models.features.net import FeatureNet
from pipeline.errors import UserError
from pipeline.feature_nets import FILE
from pipeline.regular_file import read_regular

_LARGEST = 4 << 30
_MOST_FEATURES = 16_384
_TRIED = (2, 1)
"""Videos of the batches that a module is tried on: the last batch of a set may have one."""


def torchscript_features(name: str, video_shape: tuple[int, int, int], device: torch.device) -> FeatureNet:
    """Return the network of a TorchScript file; its hash is that of the bytes that were loaded.

    Args:
        name: `file:PATH.pt`.
        video_shape: frames, height and width of the videos that it will see; it is tried on two of them first, and on
            one.
        device: where it runs.

    Raises:
        UserError: the file is none, or the module does not take such videos, or returns something else. The network's
            `run` raises it too.
    """
    path = Path(name.removeprefix(FILE)).expanduser()
    try:
        data = read_regular(path, _LARGEST)
    except OSError as exc:
        raise UserError(
            f"the network {name!r} cannot be read ({exc.strerror or exc}): name a file that is there"
        ) from exc
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(io.BytesIO(data), map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as exc:
        raise UserError(f"the network {name!r} cannot be loaded as TorchScript ({_first_line(exc)})") from exc
    digest = hashlib.sha256(data).hexdigest()

    def run(video_BTHWC: Tensor) -> Tensor:
        video = video_BTHWC.to(device).permute(0, 4, 1, 2, 3).float()
        asked = f"videos {tuple(video.shape)}, float32 with values 0 to 255"
        try:
            found = module(video)
        except (RuntimeError, ValueError, TypeError, IndexError, torch.jit.Error) as exc:
            raise UserError(f"the network {name!r} does not take {asked} ({_first_line(exc)})") from exc
        return _checked(name, found, len(video), asked)

    frames, height, width = video_shape
    video = torch.arange(max(_TRIED) * frames * height * width * 3).remainder(251).to(torch.uint8)
    video = video.reshape(max(_TRIED), frames, height, width, 3)
    with torch.inference_mode():
        dimensions = {run(video[:count]).shape[1] for count in _TRIED}
    if len(dimensions) > 1:
        raise UserError(f"the network {name!r} returns another number of features for one video than for two")
    shown = figure_part(path.stem)
    return FeatureNet(
        f"{shown}-{digest[:8]}",
        digest,
        dimensions.pop(),
        "as the module scales it",
        "video",
        run,
        f"file {path.name}",
    )


def figure_part(stem: str) -> str:
    """Return a file's name as it may stand in the name of a figure."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in stem)[
        :40
    ]


def _checked(name: str, found: object, count: int, asked: str) -> Tensor:
    """Return what a module returned for `count` videos; UserError where it is no features (count, D)."""
    if (
        not isinstance(found, Tensor)
        or found.dim() != 2
        or len(found) != count
        or not 1 <= found.shape[1] <= _MOST_FEATURES
    ):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UserError(
            f"the network {name!r} returned {shape} for {asked}: it must return features ({count}, D), D at most "
            f"{_MOST_FEATURES}; average over positions in the module, and keep the dimension of the videos where there "
            "is one"
        )
    if not found.is_floating_point():
        raise UserError(
            f"the network {name!r} returned {found.dtype}: it must return features as floating point numbers"
        )
    return found


def _first_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(exc).__name__
