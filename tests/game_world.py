"""A world that is the embedded platformer itself, for tests of what is measured on worlds: it may be damaged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from models.evaluation.held_out import HeldOutClip
from pipeline.arcade.platformer import Level, State, advance, draw, platformer_actions
from pipeline.arcade.truth import TrueStates, Truth, mirrored_actions, true_states

Damage = Callable[[np.ndarray, int], np.ndarray]


def game_clip(seed: int, num_frames: int, *, mirrored: bool = False) -> HeldOutClip:
    """Return a clip of the platformer as it was drawn, with true actions and states."""
    actions = platformer_actions(seed, num_frames - 1)
    shown = mirrored_actions(actions) if mirrored else actions
    truth = Truth(f"v{seed}", "mirrored" if mirrored else "platformer", num_frames / 10, (), shown, "", seed)
    states = true_states(truth)
    assert states is not None
    frames = np.stack([states.shown(index) for index in range(num_frames)])
    # two states may look the same: a corner tells the world which one it is
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = np.arange(num_frames), seed
    return HeldOutClip(f"v{seed}-0", f"v{seed}", 0, frames, shown.astype(np.int64), states)


class GameWorld:
    """One token a frame, the number of a state that was seen; latent actions are the true ones."""

    num_actions = 6
    context = decoder_window = 5

    def __init__(self, clips: list[HeldOutClip], damage: Damage | None = None) -> None:
        """Play the games of some clips.

        Args:
            clips: the games that the world knows.
            damage: changes a generated frame (H, W, C), given how many frames it is ahead; None plays perfectly.
        """
        self.damage = damage
        self.rollouts = 0
        self._states: list[tuple[TrueStates, State]] = []
        self._numbers: dict[bytes, int] = {}
        for clip in clips:
            assert clip.states is not None
            for frame, state in zip(clip.frames_THWC, clip.states.states, strict=True):
                self._numbers[frame.tobytes()] = len(self._states)
                self._states.append((clip.states, state))

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """Return the number of each frame."""
        numbers = [self._numbers[frame.numpy().tobytes()] for frame in video.flatten(0, 1)]
        return torch.tensor(numbers).reshape(*video.shape[:2], 1)

    def play(self, prompt, latent_actions, *, sampling, generator):
        """Play on from the last frame of each prompt."""
        self.rollouts += len(prompt)
        given = prompt.shape[1] - 1
        videos = [
            self._play(*self._states[int(tokens[-1, 0])], actions[given:].numpy())
            for tokens, actions in zip(prompt, latent_actions, strict=True)
        ]
        return torch.from_numpy(np.stack(videos))

    def _play(self, truth: TrueStates, state: State, actions: np.ndarray) -> np.ndarray:
        level: Level = truth.level
        frames = []
        for ahead, action in enumerate(mirrored_actions(actions) if truth.mirrored else actions, 1):
            state = advance(level, state, int(action))
            frame = draw(level, state, state, 0.0)
            frame = frame[:, ::-1].copy() if truth.mirrored else frame
            frames.append(frame if self.damage is None else self.damage(frame, ahead))
        return np.stack(frames)
