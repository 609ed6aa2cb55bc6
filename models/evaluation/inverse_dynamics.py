"""Whether generated frames show the action that the world was asked for, as a network reads it that knows true frames.

The network (`models.inverse_dynamics`) learned from true frames and true actions of training sources. It is asked about
three kinds of frames: true ones of held-out sources, the tokenizer's reconstructions of these, and generated ones. The
second is what the third can reach at best: what the tokenizer blurs, no action can show. Generated frames are judged
only where the network reads the true ones better than chance: else it would be asked what it does not know.

The world is asked for latent actions, so each must stand for a true one: the one with which it goes most often in
training sources. Held-out frames have no say in that. From each prompt every step asks for a latent action drawn
uniformly from those that stand for something, which no recording's habits can give away. Chance of true frames turns
whole clips, that of reconstructed windows exchanges them, and that of actions drawn one by one permutes them.

Shapes: N windows, T frames, S generated frames, K latent actions, A true actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.evaluation.accuracy import ENDS, accuracy_metrics, why_not_judged
from models.evaluation.chance import TOO_FEW
from models.evaluation.held_out import HeldOutClip
from models.evaluation.labelled import LabelledClips
from models.evaluation.metric import Metrics, unknown
from models.evaluation.rollouts import decode_newest, draw_tokens, encode
from models.evaluation.windows import Windows
from models.evaluation.world_interface import World
from models.inverse_dynamics.reader import ActionReader
from models.metrics import count_pairs
from pipeline.config import EvaluationConfig

TRUE, RECONSTRUCTED, GENERATED = (f"inverse_dynamics_{kind}" for kind in ("true", "reconstructed", "generated"))
_DRAWN = 5
"""Keeps the draws of latent actions apart from other draws of the same seed."""


@dataclass(frozen=True, eq=False)
class InverseDynamicsFigures:
    """What an action reader found."""

    metrics: Metrics
    about: dict[str, Any]
    """Names of the actions, what each latent action stands for, and the tables of counts behind the metrics."""


def nothing_read(reason: str) -> InverseDynamicsFigures:
    """Return the figures where no reader can be trained, with the reason."""
    metrics: Metrics = {name + end: unknown(reason) for name in (TRUE, RECONSTRUCTED, GENERATED) for end in ENDS}
    return InverseDynamicsFigures(metrics, {"too_few": reason})


def stands_for(
    codes: Sequence[np.ndarray], actions: Sequence[np.ndarray], num_codes: int, num_actions: int
) -> np.ndarray:
    """Return the true action (K,) that goes most often with each latent one; -1 for one that was never inferred.

    Args:
        codes: latent actions of training clips, int (T - 1,) each.
        actions: their true actions; those below 0 are left out.
        num_codes: K.
        num_actions: A.
    """
    table = np.zeros((num_codes, num_actions), np.int64)
    for own, true in zip(codes, actions, strict=True):
        known = true >= 0
        table += count_pairs(own[known], true[known], num_codes, num_actions)
    return np.where(table.sum(1) > 0, table.argmax(1), -1)


def measure_inverse_dynamics(
    world: World,
    reader: ActionReader,
    clips: Sequence[HeldOutClip],
    windows: Windows,
    labelled: LabelledClips,
    meaning: np.ndarray,
    config: EvaluationConfig,
) -> InverseDynamicsFigures:
    """Return the balanced accuracy on true, reconstructed and generated frames.

    Args:
        world: the world model.
        reader: trained on `labelled.train`.
        clips: held-out clips.
        windows: cut from them.
        labelled: the true actions of both, under the reader's numbers.
        meaning: the true action (K,) that each latent one stands for, see `stands_for`.
        config: prompt, horizon, sampling, bootstrap draws, shuffles and seed.
    """
    num_actions, names = len(reader.names), list(reader.names)
    known = [(clip, own) for clip, own in zip(clips, labelled.held_out, strict=True) if own is not None]
    true = [own for _, own in known]
    read = [reader.read(clip.frames_THWC[None])[0] for clip, _ in known]
    metrics = accuracy_metrics(TRUE, true, read, [clip.video_id for clip, _ in known], num_actions, config)
    tokens = encode(world, windows.video_NTHWC)
    first, count = config.prompt_frames - 1, config.horizon
    seen = reader.read(decode_newest(world, tokens, count + 1))
    own = [
        np.full(count, -1) if (actions := labelled.held_out[clip]) is None else actions[start + first :][:count]
        for clip, start in zip(windows.clips, windows.starts, strict=True)
    ]
    metrics |= accuracy_metrics(RECONSTRUCTED, own, list(seen), windows.sources, num_actions, config, how="exchange")
    about: dict[str, Any] = {
        "names": names,
        "left_out": list(labelled.left_out),
        "stands_for": [None if action < 0 else names[action] for action in meaning],
        "not_asked": [name for number, name in enumerate(names) if number not in meaning],
        "true": _table(true, read, num_actions),
    }
    if why := _not_judged(metrics, meaning, names):
        return InverseDynamicsFigures(metrics | {GENERATED + end: unknown(why) for end in ENDS}, about)
    usable = np.flatnonzero(meaning >= 0)
    rng = np.random.default_rng((config.seed, _DRAWN))
    drawn = usable[rng.integers(0, len(usable), (len(windows.clips), count))]
    rolled = draw_tokens(world, tokens[:, first : first + 1], drawn, config, seed=config.seed)
    answers = list(reader.read(decode_newest(world, rolled, count + 1)))
    asked = list(meaning[drawn])
    metrics |= accuracy_metrics(GENERATED, asked, answers, windows.sources, num_actions, config, how="permute")
    return InverseDynamicsFigures(metrics, {**about, "generated": _table(asked, answers, num_actions)})


def _not_judged(metrics: Metrics, meaning: np.ndarray, names: Sequence[str]) -> str:
    """Return why generated frames cannot be judged; empty where they can."""
    meant = meaning[meaning >= 0]
    if len(np.unique(meant)) < 2:
        what = names[meant[0]] if len(meant) else "none"
        return f"{TOO_FEW}: all latent actions stand for one true action ({what}), and 2 are needed"
    return why_not_judged(metrics, TRUE)


def _table(asked: Sequence[np.ndarray], read: Sequence[np.ndarray], num_actions: int) -> list[list[int]]:
    """Return how often each action (row) was read as each (column)."""
    table = np.zeros((num_actions, num_actions), np.int64)
    for wanted, seen in zip(asked, read, strict=True):
        known = wanted >= 0
        table += count_pairs(wanted[known], seen[known], num_actions, num_actions)
    return [[int(count) for count in row] for row in table]
