"""Frames as patches: each network pads a frame to a multiple of its own patch and cuts the result back.

Padding repeats the last row and column at the bottom and right (160x90 is 160x92 for a patch of 4: the 920 tokens a
frame that fit the paper's token counts). Losses and metrics see real pixels only.

Shapes: B windows, T frames, H rows, W columns, C colours, P patches of a frame, X values of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grid_of(height: int, width: int, patch: int) -> tuple[int, int]:
    """Return rows and columns of patches that cover a frame."""
    return -(-height // patch), -(-width // patch)


def as_float(video_BTHWC: Tensor) -> Tensor:
    """Return pixels in [0, 1], fp32; uint8 is divided by 255, floats pass."""
    return video_BTHWC.float() / 255 if video_BTHWC.dtype == torch.uint8 else video_BTHWC


def to_patches(video_BTHWC: Tensor, patch: int) -> Tensor:
    """Return the patches (B, T, P, patch * patch * C) of a video, padded by edge replication where needed."""
    b, t, height, width, c = video_BTHWC.shape
    rows, columns = grid_of(height, width, patch)
    if rows * patch != height:
        video_BTHWC = video_BTHWC[:, :, torch.arange(rows * patch, device=video_BTHWC.device).clamp(max=height - 1)]
    if columns * patch != width:
        keep = torch.arange(columns * patch, device=video_BTHWC.device).clamp(max=width - 1)
        video_BTHWC = video_BTHWC[:, :, :, keep]
    cut = video_BTHWC.reshape(b, t, rows, patch, columns, patch, c)
    return cut.permute(0, 1, 2, 4, 3, 5, 6).reshape(b, t, rows * columns, patch * patch * c)


def from_patches(patches_BTPX: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Return the video (B, T, height, width, C) of patches, padding cut off."""
    b, t, _, x = patches_BTPX.shape
    rows, columns = grid_of(height, width, patch)
    c = x // (patch * patch)
    cut = patches_BTPX.reshape(b, t, rows, columns, patch, patch, c).permute(0, 1, 2, 4, 3, 5, 6)
    return cut.reshape(b, t, rows * patch, columns * patch, c)[:, :, :height, :width]
