"""A small ConvNet that reads which true action led from one frame to the next.

It sees the two frames alone. With the frame before them it could read the action before, which players often repeat,
and would be right about recordings without looking at what the action did.

Frames are averaged down to at most 48 rows. What a player controls covers a small part of the picture, so the strongest
response over the picture counts beside the mean one.

Shapes: B transitions, H W C pixels, h w pixels of the smaller frames, A true actions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 16
"""Channels of the first layer; the two after it have twice and four times as many."""
_MOST_ROWS = 48
_GROUPS = 8
_CHANGE_SCALE = 4


class InverseDynamics(nn.Module):
    """Pairs of small frames (B, 2, h, w, 3), uint8, to the logits (B, A) of the action between them."""

    def __init__(self, num_actions: int) -> None:
        """Build the network; its weights are drawn from torch's global generator."""
        super().__init__()
        widths = (9, WIDTH, 2 * WIDTH, 4 * WIDTH)
        self.layers = nn.ModuleList(
            nn.Conv2d(inner, outer, 3, stride=2, padding=1) for inner, outer in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, outer) for outer in widths[1:])
        self.head = nn.Linear(2 * widths[-1], num_actions)

    def forward(self, pairs_B2hwC: Tensor) -> Tensor:
        before, after = (pairs_B2hwC.movedim(-1, 2).float() / 255 - 0.5).unbind(1)
        x = torch.cat([before, after, _CHANGE_SCALE * (after - before)], 1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        logits: Tensor = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return logits


def shrunk(frames_NHWC: Tensor) -> Tensor:
    """Return frames (N, h, w, 3), uint8, averaged down by a whole factor to at most 48 rows."""
    factor = -(-frames_NHWC.shape[1] // _MOST_ROWS)
    if factor == 1:
        return frames_NHWC
    small = F.avg_pool2d(frames_NHWC.movedim(-1, 1).float(), factor, ceil_mode=True)
    return small.round().to(torch.uint8).movedim(1, -1).contiguous()
