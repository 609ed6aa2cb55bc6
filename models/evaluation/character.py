"""How long character, enemies and coins of the embedded platformer last in rollouts, and whether keys move them.

PSNR rewards a world for leaving small things out. These figures look for them in the pixels, with the recordings'
true states at hand: under the actions inferred from held-out clips, and under each latent action held down, where the
true action is the one that the latent action stands for most often. `models.evaluation.judge` says what counts.

Shapes: N rollouts, S generated frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from models.evaluation.held_out import HeldOutClip
from models.evaluation.judge import Judgement, judge
from models.evaluation.metric import Metric, Metrics, mean_over_sources, unknown
from models.evaluation.rollouts import encode
from models.evaluation.world_interface import World
from models.metrics import psnr
from pipeline.arcade.platformer import ACTIONS
from pipeline.arcade.seen import NEAR_PX
from pipeline.arcade.truth import TrueStates
from pipeline.config import EvaluationConfig

AFTER = (1, 4, 8, 16, 30)
"""Generated frames whose figures get a name of their own."""
# true actions by what the character has to do
PLACES: dict[str, tuple[int, ...]] = {
    "left": (ACTIONS.index("left"),),
    "stand": (ACTIONS.index("none"),),
    "right": (ACTIONS.index("right"),),
    "jump": tuple(index for index, name in enumerate(ACTIONS) if name.startswith("jump")),
}
# in dB: a clip shows its own states at about 30, and those of another recording below 15
_LEAST_MATCH = 20.0
_BATCH = 32
_NAMES = ("character_kept", "enemies_kept", "coins_kept", "position_error")


@dataclass(frozen=True)
class CharacterFigures:
    """Figures of character, enemies and coins."""

    metrics: Metrics
    """`character_kept_t8`, `character_kept_held_t8` and their like, `character_place_left` and its like, and
    `character_exact_left` and its like: on its very tile."""
    by_frame: dict[str, list[Metric]] = field(default_factory=dict)
    """The metrics of each generated frame, by name without `_t8`; empty where nothing is known."""
    by_code: list[dict[str, Any]] = field(default_factory=list)
    """Per latent action that was held: `code`, `action` (the true one), `sources`, and `character_kept` by frame."""

    def as_json(self) -> dict[str, Any]:
        """Return the metrics, and the lists under `character`."""
        more = {"character": {**self.by_frame, "by_code": self.by_code}} if self.by_frame else {}
        return {**self.metrics, **more}


def measure_character(
    world: World,
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    code_shares: Sequence[Mapping[str, float]],
    config: EvaluationConfig,
    advance: Callable[[], None] = lambda: None,
) -> CharacterFigures:
    """Return how long character, enemies and coins last, each metric with its interval over sources.

    Args:
        world: the world model.
        clips: held-out clips; those without true states are left out.
        clip_codes: the latent actions inferred from each clip.
        code_shares: per latent action, see `models.evaluation.codes.true_action_shares`.
        config: sampling, seed, prompt, `character_frames`, `character_windows` and `character_starts`.
        advance: called twice: after the rollouts under inferred actions and after those under held ones.
    """
    length = config.prompt_frames + config.character_frames
    usable, reason = _usable(clips, length)
    if not usable:
        advance()
        advance()
        return CharacterFigures(_all_unknown(reason))
    inferred = _inferred_rollouts(clips, clip_codes, usable, config)
    held, codes = _held_rollouts(clips, usable, code_shares, config)
    # judged in a thread of its own while the next ones are rolled out
    with ThreadPoolExecutor(1, "judge") as judges:
        parts = _roll_out(world, inferred, config, judges)
        advance()
        parts_held = _roll_out(world, held, config, judges)
        judged, judged_held = (Judgement.joined([part.result() for part in each]) for each in (parts, parts_held))
        advance()
    by_frame = {**_by_frame(judged, inferred, "", config), **_by_frame(judged_held, held, "_held", config)}
    metrics = {
        f"{name}_t{after}": values[after - 1]
        if after <= len(values)
        else unknown("evaluation.character_frames is less")
        for name, values in by_frame.items()
        for after in AFTER
    }
    return CharacterFigures(
        {**metrics, **_places(judged, inferred, config)}, by_frame, _by_code(judged_held, held, codes)
    )


@dataclass(frozen=True, eq=False)
class _Rollout:
    """What one rollout starts from and is led by."""

    source: str
    prompt: np.ndarray
    """True frames (T0, H, W, C)."""
    codes: np.ndarray
    """Latent actions (T0 - 1 + S,)."""
    actions: np.ndarray
    """True actions (S,) that lead to the generated frames."""
    truth: TrueStates
    """States of the prompt's last frame and of the S frames after it."""


def _usable(clips: Sequence[HeldOutClip], length: int) -> tuple[list[int], str]:
    """Return the clips whose states are known and that are long enough; without any, why."""
    known = [index for index, clip in enumerate(clips) if clip.states is not None and clip.actions is not None]
    if not known:
        return [], "the true states of the held-out sources are not known"
    shown = [index for index in known if _shows_its_states(clips[index])]
    if not shown:
        return [], "the held-out clips do not show the recorded states: another version of the game made them"
    long_enough = [index for index in shown if len(clips[index].frames_THWC) >= length]
    return long_enough, f"no held-out clip has {length} frames: lower evaluation.character_frames"


def _shows_its_states(clip: HeldOutClip) -> bool:
    assert clip.states is not None
    some = np.linspace(0, len(clip.frames_THWC) - 1, 3).astype(int)
    drawn = np.stack([clip.states.shown(int(index)) for index in some])
    frames = clip.frames_THWC[some]
    return drawn.shape == frames.shape and float(psnr(drawn, frames).mean()) >= _LEAST_MATCH


def _inferred_rollouts(
    clips: Sequence[HeldOutClip], clip_codes: Sequence[np.ndarray], usable: Sequence[int], config: EvaluationConfig
) -> list[_Rollout]:
    prompt, count = config.prompt_frames, config.character_frames
    rollouts = []
    for index in usable:
        clip = clips[index]
        assert clip.states is not None
        assert clip.actions is not None
        last = len(clip.frames_THWC) - prompt - count
        for start in sorted(set(np.linspace(0, last, config.character_windows).astype(int).tolist())):
            truth = clip.states.part(start + prompt - 1, 1 + count)
            assert truth is not None
            rollouts.append(
                _Rollout(
                    clip.video_id,
                    clip.frames_THWC[start : start + prompt],
                    clip_codes[index][start : start + prompt - 1 + count],
                    clip.actions[start + prompt - 1 :][:count],
                    truth,
                )
            )
    return rollouts


def _held_rollouts(
    clips: Sequence[HeldOutClip],
    usable: Sequence[int],
    code_shares: Sequence[Mapping[str, float]],
    config: EvaluationConfig,
) -> tuple[list[_Rollout], list[int]]:
    """Return a rollout per latent action and source, and the latent action of each."""
    count = config.character_frames
    first: dict[str, int] = {}
    for index in usable:
        first.setdefault(clips[index].video_id, index)
    rollouts, codes = [], []
    for code, shares in enumerate(code_shares):
        if not shares:
            continue  # it never occurred: no true action is known for it
        action = ACTIONS.index(max(shares, key=lambda name: shares[name]))
        for index in list(first.values())[: config.character_starts]:
            clip = clips[index]
            assert clip.states is not None
            middle = len(clip.frames_THWC) // 2
            truth = clip.states.held(middle, action, count)
            prompt = clip.frames_THWC[middle : middle + 1]
            rollouts.append(_Rollout(clip.video_id, prompt, np.full(count, code), np.full(count, action), truth))
            codes.append(code)
    return rollouts, codes


def _roll_out(
    world: World, rollouts: Sequence[_Rollout], config: EvaluationConfig, judges: Executor
) -> list[Future[Judgement]]:
    """Return the judgements of rollouts, in parts, each as soon as it is there."""
    parts = []
    for start in range(0, len(rollouts), _BATCH):
        some = rollouts[start : start + _BATCH]
        prompts = np.stack([rollout.prompt for rollout in some])
        tokens = encode(world, prompts)
        frames = world.play(
            tokens,
            torch.from_numpy(np.stack([rollout.codes for rollout in some]).astype(np.int64)),
            sampling=config,
            generator=torch.Generator(tokens.device).manual_seed(config.seed + start),
        )
        shown = np.concatenate([prompts[:, -1:], frames.cpu().numpy()], 1)
        actions = np.stack([rollout.actions for rollout in some])
        parts.append(judges.submit(judge, shown, [rollout.truth for rollout in some], actions))
    return parts


def _by_frame(
    judged: Judgement, rollouts: Sequence[_Rollout], suffix: str, config: EvaluationConfig
) -> dict[str, list[Metric]]:
    sources = [rollout.source for rollout in rollouts]
    return {
        name + suffix: [_mean(step, sources, config) for step in values.T]
        for name, values in zip(_NAMES, judged.arrays, strict=True)
    }


def _places(judged: Judgement, rollouts: Sequence[_Rollout], config: EvaluationConfig) -> Metrics:
    """Return the share of frames with the character near its place, and on its very tile, by the action before.

    Of the frames that show it.
    """
    sources = [rollout.source for rollout in rollouts]
    actions = np.stack([rollout.actions for rollout in rollouts])
    metrics: Metrics = {}
    for name, group in PLACES.items():
        counted = np.isin(actions, group) & ~np.isnan(judged.error_NS)
        for kind, right in (("place", judged.character_NS == 1), ("exact", judged.error_NS < NEAR_PX)):
            share = np.where(counted.any(1), (right & counted).sum(1) / np.maximum(counted.sum(1), 1), np.nan)
            metrics[f"character_{kind}_{name}"] = _mean(share, sources, config)
    return metrics


def _by_code(judged: Judgement, rollouts: Sequence[_Rollout], codes: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for code in sorted(set(codes)):
        own = np.flatnonzero(np.array(codes) == code)
        kept = judged.character_NS[own]
        rows.append(
            {
                "code": code,
                "action": ACTIONS[int(rollouts[own[0]].actions[0])],
                "sources": len(own),
                "character_kept": [None if np.isnan(step).all() else float(np.nanmean(step)) for step in kept.T],
            }
        )
    return rows


def _mean(values_N: np.ndarray, sources: Sequence[str], config: EvaluationConfig) -> Metric:
    if np.isnan(values_N).all():
        return unknown("no true frame shows it")
    return mean_over_sources(values_N, sources, config)


def _all_unknown(reason: str) -> Metrics:
    names = [f"{name}{suffix}_t{after}" for name in _NAMES for suffix in ("", "_held") for after in AFTER]
    return {
        name: unknown(reason)
        for name in [*names, *(f"character_{kind}_{name}" for kind in ("place", "exact") for name in PLACES)]
    }
