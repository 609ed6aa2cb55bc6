"""Judge rollouts of the embedded platformer from their pixels alone: what is still there, and in its place?

The character is kept in a frame where a region of its colours with at least half of its true size stands within 10 px
of its place; `models.evaluation.follow` says where that is. Enemies and coins are looked for at their true
places: those of the prompt's last frame, as long as they are on the true screen.

Shapes: N rollouts, S generated frames, F frames, H W C pixels, K things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.follow import follow
from pipeline.arcade import seen
from pipeline.arcade.platformer import HEIGHT, RING, TILE, WIDTH, Level, State
from pipeline.arcade.truth import TrueStates, mirrored_actions
from pipeline.arcade.view import camera_of


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is left of each thing in each generated frame; nan where the true frame does not show it."""

    character_NS: np.ndarray
    """1 where the character is kept, else 0."""
    error_NS: np.ndarray
    """Distance in pixels of the character from its place; nan too where nothing in the frame looks like it."""
    enemies_NS: np.ndarray
    """Share of the enemies that are kept."""
    coins_NS: np.ndarray
    """Share of the coins that are kept."""

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return character, enemies, coins and the error."""
        return self.character_NS, self.enemies_NS, self.coins_NS, self.error_NS

    @classmethod
    def joined(cls, parts: Sequence[Judgement]) -> Judgement:
        """Return several judgements as one."""
        character, enemies, coins, error = (
            np.concatenate(some) for some in zip(*(part.arrays for part in parts), strict=True)
        )
        return cls(character, error, enemies, coins)


def judge(frames: np.ndarray, truths: Sequence[TrueStates], actions_NS: np.ndarray) -> Judgement:
    """Return what is kept in rollouts.

    Args:
        frames: uint8 (N, 1 + S, H, W, C): the last frame of the prompt, then the generated ones.
        truths: per rollout, the 1 + S true states of these frames.
        actions_NS: the true action that leads to each generated frame, as the recording shows it.
    """
    themes = np.array([truth.level.theme for truth in truths])
    mirrored = np.array([truth.mirrored for truth in truths])
    # a mirrored recording is judged as the game was played
    frames = np.where(mirrored[:, None, None, None, None], frames[..., ::-1, :], frames)
    actions_NS = np.where(mirrored[:, None], mirrored_actions(actions_NS), actions_NS)
    result = np.full((4, *actions_NS.shape), np.nan)
    for theme in np.unique(themes):
        rows = np.flatnonzero(themes == theme)
        own = [truths[row] for row in rows.tolist()]
        result[:, rows] = _judge_theme(frames[rows], own, actions_NS[rows], int(theme))
    return Judgement(*result)


def _judge_theme(frames: np.ndarray, truths: Sequence[TrueStates], actions_NS: np.ndarray, theme: int) -> np.ndarray:
    """Return the four arrays of a judgement, (4, N, S), of rollouts of one theme."""
    steps = range(1, frames.shape[1])
    true = seen.classify(np.stack([truth.played(step) for truth in truths for step in steps]), theme)
    classes = seen.classify(frames, theme)
    kept, error = follow(frames, classes, truths, actions_NS, theme)
    visible = np.isin(np.arange(len(true)), seen.find(true, seen.CHARACTER, theme).frame).reshape(kept.shape)
    cameras = [[camera_of(truth.level, state) for state in truth.states] for truth in truths]
    generated = classes[:, 1:].reshape(true.shape)
    shares = [_share_kept(generated, true, thing, truths, cameras, theme) for thing in (seen.ENEMY, seen.COIN)]
    return np.stack([np.where(visible, kept, np.nan), np.where(visible, error, np.nan), *shares])


def _share_kept(
    generated_FHW: np.ndarray,
    true_FHW: np.ndarray,
    thing: int,
    truths: Sequence[TrueStates],
    cameras: Sequence[Sequence[int]],
    theme: int,
) -> np.ndarray:
    """Return the share (N, S) of the things of the prompt that are kept, of those that the true frame shows."""
    steps = len(generated_FHW) // len(truths)
    places = []
    for row, truth in enumerate(truths):
        prompt = _places(truth.level, truth.states[0], cameras[row][0], thing)
        for step in range(steps):
            now = _places(truth.level, truth.states[step + 1], cameras[row][step + 1], thing)
            places += [(row * steps + step, *now[index]) for index in prompt.keys() & now.keys()]
    share = np.full(len(generated_FHW), np.nan)
    if places:
        places_K3 = np.array(sorted(places))
        # another thing may cover it
        places_K3 = places_K3[seen.stands_at(true_FHW, thing, theme, places_K3)]
        kept = seen.stands_at(generated_FHW, thing, theme, places_K3)
        there = np.bincount(places_K3[:, 0], minlength=len(share))
        still = np.bincount(places_K3[:, 0], weights=kept, minlength=len(share))
        share[there > 0] = still[there > 0] / there[there > 0]
    return share.reshape(len(truths), steps)


def _places(level: Level, state: State, camera: int, thing: int) -> dict[int, tuple[int, int]]:
    """Return the upper left corner (row, column) on the screen of each enemy or coin that is wholly shown."""
    enemies = [(enemy.at(state.step), enemy.row) for enemy in level.enemies]
    found, back = (enemies, state.enemies_back) if thing == seen.ENEMY else (list(level.coins), state.coins_back)
    places = {
        index: (HEIGHT - height - TILE, (column - camera) % RING)
        for index, (column, height) in enumerate(found)
        if back[index] <= state.step
    }
    return {index: place for index, place in places.items() if place[1] <= WIDTH - TILE}
