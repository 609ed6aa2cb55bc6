"""How well the tokenizer reconstructs single held-out frames: what a picture's reconstruction is compared with.

PSNR says how near a frame comes back, and the errors of its patches say how strange the strangest of them is.

Shapes: N frames, H W C pixels, P patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from models.evaluation.held_out import HeldOutClip
from models.evaluation.rollouts import decode, encode
from models.evaluation.world_interface import World
from models.metrics import psnr

ROUND_TRIPS = "round_trips"
"""Name of `RoundTrips` among the metrics of an evaluation."""
PATCH = 10
"""Side of the squares, in pixels, whose errors are compared."""
_QUANTILES = 101
_FRAMES = 96
_FAR_QUANTILE = 0.99


@dataclass(frozen=True)
class RoundTrips:
    """The round trips of held-out frames through a tokenizer."""

    psnr_quantiles: tuple[float, ...]
    """PSNR in dB that 0, 1, .. 100 % of the frames do not reach or just reach."""
    far_error: float
    """Root of the mean squared error, out of 255, that 99 % of the patches do not exceed."""
    num_frames: int

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "psnr_quantiles": list(self.psnr_quantiles)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what `as_json` wrote; KeyError, TypeError or ValueError for anything else."""
        quantiles = tuple(float(value) for value in values["psnr_quantiles"])
        if not quantiles:
            raise ValueError("psnr_quantiles is empty")
        return cls(quantiles, float(values["far_error"]), int(values["num_frames"]))


def measure_round_trips(world: World, clips: Sequence[HeldOutClip]) -> RoundTrips:
    """Return the round trips of at most 96 frames, spread over held-out clips, each encoded alone as a start."""
    each = max(1, _FRAMES // len(clips))
    chosen = clips[:: max(1, len(clips) // _FRAMES)]
    frames = [clip.frames_THWC[np.linspace(0, len(clip.frames_THWC) - 1, each).round().astype(int)] for clip in chosen]
    frames_NHWC = np.concatenate(frames)
    return round_trips(frames_NHWC, decode(world, encode(world, frames_NHWC[:, None]))[:, 0])


def round_trips(truth_NHWC: np.ndarray, shown_NHWC: np.ndarray) -> RoundTrips:
    """Return the round trips of frames, uint8, that came back from the tokenizer as `shown_NHWC`."""
    quantiles = np.quantile(psnr(truth_NHWC, shown_NHWC), np.linspace(0, 1, _QUANTILES))
    far = float(np.quantile(patch_errors(truth_NHWC, shown_NHWC), _FAR_QUANTILE))
    return RoundTrips(tuple(round(value, 3) for value in quantiles.tolist()), round(far, 3), len(truth_NHWC))


def patch_errors(truth_NHWC: np.ndarray, shown_NHWC: np.ndarray) -> np.ndarray:
    """Return the root of the mean squared error (N, P) of each patch."""
    height, width = truth_NHWC.shape[1:3]
    side = min(PATCH, height, width)
    rows, columns = height // side, width // side
    error = (truth_NHWC.astype(np.float32) - shown_NHWC.astype(np.float32)) ** 2
    squares = error[:, : rows * side, : columns * side].reshape(len(error), rows, side, columns, side, 3)
    root: np.ndarray = np.sqrt(squares.mean((2, 4, 5))).reshape(len(error), -1)
    return root
