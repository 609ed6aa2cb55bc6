"""AdamW and Muon beside each other: the same dynamics, steps and seeds, on levels of the embedded platformer.

    bench_optimizers(150, range(3))

The dynamics is that of the preset demo, with half of its batch and true pasts. It is led by the true actions, and its
tokens are those of the demo's tokenizer before its first step (principal components of patches): all of the time goes
into the steps that are compared. Both algorithms meet the same windows, masks and first weights of a seed.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student_t

from models.bench.levels import drawn_clips, windows_of
from models.evaluation.held_out import HeldOutClip
from models.networks.dynamics import last_frame_quality
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import choose_compute, hold_memory, intra_op_threads
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from pipeline.config import Config, preset

ALGORITHMS = ("adamw", "muon")
_BATCH, _FRAMES, _WINDOWS = 6, 80, 24
_TRAIN, _HELD_OUT = range(12), range(500, 506)


@dataclass(frozen=True)
class Trained:
    """What one algorithm reached from one seed, on held-out levels."""

    algorithm: str
    seed: int
    cross_entropy: float
    """Of the tokens of the next frame, in nat a token, the frames before it given."""
    changed_right: float
    """Share of the tokens which differ from the frame before that are right."""
    cpu_s: float
    """CPU-seconds a step."""


@dataclass(frozen=True)
class Difference:
    """The mean difference of a figure between Muon and AdamW, and its 95 % interval by seed."""

    mean: float
    low: float | None
    """None of a single seed."""
    high: float | None


def bench_optimizers(steps: int, seeds: Sequence[int]) -> list[Trained]:
    """Train the dynamics with each algorithm from each seed, on one CPU thread."""
    demo = preset("demo")
    training = dataclasses.replace(demo.training, device="cpu", dtype="fp32", threads=1)
    dynamics = dataclasses.replace(demo.dynamics, batch=_BATCH, steps=steps, unseen_actions=0.0, recalled_share=0.0)
    config = dataclasses.replace(demo, training=training, dynamics=dynamics)
    train, held_out = drawn_clips(_TRAIN, _FRAMES), drawn_clips(_HELD_OUT, _FRAMES)
    hold_memory()
    with intra_op_threads():
        tokenizer = _tokenizer(config, train)
        return [_trained(config, name, seed, tokenizer, train, held_out) for seed in seeds for name in ALGORITHMS]


def difference(found: Sequence[Trained], figure: str) -> Difference:
    """Return by how much Muon's figure is above AdamW's, seed by seed; of one seed, without an interval."""
    by_seed = {(each.algorithm, each.seed): float(getattr(each, figure)) for each in found}
    values = [by_seed["muon", seed] - by_seed["adamw", seed] for seed in sorted({each.seed for each in found})]
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Difference(mean, None, None)
    half = float(student_t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Difference(mean, mean - half, mean + half)


def _tokenizer(config: Config, clips: Sequence[HeldOutClip]) -> VideoTokenizer:
    fresh = TokenizerTraining(
        config.tokenizer, windows_of(clips, config.training), choose_compute(config.training), seed=0
    )
    fresh.initialize()
    return fresh.tokenizer.eval()


def _trained(
    config: Config, algorithm: str, seed: int, tokenizer: VideoTokenizer, train: Sequence[HeldOutClip],
    held_out: Sequence[HeldOutClip],
) -> Trained:  # fmt: skip
    optimizer = dataclasses.replace(config.dynamics.optimizer, algorithm=algorithm)  # type: ignore[arg-type]
    true_actions = {clip.clip_id: clip.actions for clip in train}

    def actions_of(clip_id: str) -> np.ndarray | None:
        actions = true_actions[clip_id]
        return None if actions is None else actions.astype(np.int8)

    world = WorldTraining(
        config.latent_actions, dataclasses.replace(config.dynamics, optimizer=optimizer), tokenizer,
        windows_of(train, config.training), choose_compute(config.training), seed=seed, truth_actions=actions_of,
        cache_tokens=config.training.cache_tokens,
    )  # fmt: skip
    world.initialize()
    began = time.process_time()
    for step in range(world.total_steps):
        world.step(step)
    spent = (time.process_time() - began) / world.total_steps
    world.dynamics.eval()
    return Trained(algorithm, seed, *_measured(world, held_out), spent)


@torch.inference_mode()
def _measured(world: WorldTraining, clips: Sequence[HeldOutClip]) -> tuple[float, float]:
    """Return the mean cross-entropy of the next frame's tokens, and the share of the changed ones that are right."""
    context = world.config.context
    losses, hits = [], []
    for clip in clips:
        assert clip.actions is not None
        starts = np.linspace(0, len(clip.frames_THWC) - context, _WINDOWS).astype(int).tolist()
        video = torch.from_numpy(np.stack([clip.frames_THWC[start : start + context] for start in starts]))
        led_by = torch.from_numpy(np.stack([clip.actions[start : start + context - 1] for start in starts]))
        tokens = world.tokenizer.encode(video)
        loss, hit = last_frame_quality(world.dynamics, tokens, world.lam.quantizer.lookup(led_by))
        losses.append(loss)
        hits.append(hit[tokens[:, -1] != tokens[:, -2]])
    return float(torch.cat(losses).mean()), float(torch.cat(hits).float().mean())
