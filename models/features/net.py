"""What a feature network is: a function of videos with a name, a hash of its weights, and what it takes.

Shapes: N videos, B videos of a batch, T frames, H W C pixels, K frames that are looked at, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.runtime.compute import intra_op_threads
from pipeline.errors import UserError

BATCH = 4
"""Videos at once: fixed, because a batch of another size may round differently."""


class NetFacts(TypedDict):
    """Which network a figure was computed on, as JSON."""

    name: str
    sha256: str
    """Of its weights."""
    dimension: int
    """Features of a video or frame."""
    input: str
    """Size, frames and rate that it takes."""
    note: str
    """What a reader of its figures must know; often empty."""


@dataclass(frozen=True)
class FeatureNet:
    """A network in evaluation mode."""

    name: str
    """As it stands in the names of figures."""
    sha256: str
    dimension: int
    input: str
    kind: Literal["video", "frames"]
    """Whether it gives one vector a video or one a frame."""
    run: Callable[[Tensor], Tensor]
    """Maps uint8 videos (B, T, H, W, 3) to vectors (B, D), or (B, T, D) of a network of frames."""
    note: str = ""

    def facts(self) -> NetFacts:
        """Return which network it is, as JSON."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "dimension": self.dimension,
            "input": self.input,
            "note": self.note,
        }


def features(
    net: FeatureNet,
    video_NTHWC: NDArray[np.uint8],
    map_parts: Callable[[Callable[[Tensor], Tensor], Sequence[Tensor]], list[Tensor]] | None = None,
) -> NDArray[np.float64]:
    """Return the features of videos: (N, D), or (N, T, D) of a network of frames.

    Args:
        net: the network.
        video_NTHWC: videos of one size and length.
        map_parts: maps a function over batches, in threads perhaps; one after another by default, to the same result.

    Raises:
        UserError: a feature is no finite number.
    """
    parts = torch.from_numpy(np.ascontiguousarray(video_NTHWC)).split(BATCH)

    def run(part: Tensor) -> Tensor:
        with torch.inference_mode():
            return net.run(part).float().cpu()

    with intra_op_threads(1):
        found = torch.cat(list(map(run, parts)) if map_parts is None else map_parts(run, parts)).double().numpy()
    if not np.isfinite(found).all():
        raise UserError(f"the network {net.name} gives features that are no finite numbers: leave it out")
    return found


def weights_sha256(state: dict[str, Tensor]) -> str:
    """Return the hash of weights: of the names, shapes and bytes of all tensors, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def scaled(pictures_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Return pictures, float with values 0 to 255, at another size: means over areas where they become smaller."""
    if pictures_BCHW.shape[2:] == (height, width):
        return pictures_BCHW.float()
    return torch.nn.functional.interpolate(
        pictures_BCHW.float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
