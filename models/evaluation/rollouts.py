"""Roll out a world under inferred actions, under random ones, and with one latent action held down.

A latent action a_t leads from frame t to frame t + 1. Both arms of a comparison get the same prompt, the same seed
and the same batches, so that they differ by their actions alone: equal actions give equal frames.

Shapes: N windows, T frames, H W C pixels, P tokens of a frame, A latent actions, S generated frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from models.evaluation.world_interface import World
from pipeline.config.evaluation import SamplingConfig

Arm = Literal["categorical", "permuted"]
"""How random actions are drawn; see `random_actions`."""


@torch.no_grad()
def encode(world: World, video_NTHWC: np.ndarray, batch: int = 16) -> torch.Tensor:
    """Return the tokens (N, T, P) of a uint8 video."""
    return torch.cat([world.encode(part) for part in torch.from_numpy(video_NTHWC).split(batch)])


@torch.no_grad()
def decode(world: World, tokens_NTP: torch.Tensor, batch: int = 16) -> np.ndarray:
    """Return the uint8 video (N, T, H, W, C) of tokens."""
    return torch.cat([world.decode(part).cpu() for part in tokens_NTP.split(batch)]).numpy()


@torch.no_grad()
def infer_actions(world: World, video_NTHWC: np.ndarray, batch: int = 16) -> np.ndarray:
    """Return the latent actions (N, T - 1), int64, of a uint8 video."""
    parts = torch.from_numpy(video_NTHWC).split(batch)
    return torch.cat([world.infer_actions(part).cpu() for part in parts]).numpy().astype(np.int64)


@torch.no_grad()
def draw_tokens(
    world: World,
    prompt_NTP: torch.Tensor,
    actions_NA: np.ndarray,
    sampling: SamplingConfig,
    *,
    seed: int,
    batch: int = 16,
) -> torch.Tensor:
    """Return the tokens (N, T0 + S, P) of a prompt and of the frames that follow it.

    Args:
        world: the world model.
        prompt_NTP: tokens of T0 true frames per window.
        actions_NA: T0 + S - 1 latent actions per window; the first T0 - 1 lie between the prompt's frames.
        sampling: how new frames are sampled.
        seed: seed of the noise; each batch adds the index of its first window.
        batch: number of windows that are rolled out at once.
    """
    parts = []
    for start in range(0, len(prompt_NTP), batch):
        part = slice(start, start + batch)
        parts.append(
            world.generate(
                prompt_NTP[part],
                torch.from_numpy(actions_NA[part].astype(np.int64)),
                sampling=sampling,
                generator=torch.Generator(prompt_NTP.device).manual_seed(seed + start),
            )
        )
    return torch.cat(parts)


@torch.no_grad()
def decode_newest(world: World, tokens_NTP: torch.Tensor, count: int, batch: int = 16) -> np.ndarray:
    """Return the last `count` frames (N, count, H, W, C), uint8, of a rollout.

    A frame is decoded together with as many frames before it as the decoder sees: its pixels do not depend on
    `count`, up to the rounding of products of another shape. So what is compared exactly needs the same `count`.
    """
    tokens = tokens_NTP[:, -(count + world.decoder_window - 1) :]
    return torch.cat([world.decode(part)[:, -count:].cpu() for part in tokens.split(batch)]).numpy()


def roll_out(
    world: World, prompt_NTP: torch.Tensor, actions_NA: np.ndarray, sampling: SamplingConfig, *, seed: int
) -> np.ndarray:
    """Return the frames (N, S, H, W, C), uint8, that follow a prompt; the arguments are those of `draw_tokens`."""
    tokens = draw_tokens(world, prompt_NTP, actions_NA, sampling, seed=seed)
    return decode_newest(world, tokens, tokens.shape[1] - prompt_NTP.shape[1])


def random_actions(
    inferred_NA: np.ndarray,
    clip_actions: Sequence[np.ndarray],
    *,
    arm: Arm,
    keep: int,
    num_actions: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the inferred actions with all but the first `keep` of each window replaced by random ones.

    Args:
        inferred_NA: the actions inferred from each window.
        clip_actions: per window, the actions inferred from its whole clip.
        arm: `categorical` draws uniformly from all latent actions (Genie's random arm). `permuted` draws from a
            permutation of the clip's own actions, so an action that only identifies the scene stays the same.
        keep: number of actions within the prompt, which stay.
        num_actions: A.
        rng: random generator of the draws.
    """
    drawn = inferred_NA.copy()
    count = drawn.shape[1] - keep
    for row, own in enumerate(clip_actions):
        if arm == "categorical":
            drawn[row, keep:] = rng.integers(0, num_actions, count)
        else:
            drawn[row, keep:] = rng.permutation(own)[:count]
    return drawn


def hold_each_action(
    world: World, start_NHWC: np.ndarray, num_frames: int, sampling: SamplingConfig, *, seed: int
) -> np.ndarray:
    """Return one rollout per latent action from each start frame, with that action at every step.

    Each action is rolled out from the same prompts, with the same seed and in the same batches as the others.

    Returns:
        uint8 (N, A, 1 + num_frames, H, W, C); the first frame is the reconstruction of the start frame.
    """
    prompts = encode(world, start_NHWC[:, None])
    held = [np.full((len(start_NHWC), num_frames), action) for action in range(world.num_actions)]
    frames = np.stack([roll_out(world, prompts, actions, sampling, seed=seed) for actions in held], 1)
    shown = np.repeat(decode(world, prompts)[:, None], world.num_actions, 1)
    return np.concatenate([shown, frames], 2)
