"""How well latent actions control the rollouts of a world: delta-t PSNR with random actions drawn in two ways.

delta-t PSNR is how much better a rollout follows the video under the inferred actions than under random ones. The
metric that counts draws the random ones by permuting the clip's own actions. A code that merely identifies the scene
scores 0 there; it scores well in the paper's metric (uniform draws), because a wrong code then repaints the scene.

Where the recordings' true actions are known (kept aside, read by no training), a rollout under those, translated to
latent actions (`models.evaluation.translate`), is compared with the same random ones. The inferred action knows the
frame that it leads to; the translated one knows the command alone, as a player does.

Shapes: N windows, T frames, H W C pixels, A latent actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from models.evaluation.metric import Metrics, mean_over_sources
from models.evaluation.rollouts import Arm, decode_newest, draw_tokens, encode, random_actions
from models.evaluation.windows import Windows
from models.evaluation.world_interface import World
from models.metrics import psnr
from pipeline.config import EvaluationConfig

_ARMS: tuple[tuple[Arm, str], ...] = (("categorical", "delta_t_psnr"), ("permuted", "delta_t_psnr_permuted"))


def measure_control(
    world: World,
    windows: Windows,
    clip_codes: Sequence[np.ndarray],
    config: EvaluationConfig,
    advance: Callable[[], None] = lambda: None,
    by_window: dict[str, np.ndarray] | None = None,
    *,
    translated: Sequence[np.ndarray | None] = (),
) -> Metrics:
    """Return the PSNR of rollouts at t = 1.., next to copying the last prompt frame, and the delta-t PSNR.

    Prompts of one frame (the paper's; names without a suffix) and of `prompt_frames` (suffix `_prompt4`, say) end at
    the same frame, so both are compared with the same true frames. The delta-t PSNR is that of the paper's prompt: a
    longer one changes it by less than its interval, for as many rollouts again.

    Args:
        world: the world model.
        windows: held-out windows.
        clip_codes: actions of each clip: inferred ones, or true ones for a world that was trained on true actions.
        config: prompt, horizon, sampling, random draws and seed.
        advance: called after each pass of rollouts.
        by_window: gets the `psnr_t1`, .. (N,) of each window with the longest prompt, and its delta-t PSNR by the names
            of the metrics, where it is given.
        translated: true actions of each clip as latent ones, None where they are unknown; empty: none are known.
    """
    video = windows.video_NTHWC
    own = [clip_codes[clip] for clip in windows.clips]
    truth, last = video[:, config.prompt_frames :], video[:, config.prompt_frames - 1 :][:, :1]
    copied = psnr(truth, np.repeat(last, config.horizon, 1))
    metrics: Metrics = {}
    for step in range(config.horizon):
        metrics[f"copy_t{step + 1}"] = mean_over_sources(copied[:, step], windows.sources, config)
    for prompt in sorted({1, config.prompt_frames}):
        suffix = "" if prompt == 1 else f"_prompt{prompt}"
        first, count = config.prompt_frames - prompt, prompt + config.horizon - 1
        tokens = encode(world, video[:, first:][:, :prompt])
        inferred = np.stack([codes[start + first :][:count] for codes, start in zip(own, windows.starts, strict=True)])
        drawn = draw_tokens(world, tokens, inferred, config, seed=config.seed)
        followed = psnr(truth, decode_newest(world, drawn, config.horizon))
        # both arms of a difference are decoded in the same way
        kept = psnr(truth[:, -1:], decode_newest(world, drawn, 1))[:, 0]
        advance()
        if by_window is not None:
            by_window.update((f"psnr_t{step + 1}", followed[:, step]) for step in range(config.horizon))
        for step in range(config.horizon):
            metrics[f"psnr_t{step + 1}{suffix}"] = mean_over_sources(followed[:, step], windows.sources, config)
            gain = mean_over_sources(followed[:, step] - copied[:, step], windows.sources, config)
            metrics[f"psnr_t{step + 1}_above_copy{suffix}"] = gain
        if prompt > 1:
            continue
        random_N: list[np.ndarray] = []
        for arm, name in _ARMS:
            rng = np.random.default_rng((config.seed, 1, arm == "permuted"))
            lost = np.zeros(len(video))
            for _ in range(config.random_draws):
                other = random_actions(inferred, own, arm=arm, keep=0, num_actions=world.num_actions, rng=rng)
                drawn = draw_tokens(world, tokens, other, config, seed=config.seed)
                lost += (kept - psnr(truth[:, -1:], decode_newest(world, drawn, 1))[:, 0]) / config.random_draws
                advance()
            metrics[name] = mean_over_sources(lost, windows.sources, config)
            if by_window is not None:
                by_window[name] = lost
            random_N.append(kept - lost)
        metrics |= _under_true_actions(world, windows, tokens, random_N, translated, config)
        advance()
    return metrics


def _under_true_actions(
    world: World,
    windows: Windows,
    prompt_NTP: torch.Tensor,
    random_N: Sequence[np.ndarray],
    translated: Sequence[np.ndarray | None],
    config: EvaluationConfig,
) -> Metrics:
    """Return the PSNR of rollouts under translated true actions at the last frame, and the delta-t PSNR of them.

    Args:
        world: the world model.
        windows: held-out windows.
        prompt_NTP: tokens of the one frame before each rollout.
        random_N: PSNR of each window under random actions, in the order of `_ARMS`.
        translated: see `measure_control`.
        config: prompt, horizon, sampling and seed.
    """
    known = [place for place, clip in enumerate(windows.clips) if translated and translated[clip] is not None]
    if not known:
        return {}
    first = config.prompt_frames - 1
    actions = np.stack(
        [
            np.asarray(translated[windows.clips[place]])[windows.starts[place] + first :][: config.horizon]
            for place in known
        ]
    )
    drawn = draw_tokens(world, prompt_NTP[known], actions, config, seed=config.seed)
    truth = windows.video_NTHWC[known][:, -1:]
    reached = psnr(truth, decode_newest(world, drawn, 1))[:, 0]
    sources = [windows.sources[place] for place in known]
    metrics = {f"psnr_t{config.horizon}_true": mean_over_sources(reached, sources, config)}
    for (_, name), random in zip(_ARMS, random_N, strict=True):
        metrics[name.replace("psnr", "psnr_true")] = mean_over_sources(reached - random[known], sources, config)
    return metrics
