"""MaskGIT sampling: a frame's tokens are drawn all at once, the surest kept, the rest drawn again (Genie App. C).

Step s of S keeps a share of the frame that grows as 1 - cos(pi/2 * s/S); the last step keeps all. Two temperatures:
`token_temperature` divides the logits before a token is drawn (0 takes the most probable), `choice_temperature`
scales noise on the confidences that decide which drawn tokens stay, and falls to 0 over the steps.

Shapes: B windows, T frames, P tokens of a frame, K codes, L latent of an action.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.dynamics import Dynamics
from models.transformer import FrameCache
from pipeline.config.world import SamplingConfig


def keep_counts(num_tokens: int, steps: int) -> list[int]:
    """Return how many tokens are fixed after each step, by the cosine schedule; the last is all of them."""
    return [round(num_tokens * (1 - math.cos(math.pi / 2 * (step + 1) / steps))) for step in range(steps)]


@torch.no_grad()
def sample_frame(
    dynamics: Dynamics,
    tokens_BTP: Tensor,
    actions_BTL: Tensor,
    *,
    sampling: SamplingConfig,
    known_BP: Tensor | None = None,
    generator: torch.Generator | None = None,
    cache: FrameCache | None = None,
    recompute: bool = False,
) -> Tensor:
    """Return the tokens (B, P) of the window's last frame.

    The frames before it do not change from step to step, so they are computed once and each step computes one frame.

    Args:
        dynamics: the model.
        tokens_BTP: the window; of its last frame only the tokens that are known matter.
        actions_BTL: rows of the LAM's codebook for its T-1 transitions.
        sampling: steps and temperatures.
        known_BP: which tokens of the last frame are given and returned as they are; none by default.
        generator: of the noise, on the tokens' device.
        cache: holds the first frames of this very window, and afterwards all but its last; a fresh one by default.
        recompute: compute the whole window at every step instead, which gives the same and is what it is measured by.
    """
    frame = tokens_BTP[:, -1]
    # of a single step nothing would be computed twice
    steps = sampling.maskgit_steps
    whole = recompute or (steps == 1 and cache is None)
    logits_of = _logits(dynamics, tokens_BTP[:, :-1], actions_BTL, None if whole else cache or FrameCache())
    known = torch.zeros_like(frame, dtype=torch.bool) if known_BP is None else known_BP
    unknown_P = (~known).sum(1)
    fixed = known
    frame = frame.masked_fill(~fixed, dynamics.mask_id)
    for step, share in enumerate(keep_counts(1_000_000, steps)):
        logits = logits_of(frame)
        drawn = _draw(logits, sampling.token_temperature, generator)
        confidence = logits.log_softmax(-1).gather(-1, drawn[..., None])[..., 0]
        noise = sampling.choice_temperature * (1 - (step + 1) / steps)
        if noise and sampling.token_temperature:
            confidence = confidence + noise * _gumbel(confidence.shape, logits.device, generator)
        frame = torch.where(fixed, frame, drawn)
        if step == steps - 1:
            return frame
        # a fixed token stays fixed; of the others the surest join, up to the schedule's share of the unknown
        rank = confidence.masked_fill(fixed, float("inf")).argsort(1, descending=True).argsort(1)
        keep = known.sum(1) + (unknown_P * share + 999_999) // 1_000_000
        fixed = fixed | (rank < keep[:, None])
        frame = frame.masked_fill(~fixed, dynamics.mask_id)
    raise AssertionError("steps must be at least 1")


def _logits(
    dynamics: Dynamics, past_BTP: Tensor, actions_BTL: Tensor, cache: FrameCache | None
) -> Callable[[Tensor], Tensor]:
    """Return what gives the logits (B, P, K) of a frame's tokens (B, P); without a cache by the whole window."""
    if cache is None:

        def whole_window(frame_BP: Tensor) -> Tensor:
            window = torch.cat([past_BTP, frame_BP[:, None]], 1)
            return dynamics.head(dynamics.hidden(window, actions_BTL)[:, -1]).float()

        return whole_window
    new = past_BTP[:, cache.length :]
    if new.shape[1]:
        dynamics.hidden(new, actions_BTL[:, max(cache.length - 1, 0) : -1], cache, keep=True)

    def last_frame(frame_BP: Tensor) -> Tensor:
        return dynamics.head(dynamics.hidden(frame_BP[:, None], actions_BTL[:, -1:], cache)[:, -1]).float()

    return last_frame


def _draw(logits_BPK: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    if temperature == 0:
        return logits_BPK.argmax(-1)
    noise = _gumbel(logits_BPK.shape, logits_BPK.device, generator)
    return (logits_BPK / temperature + noise).argmax(-1)


def _gumbel(shape: torch.Size, device: torch.device, generator: torch.Generator | None) -> Tensor:
    uniform = torch.rand(shape, generator=generator, device=device).clamp(1e-20, 1 - 1e-7)
    return -(-uniform.log()).log()
