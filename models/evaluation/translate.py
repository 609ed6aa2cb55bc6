"""Say which latent action stands for each true action, learned on other recordings than those that are measured.

A rollout under translated true actions is what a person sees who plays the world by the commands of a recording: where
it follows the recording, the latent actions stand for the commands.

Shapes: T frames, A true actions, K latent actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def translate(
    truth: Sequence[np.ndarray | None], codes: Sequence[np.ndarray], sources: Sequence[str], num_codes: int
) -> list[np.ndarray | None]:
    """Return the latent actions (T - 1,) that stand for the true ones of each clip, the most frequent one for each.

    Args:
        truth: true actions of each clip, int64 (T - 1,); None where they are unknown.
        codes: its inferred latent actions (T - 1,).
        sources: its recording; a clip is translated by what clips of other recordings say.
        num_codes: K.

    Returns:
        None for a clip whose true actions are unknown, or whose recording is the only one with any.
    """
    pairs = {
        index: (actions, own)
        for index, (actions, own) in enumerate(zip(truth, codes, strict=True))
        if actions is not None
    }
    shape = max((int(actions.max()) for actions, _ in pairs.values()), default=0) + 1, num_codes
    tables = {index: _count(actions, own, shape) for index, (actions, own) in pairs.items()}
    translated: list[np.ndarray | None] = [None] * len(codes)
    for index, (actions, _) in pairs.items():
        counts = sum((table for other, table in tables.items() if sources[other] != sources[index]), np.zeros(shape))
        if counts.any():
            # an action that no other recording has gets the most frequent latent action
            counts[counts.sum(1) == 0] = counts.sum(0)
            translated[index] = counts.argmax(1)[actions]
    return translated


def _count(actions: np.ndarray, codes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return how often each true action goes with each latent one, (A, K)."""
    table = np.zeros(shape, np.int64)
    np.add.at(table, (actions, codes), 1)
    return table
