"""The games of the play page. Each generates one frame per key from its own start frame.

A game caches the states of its newest frames, so that a step computes a single frame. When there are too many games,
the one that was idle longest is closed. The same seed, start frame and keys give the same game.

Shapes: B worlds, T frames, H W C pixels, P tokens of a frame, A latent actions.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from pipeline.config import PlayConfig
from pipeline.config.evaluation import SamplingConfig


@dataclass(frozen=True, eq=False)
class StartFrame:
    """A frame that a game can start from."""

    frame_HWC: np.ndarray
    clip_id: str


class Rollout(Protocol):
    """A world that is rolled out frame by frame; see `models.world.session.Session`."""

    def step(self, latent_actions_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Take a step and return the tokens (B, P) of the next frame."""

    def pixels(self) -> torch.Tensor:
        """Return the newest frame (B, H, W, C), uint8."""


class Playable(Protocol):
    """What a world must offer to be played."""

    @property
    def num_actions(self) -> int:
        """Number of latent actions."""

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P) of a uint8 video."""

    def begin(
        self, prompt_tokens_BTP: torch.Tensor, latent_actions_BA: torch.Tensor, *, sampling: SamplingConfig
    ) -> Rollout:
        """Return a rollout that continues a prompt."""


@dataclass
class _Game:
    rollout: Rollout
    t: int = 0


class Games:
    """The current games; they are bounded in number, and one step is computed at a time.

    A game caches at most the keys and values of one window of the dynamics and of one window of the decoder. That is
    `WorldModel.session_bytes`: in bf16 2.9 MB for the demo, 75 MB for `coinrun` and 1.5 GB for 10.1 billion parameters.
    With `past_window = "prefill"` a game whose windows are full keeps only tokens.
    """

    def __init__(self, world: Playable, starts: Sequence[StartFrame], config: PlayConfig) -> None:
        """Encode the start frames.

        Args:
            world: the world model.
            starts: frames that a game can start from.
            config: sampling and the number of games.
        """
        self.world, self.starts, self.config = world, starts, config
        frames = torch.from_numpy(np.stack([start.frame_HWC for start in starts]))
        self._start_tokens = world.encode(frames[:, None])
        self._games: OrderedDict[str, _Game] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, index: int) -> tuple[str, np.ndarray]:
        """Start a game; return its name, and the reconstruction of its start frame."""
        with self._lock:
            before = torch.zeros(1, 0, dtype=torch.int64)
            game = _Game(self.world.begin(self._start_tokens[index][None], before, sampling=self.config))
            name = secrets.token_urlsafe(12)
            self._games[name] = game
            while len(self._games) > self.config.max_sessions:
                self._games.popitem(last=False)
            return name, _shown(game)

    def step(self, name: str, action: int, t: int) -> tuple[int, np.ndarray] | None:
        """Take an action; return the number of the new frame and the frame, or None where the game is not at frame `t`.

        Raises:
            KeyError: the game was closed.
        """
        with self._lock:
            game = self._games[name]
            self._games.move_to_end(name)
            if game.t != t:
                return None
            noise = torch.Generator(self._start_tokens.device).manual_seed(self.config.seed + t)
            game.rollout.step(torch.tensor([action]), noise)
            game.t += 1
            return game.t, _shown(game)


def _shown(game: _Game) -> np.ndarray:
    return game.rollout.pixels()[0].cpu().numpy()
