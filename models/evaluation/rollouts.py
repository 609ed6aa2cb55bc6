"""Rollouts of a world: under inferred actions, under random ones, and with one latent action held down.

A latent action a_t leads from frame t to frame t + 1. Both arms of a comparison get the same prompt, the same seed
and the same batch, so that they differ by their actions alone: equal actions give equal frames.

Shapes: N windows, T frames, H W C pixels, P patches, A latent actions, S generated frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import torch

from models.runtime.cpu_parallel import CpuParallel
from pipeline.config.evaluation import SamplingConfig

Arm = Literal["categorical", "permuted"]


class World(Protocol):
    """What a world model must offer to be measured and played."""

    @property
    def num_actions(self) -> int:
        """Number of latent actions."""

    @property
    def context(self) -> int:
        """Frames that are seen at once."""

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P) of a uint8 video."""

    def decode(self, tokens_BTP: torch.Tensor) -> torch.Tensor:
        """Return the uint8 video (B, T, H, W, C) of tokens."""

    def infer_actions(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the latent actions (B, T - 1) of a uint8 video."""

    def generate(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the prompt's tokens and those of the frames that the remaining actions lead to."""

    def play(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the frames that the remaining actions lead to (B, S, H, W, C), uint8, as a player sees them."""


class SideBySide:
    """A world whose batches are divided among threads; random draws are seeded per thread."""

    def __init__(self, world: World, parallel: CpuParallel) -> None:
        self.world, self.parallel = world, parallel

    @property
    def num_actions(self) -> int:
        """A, the number of latent actions."""
        return self.world.num_actions

    @property
    def context(self) -> int:
        """T, frames of a window."""
        return self.world.context

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P)."""
        return self._map(lambda part: self.world.encode(part), video_BTHWC)

    def decode(self, tokens_BTP: torch.Tensor) -> torch.Tensor:
        """Return the uint8 video (B, T, H, W, C)."""
        return self._map(lambda part: self.world.decode(part), tokens_BTP)

    def infer_actions(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the latent actions (B, T - 1)."""
        return self._map(lambda part: self.world.infer_actions(part), video_BTHWC)

    def generate(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the tokens (B, T0 + S, P) of a rollout."""
        return self._map_seeded(self.world.generate, prompt_tokens_BTP, latent_actions_BA, sampling, generator)

    def play(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the new frames (B, S, H, W, C), uint8."""
        return self._map_seeded(self.world.play, prompt_tokens_BTP, latent_actions_BA, sampling, generator)

    def _map_seeded(
        self,
        roll: Callable[..., torch.Tensor],
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Divide the windows among the threads; each rolls out its own with its own generator."""
        seed = generator.initial_seed()

        def work(index: torch.Tensor) -> torch.Tensor:
            own = torch.Generator(generator.device).manual_seed(seed + int(index[0]))
            return roll(prompt_tokens_BTP[index], latent_actions_BA[index], sampling=sampling, generator=own)

        return self._map(work, torch.arange(len(prompt_tokens_BTP)))

    def _map(self, work: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
        def quietly(part: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():  # it is a setting of each thread
                return work(part)

        pieces = [piece for piece in batch.tensor_split(self.parallel.count) if len(piece)]
        return torch.cat(self.parallel.map(quietly, pieces))


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
    """Return the latent actions int64 (N, T - 1) of a uint8 video."""
    parts = torch.from_numpy(video_NTHWC).split(batch)
    return torch.cat([world.infer_actions(part).cpu() for part in parts]).numpy().astype(np.int64)


@torch.no_grad()
def roll_out(
    world: World,
    prompt_NTP: torch.Tensor,
    actions_NA: np.ndarray,
    sampling: SamplingConfig,
    *,
    seed: int,
    last: int | None = None,
    batch: int = 16,
) -> np.ndarray:
    """Return the frames that follow a prompt.

    Args:
        world: the world model.
        prompt_NTP: tokens of T0 true frames a window.
        actions_NA: latent actions, T0 + S - 1 a window: those within the prompt first.
        sampling: how frames are drawn.
        seed: of the noise; the windows that follow the first batch have seeds of their own.
        last: decode so many frames at the end alone; all S by default.
        batch: windows at a time.

    Returns:
        uint8 (N, S, H, W, C), or (N, last, H, W, C).
    """
    wanted = last or actions_NA.shape[1] + 1 - prompt_NTP.shape[1]
    parts = []
    for start in range(0, len(prompt_NTP), batch):
        part = slice(start, start + batch)
        tokens = world.generate(
            prompt_NTP[part],
            torch.from_numpy(actions_NA[part].astype(np.int64)),
            sampling=sampling,
            generator=torch.Generator(prompt_NTP.device).manual_seed(seed + start),
        )
        # a frame is drawn from its tokens and those of the frames before it that a window holds
        parts.append(world.decode(tokens[:, -(wanted + world.context - 1) :])[:, -wanted:].cpu().numpy())
    return np.concatenate(parts)


def random_actions(
    inferred_NA: np.ndarray,
    clip_actions: list[np.ndarray],
    *,
    arm: Arm,
    keep: int,
    num_actions: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return actions with those behind the first `keep` (the prompt's own) drawn at random.

    Args:
        inferred_NA: the actions inferred from the windows.
        clip_actions: per window, the actions inferred from its whole clip.
        arm: `categorical` draws evenly of all latent actions (Genie's random arm); `permuted` takes them from a
            permutation of the clip's own, so that an action that only names the scene stays what it was.
        keep: actions within the prompt.
        num_actions: A.
        rng: source of the draws.
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
    """Return one rollout per latent action from each start frame, the action held down throughout.

    Returns:
        uint8 (N, A, 1 + num_frames, H, W, C), the start frame first as the world shows it (its reconstruction).
    """
    count, actions = len(start_NHWC), world.num_actions
    prompts = encode(world, start_NHWC[:, None])
    held = np.tile(np.arange(actions), count)[:, None].repeat(num_frames, 1)
    frames = roll_out(world, prompts.repeat_interleave(actions, 0), held, sampling, seed=seed)
    shown = np.repeat(decode(world, prompts), actions, 0)
    return np.concatenate([shown, frames], 1).reshape(count, actions, 1 + num_frames, *start_NHWC.shape[1:])
