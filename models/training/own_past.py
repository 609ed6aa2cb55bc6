"""A past that the dynamics drew itself, as in play, in place of the true frames (`dynamics.own_frames`).

In play every frame but the first is the dynamics' own, with its errors, and the next one is drawn after it. A dynamics
that has seen true frames alone never learns to put such errors right: what it left out once stays away. So the visible
past of some samples ends with a rollout: from a true frame, encoded alone as a player's first picture is, each frame is
drawn greedily after those before it, led by the latent actions of the clip. What is asked for are the true tokens of
the frames after it. No gradient goes through the rollout.

All rollouts of a part of a batch begin with one frame and go side by side, one frame a pass, with the states of past
frames cached: a frame of a rollout costs a tenth of a sample's step in a window of 5 frames.

Shapes: B windows, T frames of the context, X frames before them, P tokens of a frame, L latent of an action, K frames
of the longest rollout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from models.networks.dynamics import Dynamics
from models.networks.frame_cache import FrameCache
from models.world.sampling import sample_frame
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import DynamicsConfig

_GREEDY = SamplingConfig(maskgit_steps=1, token_temperature=0.0)


class Rollouts(NamedTuple):
    """Where the rollouts of a batch lie, on the CPU; times count from the first frame of X + T."""

    begin_B: Tensor
    """The first frame of each rollout, at least 1."""
    end_B: Tensor
    """The frame after its last; `begin` where a window has none."""


class OwnPast(NamedTuple):
    """The rollouts of a batch, or of a part of it, and what they begin with."""

    begin_B: Tensor
    end_B: Tensor
    first_BP: Tensor
    """Tokens of the true frame before each rollout, encoded alone; any where there is none."""
    actions_BAL: Tensor
    """Codebook rows of the X + T - 1 transitions; of the first X any where there is no rollout."""


def draw_rollouts(config: DynamicsConfig, mask_BTP: Tensor, generator: torch.Generator) -> Rollouts:
    """Draw which windows end their visible past with a rollout, and how long each is.

    Args:
        config: `own_frame_share` of the windows have one, of 1 to `own_frames` frames.
        mask_BTP: of the context, on the CPU: the past ends before the first frame of which something is masked.
        generator: of the step's noise.
    """
    b = len(mask_BTP)
    own = torch.rand(b, generator=generator) < config.own_frame_share
    length = torch.randint(1, config.own_frames + 1, (b,), generator=generator)
    visible = (~mask_BTP.any(2)).cumprod(1).sum(1)
    end = config.frames_before + visible
    begin = (end - length).clamp(min=1)
    return Rollouts(begin, torch.where(own, end, begin))


def begin_rollouts(
    rollouts: Rollouts,
    video_BVHWC: Tensor,
    actions_BTL: Tensor,
    encode: Callable[[Tensor], Tensor],
    rows_of: Callable[[Tensor], Tensor],
) -> OwnPast:
    """Return what rollouts begin with: only the windows that have one are encoded.

    Args:
        rollouts: of the batch.
        video_BVHWC: its windows, of V = X + T frames.
        actions_BTL: codebook rows of the last T - 1 transitions.
        encode: returns the tokens (N, 1, P) of single frames (N, 1, H, W, C).
        rows_of: returns the codebook rows (N, T - 1, L) of windows (N, T, H, W, C).
    """
    device, steps = video_BVHWC.device, actions_BTL.shape[1]
    before = video_BVHWC.shape[1] - steps - 1
    chosen = (rollouts.end_B > rollouts.begin_B).nonzero()[:, 0]
    actions = torch.cat([actions_BTL.new_zeros(len(actions_BTL), before, actions_BTL.shape[2]), actions_BTL], 1)
    if not len(chosen):
        return OwnPast(*rollouts, torch.zeros(len(actions), 1, dtype=torch.int64, device=device), actions)
    place, frame = chosen.to(device), (rollouts.begin_B[chosen] - 1).to(device)
    tokens = encode(video_BVHWC[place, frame][:, None])[:, 0]
    first = tokens.new_zeros(len(actions), tokens.shape[1]).index_copy(0, place, tokens)
    windows = [video_BVHWC[place, start : start + steps + 1] for start in range(0, before, steps)]
    rows = rows_of(torch.stack(windows, 1).flatten(0, 1)).unflatten(0, (len(chosen), -1)).flatten(1, 2)
    actions[:, :before] = actions[:, :before].index_copy(0, place, rows)
    return OwnPast(*rollouts, first, actions)


@torch.no_grad()
def with_own_past(dynamics: Dynamics, tokens_BTP: Tensor, own: OwnPast) -> Tensor:
    """Return the tokens of the context with the frames of the rollouts in their places.

    Args:
        dynamics: draws them.
        tokens_BTP: the true tokens of the context.
        own: the rollouts.
    """
    chosen = (own.end_B > own.begin_B).nonzero()[:, 0]
    if not len(chosen):
        return tokens_BTP
    begin, end = own.begin_B[chosen], own.end_B[chosen]
    before = own.actions_BAL.shape[1] + 1 - tokens_BTP.shape[1]
    place = chosen.to(tokens_BTP.device)
    drawn = _rolled_out(dynamics, own.first_BP[place], own.actions_BAL[place], begin, int((end - begin).max()))
    result = tokens_BTP.clone()
    for row, (sample, first, last) in enumerate(zip(chosen.tolist(), begin.tolist(), end.tolist(), strict=True)):
        seen = max(first, before)
        result[sample, seen - before : last - before] = drawn[row, seen - first : last - first]
    return result


def _rolled_out(dynamics: Dynamics, first_BP: Tensor, actions_BAL: Tensor, begin_B: Tensor, count: int) -> Tensor:
    """Return `count` frames (B, K, P) after the first ones; those beyond a rollout's end mean nothing."""
    cache = FrameCache(dynamics.config.context, ring=True)
    index = (begin_B[:, None] - 1 + torch.arange(count)).clamp(max=actions_BAL.shape[1] - 1).to(actions_BAL.device)
    led_BKL = actions_BAL.gather(1, index[:, :, None].expand(-1, -1, actions_BAL.shape[2]))
    frames = [first_BP]
    for number in range(count):
        # the newest frame goes into the cache, and the next is drawn after it
        window = torch.stack([frames[-1], frames[-1]], 1)
        led = led_BKL[:, max(0, number - 1) : number + 1]
        frames.append(sample_frame(dynamics, window, led, sampling=_GREEDY, cache=cache))
    return torch.stack(frames[1:], 1)
