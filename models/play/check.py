"""Check that the configured world can be played: load it, and take a step with each of its actions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from models.play.game import Game
from models.play.starts.held_out import start_frames
from models.play.starts.starts import Starts
from models.runtime.compute import choose_compute, intra_op_threads
from models.world.load import load_world
from models.world.world import WorldModel
from pipeline.config import Config
from pipeline.errors import PermanentError
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
        starts = Starts(world, start_frames(store, config, world.model_id))
        start = starts.names()[0]
        size, tokens = starts.frame(start).shape, starts.tokens(start)
        seen: set[bytes] = set()
        for action in range(world.num_actions):
            game = Game(world, start, tokens, config.play, seed=config.play.seed, history=config.play.history)
            made = game.step(action)
            if (found := game.frame(made.node.node).shape) != size:
                raise PermanentError(
                    f"world {world.model_id}: action {action} leads to a frame of {found}, and the start has {size}",
                    error_class="not_playable",
                )
            seen.add(made.png)
        began = time.perf_counter()
        for _ in range(_TIMED_FRAMES):
            game.step(action)
        seconds = (time.perf_counter() - began) / _TIMED_FRAMES
    return PlayableWorld(
        world=world.model_id,
        actions=world.num_actions,
        start_frames=len(starts.names()),
        distinct_frames=len(seen),
        fps=round(1 / seconds, 2),
    )


def _check_finite(world: WorldModel) -> None:
    for network in (world.tokenizer, world.latent_actions, world.dynamics):
        for name, weight in network.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise PermanentError(f"world {world.model_id}: {name} is not finite", error_class="not_playable")
