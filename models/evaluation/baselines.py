"""Baselines of the tokenizer: reconstructions that need no network.

Copies (of the previous frame, the first frame, the window's mean frame) show how much the video changes at all.
K-means of patches, with the tokenizer's patch and codebook size, shows what a codebook alone achieves. A PSNR means
little without them: in a slow video, copying the previous frame beats many trained networks.

Shapes: N windows, T frames, H W C pixels, P patches, E values of a patch, K codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.networks.initialization import farthest_points, kmeans, lloyd
from models.networks.patches import as_float, from_patches, grid_of, to_patches

_CHUNK = 16384  # rows of a distance matrix at a time


def previous_frame(video_NTHWC: np.ndarray) -> np.ndarray:
    """Return the previous frame of each frame; the first frame is its own."""
    return np.concatenate([video_NTHWC[:, :1], video_NTHWC[:, :-1]], 1)


def first_frame(video_NTHWC: np.ndarray) -> np.ndarray:
    """Return the first frame of each window, repeated."""
    return np.repeat(video_NTHWC[:, :1], video_NTHWC.shape[1], 1)


def mean_frame(video_NTHWC: np.ndarray) -> np.ndarray:
    """Return the mean frame of each window, repeated."""
    mean = np.rint(video_NTHWC.astype(np.float32).mean(1, keepdims=True)).astype(np.uint8)
    return np.repeat(mean, video_NTHWC.shape[1], 1)


@dataclass(frozen=True)
class PatchCodebook:
    """Centres of the k-means baseline."""

    patch: int
    centres: torch.Tensor

    def reconstruct(self, video_NTHWC: np.ndarray) -> np.ndarray:
        """Return the video with every patch replaced by its nearest centre."""
        *lead, height, width, _ = video_NTHWC.shape
        frames = video_NTHWC.reshape(-1, height, width, 3)
        patches = patches_of(frames, self.patch)
        nearest = self.centres[_nearest(patches, self.centres)[0]]
        return frames_of(nearest, self.patch, height, width).reshape(*lead, height, width, 3)


def fit_patch_codebook(
    frames_NHWC: np.ndarray, *, patch: int, num_codes: int, max_patches: int = 20000, rounds: int = 8, seed: int = 0
) -> PatchCodebook:
    """Fit k-means of patches, and return the better result of two initializations.

    Initialization by farthest points keeps rare patches, and by k-means++ frequent ones. Which is better depends on
    the video, and the baseline should be as strong as possible.

    Args:
        frames_NHWC: training frames, uint8.
        patch: side of a patch in pixels.
        num_codes: K; the result has fewer centres where there are fewer distinct patches.
        max_patches: number of patches that are drawn from the frames.
        rounds: Lloyd iterations.
        seed: seed of the draws.
    """
    patches = patches_of(frames_NHWC, patch)
    generator = torch.Generator().manual_seed(seed)
    if len(patches) > max_patches:
        patches = patches[torch.randperm(len(patches), generator=generator)[:max_patches]]
    distinct = torch.unique(patches, dim=0)
    if len(distinct) <= num_codes:
        return PatchCodebook(patch, distinct)
    spread = lloyd(patches, farthest_points(patches, num_codes, tolerance=0.0), rounds)[0]
    frequent = kmeans(patches, num_codes, rounds, generator)[0]
    return PatchCodebook(
        patch, min((spread, frequent), key=lambda centres: float(_nearest(patches, centres)[1].mean()))
    )


def patches_of(frames_NHWC: np.ndarray, patch: int) -> torch.Tensor:
    """Return the patches of uint8 frames, float32 (N * P, E) in [0, 1]; the bottom and right edges are replicated."""
    video = torch.from_numpy(np.ascontiguousarray(frames_NHWC))[None]
    return to_patches(as_float(video), patch).flatten(0, 2)


def frames_of(patches: torch.Tensor, patch: int, height: int, width: int) -> np.ndarray:
    """Return the uint8 frames (N, H, W, C) of patches (N * P, E): the inverse of `patches_of`."""
    rows, columns = grid_of(height, width, patch)
    frames = from_patches(patches.reshape(1, -1, rows * columns, patches.shape[-1]), patch, height, width)[0]
    return (frames.clamp(0, 1) * 255).round().byte().numpy()


def _nearest(patches: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # (index, squared distance) of the nearest centre
    squares = centres.square().sum(1)
    found = [torch.min(squares - 2 * chunk @ centres.T, 1) for chunk in patches.split(_CHUNK)]
    values = torch.cat([minimum.values for minimum in found]) + patches.square().sum(1)
    return torch.cat([minimum.indices for minimum in found]), values
