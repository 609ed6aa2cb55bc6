"""Rollouts of a world: under inferred actions, under random ones, and with one latent action held down.

A latent action a_t leads from frame t to frame t + 1. Both arms of a comparison get the same prompt, the same seed
and the same batch, so that they differ by their actions alone: equal actions give equal frames.

Shapes: N windows, T frames, H W C pixels, P patches, A latent actions, S generated frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

Arm = Literal["categorical", "permuted"]
_STILL_PIXELS = 0.75  # a mean shift below this many pixels a frame is a standing view
_STEADY = 0.6  # share of steps that must agree before an action is named after them
_REACH_X, _REACH_Y = 16, 10  # pixels that a view can move in one frame


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
        steps: int,
        token_temperature: float,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the prompt's tokens and those of the frames that the remaining actions lead to."""


@dataclass(frozen=True)
class Sampling:
    """How a rollout is sampled."""

    maskgit_steps: int
    token_temperature: float
    seed: int
    batch: int = 16


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
def roll_out(world: World, prompt_NTP: torch.Tensor, actions_NA: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the frames that follow a prompt.

    Args:
        world: the world model.
        prompt_NTP: tokens of T0 true frames a window.
        actions_NA: latent actions, T0 + S - 1 a window: those within the prompt first.
        sampling: steps, temperature and seed.

    Returns:
        uint8 (N, S, H, W, C).
    """
    given = prompt_NTP.shape[1]
    parts = []
    for start in range(0, len(prompt_NTP), sampling.batch):
        part = slice(start, start + sampling.batch)
        tokens = world.generate(
            prompt_NTP[part],
            torch.from_numpy(actions_NA[part].astype(np.int64)),
            steps=sampling.maskgit_steps,
            token_temperature=sampling.token_temperature,
            generator=torch.Generator(prompt_NTP.device).manual_seed(sampling.seed + start),
        )
        parts.append(world.decode(tokens)[:, given:].cpu().numpy())
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


def hold_each_action(world: World, start_NHWC: np.ndarray, num_frames: int, sampling: Sampling) -> np.ndarray:
    """Return one rollout per latent action from each start frame, the action held down throughout.

    Returns:
        uint8 (N, A, 1 + num_frames, H, W, C), the start frame first as the world shows it (its reconstruction).
    """
    count, actions = len(start_NHWC), world.num_actions
    prompts = encode(world, start_NHWC[:, None])
    held = np.tile(np.arange(actions), count)[:, None].repeat(num_frames, 1)
    frames = roll_out(world, prompts.repeat_interleave(actions, 0), held, sampling)
    shown = np.repeat(decode(world, prompts), actions, 0)
    return np.concatenate([shown, frames], 1).reshape(count, actions, 1 + num_frames, *start_NHWC.shape[1:])


def view_shift(before_HWC: np.ndarray, after_HWC: np.ndarray) -> tuple[int, int]:
    """Return by how many pixels (right, down) the view moved from one frame to the next.

    It is the shift that makes the two frames agree best (least mean absolute difference of luma where they overlap);
    of equals the smaller. The view moves right when the picture's content moves left.
    """
    before, after = (frame.astype(np.float32).mean(-1) for frame in (before_HWC, after_HWC))
    height, width = before.shape
    reach_x, reach_y = min(_REACH_X, width // 3), min(_REACH_Y, height // 3)
    best = (np.inf, 0, 0, 0)
    for down in range(-reach_y, reach_y + 1):
        for right in range(-reach_x, reach_x + 1):
            old = before[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
            new = after[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
            best = min(best, (float(np.abs(old - new).mean()), abs(right) + abs(down), right, down))
    return best[2], best[3]


@dataclass(frozen=True)
class ActionName:
    """What a latent action does to the view, measured from rollouts that hold it down."""

    code: int
    label: str
    symbol: str
    right: float
    """Mean movement of the view in pixels a frame, to the right."""
    down: float
    """And downwards."""
    agreement: float
    """Share of the measured steps that moved the way the label says."""


def name_actions(held_NATHWC: np.ndarray) -> list[ActionName]:
    """Name what each latent action does to the view: left, right, up, down or nothing.

    Args:
        held_NATHWC: rollouts of `hold_each_action`.
    """
    count, actions, frames = held_NATHWC.shape[:3]
    names = []
    for code in range(actions):
        shifts = np.array([
            view_shift(held_NATHWC[row, code, step], held_NATHWC[row, code, step + 1])
            for row in range(count)
            for step in range(frames - 1)
        ])  # fmt: skip
        names.append(_name(code, shifts))
    return names


def _name(code: int, shifts: np.ndarray) -> ActionName:
    right, down = (float(value) for value in shifts.mean(0))
    if max(abs(right), abs(down)) < _STILL_PIXELS:
        label, symbol, agreeing = "view stands", "•", np.abs(shifts).max(1) <= 1
    elif abs(right) >= abs(down):
        label, symbol = ("view moves right", "→") if right > 0 else ("view moves left", "←")
        agreeing = shifts[:, 0] * right > 0
    else:
        label, symbol = ("view moves down", "↓") if down > 0 else ("view moves up", "↑")
        agreeing = shifts[:, 1] * down > 0
    agreement = float(agreeing.mean())
    if agreement < _STEADY:
        label, symbol = "nothing steady", "~"
    return ActionName(code, label, symbol, right, down, agreement)
