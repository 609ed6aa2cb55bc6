"""What stands beside a game: the true clip of its start frame, or the world's replay of that clip's actions.

Shapes: T frames, H W C pixels, P tokens of a frame.
"""

from __future__ import annotations

import numpy as np
import torch

from models.play.game import Game, Playable, png_of
from pipeline.config.evaluation import SamplingConfig

WAYS = ("none", "true", "replay")


class TrueFrames:
    """The frames of a clip from a start frame on."""

    def __init__(self, frames_THWC: np.ndarray) -> None:
        """Take the frames; the first one is the start."""
        self.frames_THWC = frames_THWC

    def reaches(self, t: int) -> bool:
        """Tell whether there is a frame t."""
        return t < len(self.frames_THWC)

    def is_ready(self, t: int) -> bool:
        """Tell whether frame t can be shown at once."""
        return self.reaches(t)

    def extend(self) -> None:
        """Compute the next frame: none has to be."""

    def png(self, t: int) -> bytes:
        """Return frame t."""
        return png_of(self.frames_THWC[t])


class Replay:
    """A game of its own, played by the actions that the world infers from the clip."""

    def __init__(
        self,
        world: Playable,
        start: str,
        tokens_1P: torch.Tensor,
        actions: list[int],
        sampling: SamplingConfig,
        seed: int,
    ) -> None:
        """Begin at the start.

        Args:
            world: the world model.
            start: name of the start.
            tokens_1P: its tokens.
            actions: inferred from the clip, from the start frame on.
            sampling: as of the game beside it.
            seed: as of the game beside it.
        """
        self.sampling = sampling
        self._actions = actions
        self._game = Game(world, start, tokens_1P, sampling, seed=seed, history=max(1, len(actions)))

    def reaches(self, t: int) -> bool:
        """Tell whether the clip goes on to frame t."""
        return t <= len(self._actions)

    def is_ready(self, t: int) -> bool:
        """Tell whether frame t is computed."""
        return t <= self._game.current.t

    def extend(self) -> None:
        """Compute the next frame."""
        self._game.step(self._actions[self._game.current.t])

    def png(self, t: int) -> bytes:
        """Return frame t, which is also the id of its node: this game has no branches."""
        return self._game.png(t)


Comparison = TrueFrames | Replay


def inferred_actions(world: Playable, frames_THWC: np.ndarray) -> list[int]:
    """Return the latent actions between the frames of a clip; none for a single frame."""
    if len(frames_THWC) < 2:
        return []
    return [int(action) for action in world.infer_actions(torch.from_numpy(frames_THWC.copy())[None])[0]]
