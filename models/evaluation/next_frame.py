"""How well a dynamics knows the tokens of the next frame, the true frames before it given.

Shapes: N windows, T frames, P tokens of a frame, L values of a latent action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from models.evaluation.held_out import HeldOutClip
from models.networks.dynamics import Dynamics, last_frame_quality
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute


class NextFrames(NamedTuple):
    """A value per held-out clip (N,): the mean over its windows."""

    cross_entropy: np.ndarray
    """Of a token, in nats."""
    accuracy: np.ndarray
    """Share of tokens of which the likeliest is right."""
    accuracy_changed: np.ndarray
    """The same of tokens that differ from the frame before; nan where none does."""


@torch.inference_mode()
def next_frames(
    tokenizer: VideoTokenizer,
    lam: LatentActionModel,
    dynamics: Dynamics,
    clips: Sequence[HeldOutClip],
    codes: Sequence[np.ndarray],
    *,
    compute: Compute,
    windows_per_clip: int,
) -> NextFrames:
    """Return how well the last frame of windows is known, which is wholly masked.

    Args:
        tokenizer: gives the tokens.
        lam: gives the rows of the codes.
        dynamics: what is measured; windows have the frames of its context.
        clips: held-out clips.
        codes: the action of each transition of each clip (T - 1,).
        compute: device and dtype.
        windows_per_clip: how many are taken, spread evenly.
    """
    context = dynamics.config.context
    losses, right, right_changed = [], [], []
    for clip, own in zip(clips, codes, strict=True):
        last = len(clip.frames_THWC) - context
        starts = sorted(set(np.linspace(0, last, windows_per_clip).astype(int).tolist()))
        video = torch.from_numpy(np.stack([clip.frames_THWC[start : start + context] for start in starts]))
        led_by = torch.from_numpy(np.stack([own[start : start + context - 1] for start in starts]))
        with compute.autocast():
            tokens = tokenizer.encode(video.to(compute.device))
            rows = lam.quantizer.lookup(led_by.to(compute.device))
            loss, hit = (part.float().cpu().numpy() for part in last_frame_quality(dynamics, tokens, rows))
        changed = (tokens[:, -1] != tokens[:, -2]).cpu().numpy()
        losses.append(loss.mean())
        right.append(hit.mean())
        # a mean of no tokens is none
        right_changed.append(hit[changed].mean() if changed.any() else np.nan)
    return NextFrames(np.array(losses), np.array(right), np.array(right_changed))
