"""Hold each latent action down from several start frames, name it by what is seen, and count those with an own effect.

Shapes: N start frames, A latent actions, T frames, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.action_names import ActionName, name_actions
from models.evaluation.consistency import NAME, effect_classes, effect_tables, measure_consistency
from models.evaluation.held_out import HeldOutClip
from models.evaluation.metric import Metric, Metrics
from models.evaluation.rollouts import hold_each_action
from models.evaluation.world_interface import World
from pipeline.config import EvaluationConfig

_STARTS, _FRAMES = 8, 3
_STARTS_AGAIN, _FRAMES_AGAIN = 2, 2
_GRAIN = 2  # levels of 255: what nobody sees


@dataclass(frozen=True, eq=False)
class HeldActions:
    """What was seen while each latent action was held down."""

    names: list[ActionName]
    consistency: list[Metric]
    """Of each latent action: how often it has the same effect from starts of two sources."""
    metrics: Metrics
    """`steady_actions`: directions that an action keeps to; `distinct_actions`: actions with an effect of their own;
    `action_consistency` and its like (`models.evaluation.consistency`)."""
    shown_ATHWC: np.ndarray
    """The rollouts from the middle frame of the first clip, uint8."""


def measure_held_actions(world: World, clips: Sequence[HeldOutClip], config: EvaluationConfig) -> HeldActions:
    """Return names of the latent actions, and how many have an effect of their own.

    Args:
        world: the world model.
        clips: held-out clips, at least one; the middle frame of one clip of each of the first 8 sources is a start.
        config: sampling, seed, bootstrap draws, and the number of frames to show.
    """
    first = {clip.video_id: clip for clip in reversed(clips)}
    chosen = [clip for clip in clips if first[clip.video_id] is clip][:_STARTS]
    starts = np.stack([clip.frames_THWC[len(clip.frames_THWC) // 2] for clip in chosen])
    # the rollouts that are shown are longer, and serve here too
    shown = hold_each_action(world, starts[:1], max(_FRAMES, config.rollout_frames), config, seed=config.seed)
    held = shown[:, :, : 1 + _FRAMES]
    if len(starts) > 1:
        held = np.concatenate([held, hold_each_action(world, starts[1:], _FRAMES, config, seed=config.seed)])
    grain = np.random.default_rng(config.seed).integers(-_GRAIN, _GRAIN + 1, starts[:_STARTS_AGAIN].shape)
    grainy = np.clip(starts[:_STARTS_AGAIN] + grain, 0, 255).astype(np.uint8)
    again = hold_each_action(world, grainy, _FRAMES_AGAIN, config, seed=config.seed + 1)
    named = name_actions(held, again)
    sources = [clip.video_id for clip in chosen]
    consistency, by_action = measure_consistency(NAME, effect_tables(effect_classes(named.effects), sources), config)
    metrics: Metrics = {
        # a code can follow the actions and still mean something else in every other frame; then no key can be held down
        "steady_actions": {"value": len({name.symbol for name in named.names if name.moves})},
        "distinct_actions": named.distinct(sources, config),
        **consistency,
    }
    return HeldActions(named.names, by_action, metrics, shown[0, :, : 1 + config.rollout_frames])
