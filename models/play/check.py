"""Check that the configured world can be played: load it, and take a step with each of its actions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from models.play.games import Games
from models.play.start_frames import start_frames
from models.runtime.compute import choose_compute, intra_op_threads
from models.world.load import load_world
from models.world.world import WorldModel
from pipeline.config import Config
from pipeline.errors import PermanentError, UserError
from pipeline.storage.store import Store

_TIMED_FRAMES = 8


@dataclass(frozen=True)
class PlayableWorld:
    """What was seen when a world was played for a few frames."""

    world: str
    """Id of the world."""
    actions: int
    start_frames: int
    distinct_frames: int
    """How many different frames the actions lead to from the same start."""
    fps: float
    """Frames per second after the first frame of a game."""


def check_playable(store: Store, config: Config) -> PlayableWorld:
    """Load the configured world and take a step with each action.

    Raises:
        UserError: there is no world, or no start frame.
        PermanentError: a weight is not finite, or a frame has the wrong shape (error_class `not_playable`).
    """
    with intra_op_threads():
        world = load_world(store, config, choose_compute(config.training))
        _check_finite(world)
        starts = start_frames(store, config, world.model_id)
        if not starts:
            raise UserError("there is no start frame to play from: no source is held out, or all were taken down.")
        games = Games(world, starts, config.play)
        seen: set[bytes] = set()
        for action in range(world.num_actions):
            name, first = games.start(0)
            answer = games.step(name, action, 0)
            assert answer is not None
            if answer[1].shape != first.shape or answer[1].dtype != np.uint8:
                raise PermanentError(
                    f"world {world.model_id}: action {action} leads to a frame of {answer[1].shape}",
                    error_class="not_playable",
                )
            seen.add(answer[1].tobytes())
        began = time.perf_counter()
        for t in range(1, 1 + _TIMED_FRAMES):
            games.step(name, action, t)
        seconds = (time.perf_counter() - began) / _TIMED_FRAMES
    return PlayableWorld(
        world=world.model_id,
        actions=world.num_actions,
        start_frames=len(starts),
        distinct_frames=len(seen),
        fps=round(1 / seconds, 2),
    )


def _check_finite(world: WorldModel) -> None:
    for network in (world.tokenizer, world.latent_actions, world.dynamics):
        for name, weight in network.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise PermanentError(f"world {world.model_id}: {name} is not finite", error_class="not_playable")
