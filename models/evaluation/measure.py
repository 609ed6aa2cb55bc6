"""All figures of a world model on held-out clips, each with its interval, and the gates that they must pass.

The measure that counts is the delta-t PSNR under *permuted* actions: how much better a rollout follows the video
under the actions that were inferred than under the same actions in another order. A code that merely names the scene
scores 0 there, while it scores well in the paper's own figure (actions drawn evenly), because a wrong code then
repaints the scene. Mutual information with the true actions, where they are known, says the same another way.

All PSNR are over frames 1.. of a window (frame 0 has no predecessor to copy). Shapes: N windows, T frames, H W C
pixels, S sources, K codes, A true actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.evaluation import baselines
from models.evaluation.held_out import NUM_DIRECTIONS, HeldOutClip, direction_of, window_starts
from models.evaluation.rollouts import Arm, World, decode, encode, infer_actions, random_actions, roll_out
from models.metrics import (
    Interval,
    bootstrap,
    count_pairs,
    entropy,
    entropy_within,
    moving_psnr,
    mutual_information,
    per_source,
    psnr,
    shuffled_information,
)
from pipeline.arcade.platformer import ACTIONS
from pipeline.config import EvaluationConfig

Figures = dict[str, dict[str, Any]]

# thresholds of the gates: (figure, which end of its interval, least value). k-means of patches is no gate: fitted from
# farthest points it is within a decibel of what a small tokenizer reaches, which the figures show
GATES: dict[str, tuple[str, str, float]] = {
    "psnr_above_mean_frame": ("psnr_above_mean_frame", "value", 3.0),
    "psnr_above_first_frame": ("psnr_above_first_frame", "value", 3.0),
    "psnr_above_previous_frame": ("psnr_above_previous_frame", "value", 0.0),
    "psnr_moving_above_mean_frame": ("psnr_moving_above_mean_frame", "value", 3.0),
    "psnr_moving_above_first_frame": ("psnr_moving_above_first_frame", "value", 3.0),
    "delta_t_psnr_permuted": ("delta_t_psnr_permuted", "low", 1.0),
    "psnr_t1_above_copy": ("psnr_t1_above_copy", "value", 1.0),
    "latent_action_mutual_information": ("latent_action_mutual_information", "value", 0.5),
    "latent_action_mutual_information_ratio": ("latent_action_mutual_information_ratio", "value", 10.0),
    "steady_actions": ("steady_actions", "value", 2),
}


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of the held-out clips, with what each one came from."""

    video_NTHWC: np.ndarray
    clips: list[int]
    """Index of each window's clip."""
    starts: list[int]
    """First frame of each window in its clip."""
    sources: list[str]
    """Video id of each window."""


def cut_windows(clips: Sequence[HeldOutClip], config: EvaluationConfig) -> Windows:
    """Return the windows that everything but the information of the codes is measured on."""
    length = config.prompt_frames + config.horizon
    places = [
        (index, start)
        for index, clip in enumerate(clips)
        for start in window_starts(clip, length, config.windows_per_clip)
    ]
    video = np.stack([clips[index].frames_THWC[start : start + length] for index, start in places])
    indices, starts = [index for index, _ in places], [start for _, start in places]
    return Windows(video, indices, starts, [clips[index].video_id for index in indices])


def measure_reconstruction(
    world: World, windows: Windows, codebook: baselines.PatchCodebook, config: EvaluationConfig
) -> Figures:
    """Return the tokenizer's PSNR beside the baselines', on all pixels and on the moving ones, and its code usage."""
    truth = windows.video_NTHWC
    tokens = encode(world, truth)
    guesses = {
        "": decode(world, tokens),
        "_previous_frame": baselines.previous_frame(truth),
        "_mean_frame": baselines.mean_frame(truth),
        "_first_frame": baselines.first_frame(truth),
        "_kmeans": codebook.reconstruct(truth),
    }
    figures: Figures = {}
    for prefix, values in (
        ("psnr", {name: psnr(truth, guess)[:, 1:].mean(1) for name, guess in guesses.items()}),
        ("psnr_moving", {name: _moving(truth, guess, config) for name, guess in guesses.items()}),
    ):
        for name, value in values.items():
            figures[prefix + name] = figure_of(value, windows.sources, config)
            if name:
                figures[f"{prefix}_above{name}"] = figure_of(values[""] - value, windows.sources, config)
    usage = np.bincount(tokens.cpu().numpy().reshape(-1))
    figures["tokenizer_codes_used"] = {"value": int((usage > 0).sum())}
    figures["tokenizer_perplexity"] = {"value": float(np.exp(entropy(usage)))}
    return figures


def _moving(truth: np.ndarray, guess: np.ndarray, config: EvaluationConfig) -> np.ndarray:
    values = moving_psnr(truth, guess, config.moving_threshold)
    present = ~np.isnan(values)
    return np.where(present.any(1), np.where(present, values, 0).sum(1) / np.maximum(present.sum(1), 1), np.nan)


def infer_clip_actions(world: World, clips: Sequence[HeldOutClip]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the latent actions (T - 1,) of each clip, and the index of each within its window.

    A clip is read in windows as long as the model's context that share their end frames: the model was trained on
    windows, and might have learned to count in them.
    """
    codes, tile = [], world.context
    for clip in clips:
        frames, step = clip.frames_THWC, tile - 1
        whole = (len(frames) - 1) // step
        tiles = np.stack([frames[index * step : index * step + tile] for index in range(whole)])
        own = [infer_actions(world, tiles).reshape(-1)]
        if rest := (len(frames) - 1) % step:
            own.append(infer_actions(world, frames[None, -rest - 1 :]).reshape(-1))
        codes.append(np.concatenate(own))
    return codes, np.arange(len(codes[0])) % (tile - 1)


def measure_control(
    world: World,
    windows: Windows,
    clip_codes: Sequence[np.ndarray],
    config: EvaluationConfig,
    advance: Callable[[], None] = lambda: None,
) -> Figures:
    """Return the PSNR of rollouts at t = 1.. and the delta-t PSNR of both random arms.

    The actions of a window are those of its clip, `clip_codes`: inferred ones, or true ones for a world that was
    trained on them. Prompts of one frame (the paper's, the figures without a suffix) and of `prompt_frames` (suffix
    `_prompt4`, say) end in the same frame, so that both are compared with the same true frames.
    """
    video = windows.video_NTHWC
    own = [clip_codes[clip] for clip in windows.clips]
    truth, last = video[:, config.prompt_frames :], video[:, config.prompt_frames - 1 :][:, :1]
    copied = psnr(truth, np.repeat(last, config.horizon, 1))
    figures: Figures = {}
    for step in range(config.horizon):
        figures[f"copy_t{step + 1}"] = figure_of(copied[:, step], windows.sources, config)
    for prompt in sorted({1, config.prompt_frames}):
        suffix = "" if prompt == 1 else f"_prompt{prompt}"
        part = video[:, config.prompt_frames - prompt :]
        tokens = encode(world, part[:, :prompt])
        first, count = config.prompt_frames - prompt, prompt + config.horizon - 1
        inferred = np.stack([codes[start + first :][:count] for codes, start in zip(own, windows.starts, strict=True)])
        followed = psnr(truth, roll_out(world, tokens, inferred, config, seed=config.seed))
        advance()
        for step in range(config.horizon):
            figures[f"psnr_t{step + 1}{suffix}"] = figure_of(followed[:, step], windows.sources, config)
            above = figure_of(followed[:, step] - copied[:, step], windows.sources, config)
            figures[f"psnr_t{step + 1}_above_copy{suffix}"] = above
        arms: tuple[tuple[Arm, str], ...] = (("categorical", "delta_t_psnr"), ("permuted", "delta_t_psnr_permuted"))
        for arm, name in arms:
            rng = np.random.default_rng((config.seed, prompt, arm == "permuted"))
            lost = np.zeros(len(video))
            for _ in range(config.random_draws):
                drawn = random_actions(inferred, own, arm=arm, keep=prompt - 1, num_actions=world.num_actions, rng=rng)
                frames = roll_out(world, tokens, drawn, config, seed=config.seed, last=1)
                lost += (followed[:, -1] - psnr(truth[:, -1:], frames)[:, 0]) / config.random_draws
                advance()
            figures[name + suffix] = figure_of(lost, windows.sources, config)
    return figures


def measure_codes(
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    time_index: np.ndarray,
    num_codes: int,
    config: EvaluationConfig,
) -> Figures:
    """Return the information of the codes about true actions and directions, and how they are spread."""
    everything = np.concatenate(list(clip_codes))
    groups = np.repeat(np.arange(len(clips)), [len(codes) for codes in clip_codes])
    times = np.concatenate([time_index[: len(codes)] for codes in clip_codes])
    figures: Figures = {
        "code_entropy": {"value": float(entropy(np.bincount(everything, minlength=num_codes)))},
        "code_entropy_within_clip": {"value": entropy_within(everything, groups, num_codes)},
        "code_entropy_within_time": {"value": entropy_within(everything, times, num_codes)},
        "codes_used": {"value": len(np.unique(everything))},
    }
    known = [index for index, clip in enumerate(clips) if clip.actions is not None]
    for name, size, of in (
        ("latent_action_mutual_information", len(ACTIONS), lambda actions: actions),
        ("latent_action_direction_information", NUM_DIRECTIONS, direction_of),
    ):
        figures |= _information(
            name,
            [clip_codes[index] for index in known],
            [of(clips[index].actions) for index in known],
            [clips[index].video_id for index in known],
            (num_codes, size),
            config,
        )
    return figures


def _information(
    name: str,
    codes: list[np.ndarray],
    actions: list[np.ndarray],
    sources: list[str],
    shape: tuple[int, int],
    config: EvaluationConfig,
) -> Figures:
    if not codes:
        reason = "no true actions are known for the held-out sources"
        return {name + end: absent(reason) for end in ("", "_shuffled", "_shuffled_p95", "_ratio", "_of")}
    tables: dict[str, np.ndarray] = {}
    for source, own, true in zip(sources, codes, actions, strict=True):
        tables[source] = tables.get(source, np.zeros(shape, np.int64)) + count_pairs(own, true, *shape)
    by_source = np.stack([tables[source] for source in sorted(tables)])
    found = bootstrap(
        by_source,
        draws=config.bootstrap_draws,
        seed=config.seed,
        reduce=lambda drawn: mutual_information(drawn.sum(1)),
    )
    assert found is not None
    rng = np.random.default_rng(config.seed)
    left = shuffled_information(codes, actions, *shape, shuffles=config.shuffles, rng=rng)
    low, p95, high = np.percentile(left, [2.5, 95, 97.5])
    count = len(by_source)
    # a code that never changes has 0 nat before and after: its ratio is 0, not undefined
    ratio = found.value / max(float(p95), 1e-9)
    return {
        name: found.as_dict(),
        f"{name}_shuffled": Interval(float(left.mean()), float(low), float(high), count).as_dict(),
        f"{name}_shuffled_p95": {"value": float(p95), "num_sources": count},
        f"{name}_ratio": {"value": ratio, "num_sources": count},
        f"{name}_of": {"value": float(entropy(by_source.sum((0, 1)))), "num_sources": count},
    }


def figure_of(values: np.ndarray, sources: Sequence[str], config: EvaluationConfig) -> dict[str, Any]:
    """Return the mean over sources of windows' values (N,) with its interval, as it is published."""
    found = bootstrap(per_source(values, sources), draws=config.bootstrap_draws, seed=config.seed)
    return found.as_dict() if found is not None else absent("nothing moves in the held-out windows")


def absent(reason: str) -> dict[str, Any]:
    """Return what is published of a figure that cannot be known."""
    return {"value": None, "low": None, "high": None, "num_sources": 0, "reason": reason}


def judge(figures: Figures, num_sources: int, config: EvaluationConfig) -> dict[str, dict[str, Any]]:
    """Return the gates: {name: {passed, value, threshold}}; `passed` is None where the figure is not known."""
    gates: dict[str, dict[str, Any]] = {
        "enough_sources": {
            "passed": num_sources >= config.min_sources,
            "value": num_sources,
            "threshold": config.min_sources,
        }
    }
    for name, (figure, end, threshold) in GATES.items():
        value = figures.get(figure, {}).get(end)
        passed = None if value is None else bool(value >= threshold)
        gates[name] = {"passed": passed, "value": value, "threshold": threshold}
    return gates
