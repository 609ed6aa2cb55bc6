"""What the latent actions of held-out clips say about true actions, and how evenly they are used.

Shapes: T frames, S sources, K latent actions (codes), A true actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.evaluation.chance import no_chance_level
from models.evaluation.held_out import NUM_DIRECTIONS, HeldOutClip, direction_of
from models.evaluation.metric import Metrics, unknown, with_interval
from models.evaluation.rollouts import infer_actions
from models.evaluation.world_interface import World
from models.metrics import (
    Interval,
    bootstrap,
    conditional_entropy,
    conditional_information,
    count_pairs,
    entropy,
    entropy_within,
    mutual_information,
    shifted_information,
)
from pipeline.arcade.platformer import ACTIONS
from pipeline.config import EvaluationConfig


def infer_clip_actions(world: World, clips: Sequence[HeldOutClip]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the latent actions (T - 1,) of each clip, and the position of each within its window, for the longest T.

    A clip is read in consecutive windows of the model's context; each starts at the last frame of the one before it.
    The model was trained on such windows and might have learned to count frames in them.
    """
    codes, tile = [], world.context
    for clip in clips:
        frames, step = clip.frames_THWC, tile - 1
        whole = (len(frames) - 1) // step
        tiles = [frames[index * step : index * step + tile] for index in range(whole)]
        own = [infer_actions(world, np.stack(tiles)).reshape(-1)] if tiles else []
        if rest := (len(frames) - 1) % step:
            own.append(infer_actions(world, frames[None, -rest - 1 :]).reshape(-1))
        codes.append(np.concatenate(own))
    return codes, np.arange(max(map(len, codes))) % (tile - 1)


def measure_codes(
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    time_index: np.ndarray,
    num_codes: int,
    config: EvaluationConfig,
    *,
    unknown_because: str = "",
) -> Metrics:
    """Return the entropy of the latent actions, and their information in nats about true actions.

    The information is that about the whole action, about its direction, and about whether it jumps where the direction
    is known; the last two add up to the first, and are known of the embedded game alone. Beside each stands what is
    possible (`_of`), the entropy of the same, and what chance gives (`_shuffled`, `_shuffled_p95`, `_p`, `_ratio`):
    the codes of each clip are shifted within it. With too few sources to draw it from, chance is unknown.

    Args:
        clips: held-out clips; those without true actions count for the entropies only.
        clip_codes: latent actions of each clip, see `infer_clip_actions`.
        time_index: position of each latent action within its window.
        num_codes: K.
        config: bootstrap draws, shuffles and seed.
        unknown_because: why nothing can be said of true actions, where that is so.
    """
    everything = np.concatenate(list(clip_codes))
    groups = np.repeat(np.arange(len(clips)), [len(codes) for codes in clip_codes])
    times = np.concatenate([time_index[: len(codes)] for codes in clip_codes])
    metrics: Metrics = {
        "code_entropy": {"value": float(entropy(np.bincount(everything, minlength=num_codes)))},
        "code_entropy_within_clip": {"value": entropy_within(everything, groups, num_codes)},
        "code_entropy_within_time": {"value": entropy_within(everything, times, num_codes)},
        "codes_used": {"value": len(np.unique(everything))},
    }
    names = names_of(clips)
    known = [
        _Pair(clip.video_id, codes, clip.actions)
        for clip, codes in zip(clips, clip_codes, strict=True)
        if clip.actions is not None and clip.action_names == names
    ]
    because = unknown_because or ("" if known else "no true actions are known for the held-out sources")
    for name, part in _PARTS.items():
        only_of_game = "" if part.num_classes is None or names == ACTIONS else "it is known of the embedded game alone"
        metrics |= (
            _unknown(name, because or only_of_game)
            if because or only_of_game
            else _information(name, known, part, (num_codes, part.num_classes or len(names)), config)
        )
    return metrics


def names_of(clips: Sequence[HeldOutClip]) -> tuple[str, ...]:
    """Return what the true actions of clips are called: those of the first clip that has some."""
    return next((clip.action_names for clip in clips if clip.actions is not None), ACTIONS)


def true_action_shares(
    clips: Sequence[HeldOutClip], codes: Sequence[np.ndarray], num_codes: int
) -> list[dict[str, float]]:
    """Return, for each latent action, the shares of the true actions at its transitions ({} where unknown)."""
    names = names_of(clips)
    counts = np.zeros((num_codes, len(names)), np.int64)
    for clip, own in zip(clips, codes, strict=True):
        if clip.actions is not None and clip.action_names == names:
            np.add.at(counts, (own, clip.actions), 1)
    return [
        {name: round(float(count / row.sum()), 4) for name, count in zip(names, row, strict=True) if count}
        for row in counts
    ]


@dataclass(frozen=True, eq=False)
class _Pair:
    """Latent and true actions of one clip."""

    source: str
    codes: np.ndarray
    actions: np.ndarray


@dataclass(frozen=True)
class _Part:
    """A part of the true actions: what is counted, and the information of a table of counts about it, in nats."""

    classes_of: Callable[[np.ndarray], np.ndarray]
    num_classes: int | None
    """Of the embedded game's actions; None: as many as there are actions, of any source."""
    information: Callable[[np.ndarray], np.ndarray] = mutual_information
    possible: Callable[[np.ndarray], np.ndarray] = entropy


def _same(actions: np.ndarray) -> np.ndarray:
    return actions


_DIRECTION_OF_ACTION = direction_of(np.arange(len(ACTIONS))).tolist()
_PARTS = {
    "latent_action_mutual_information": _Part(_same, None),
    "latent_action_direction_information": _Part(direction_of, NUM_DIRECTIONS),
    # what an action is beside its direction is whether it jumps
    "latent_action_jump_information": _Part(
        _same,
        len(ACTIONS),
        partial(conditional_information, group_of=_DIRECTION_OF_ACTION),
        partial(conditional_entropy, group_of=_DIRECTION_OF_ACTION),
    ),
}


_BY_CHANCE = ("_shuffled", "_shuffled_p95", "_p", "_ratio")


def _unknown(name: str, reason: str) -> Metrics:
    return {name + end: unknown(reason) for end in ("", *_BY_CHANCE, "_of")}


def _information(
    name: str, known: Sequence[_Pair], part: _Part, shape: tuple[int, int], config: EvaluationConfig
) -> Metrics:
    classes = [part.classes_of(pair.actions) for pair in known]
    tables: dict[str, np.ndarray] = {}
    for pair, own in zip(known, classes, strict=True):
        counts = count_pairs(pair.codes, own, *shape)
        tables[pair.source] = tables.get(pair.source, np.zeros(shape, np.int64)) + counts
    by_source = np.stack([tables[source] for source in sorted(tables)])
    interval = bootstrap(
        by_source,
        draws=config.bootstrap_draws,
        seed=config.seed,
        reduce=lambda drawn: part.information(drawn.sum(1)),
        least=0.0,
    )
    assert interval is not None
    count = len(by_source)
    found: Metrics = {
        name: with_interval(interval),
        f"{name}_of": {"value": float(part.possible(by_source.sum((0, 1)))), "num_sources": count},
    }
    if few := no_chance_level(classes, [pair.source for pair in known], "shift", config):
        return found | {name + end: unknown(few) for end in _BY_CHANCE}
    rng = np.random.default_rng(config.seed)
    left = shifted_information(
        [pair.codes for pair in known],
        classes,
        *shape,
        draws=config.shuffles,
        rng=rng,
        information=part.information,
    )
    low, p95, high = np.percentile(left, [2.5, 95, 97.5])
    # a code that never changes has 0 nat however it is shifted: its ratio is 0, not undefined
    ratio = interval.value / max(float(p95), 1e-9)
    return found | {
        f"{name}_shuffled": with_interval(Interval(float(left.mean()), float(low), float(high), count)),
        f"{name}_shuffled_p95": {"value": float(p95), "num_sources": count},
        # the share of draws that say as much, the clips as they are counted among them (Phipson and Smyth 2010)
        f"{name}_p": {"value": float((1 + (left >= interval.value).sum()) / (1 + len(left))), "num_sources": count},
        f"{name}_ratio": {"value": ratio, "num_sources": count},
    }
