"""Train the demo's world with other settings, without the data path, and measure each on the same held-out levels.

    bench_worlds([Variant("preset", demo()), Variant("no noise", changed)], LEVELS)[0].figures["character_kept_t8"]

The clips are levels of the embedded platformer as it was drawn: a few minutes show what a setting gives, without
download, labels and shards. A world of the whole demo learns from other levels, cut from encoded recordings.

The oracle of a variant is the same dynamics on the same tokenizer, led by the true actions in place of a LAM's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from models.bench.levels import drawn_clips, windows_of
from models.evaluation.character import measure_character
from models.evaluation.codes import infer_clip_actions, measure_codes, true_action_shares
from models.evaluation.control import measure_control
from models.evaluation.cpu_parallel_world import CpuParallelWorld
from models.evaluation.held_out import HeldOutClip
from models.evaluation.metric import Metrics, mean_over_sources, unknown
from models.evaluation.next_frame import next_frames
from models.evaluation.windows import cut_windows
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import choose_compute, intra_op_threads, prepare_training
from models.runtime.cpu_parallel import CpuParallel
from models.training.tokenizer_training import TokenizerTraining, tokenizer_metrics
from models.training.world_training import WorldTraining
from models.world.world import WorldModel
from pipeline.config import Config
from pipeline.config.evaluation import EvaluationConfig
from pipeline.progress import ProgressCallback

_BATCH = 32
_SAID_EVERY_S = 60.0


class Levels(NamedTuple):
    """What is trained and measured on."""

    train: range
    """Seeds of the training levels."""
    held_out: range
    """Seeds of the levels that are measured on."""
    num_frames: int
    """Of each level's clip, at 10 FPS."""


LEVELS = Levels(range(28), range(500, 510), 160)
"""About as much as the demo trains on, in clips of the demo's length."""


@dataclass(frozen=True)
class Variant:
    """Settings with a name."""

    name: str
    config: Config


@dataclass(frozen=True)
class Row:
    """What one variant cost and gave."""

    name: str
    oracle: bool
    """Whether true actions led the dynamics; nothing is then inferred, and `latent_action_...` are unknown."""
    compute: str
    """Device, threads and dtype."""
    tokenizer_cpu_s: float
    """CPU-seconds of its training; of a training that variants share, in each."""
    lam_cpu_s: float
    """CPU-seconds of the LAM's steps alone."""
    joint_cpu_s: float
    """CPU-seconds of the joint steps, and of the k-means of the codes before them."""
    tokenizer_steps: int
    lam_steps: int
    joint_steps: int
    figures: Metrics
    """By the names of the evaluation; `tokenizer_psnr` and `tokenizer_codes` of held-out windows, and `accuracy` and
    `accuracy_changed` of the next frame's tokens, the frames before it given."""

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return asdict(self)


class _Tokenizer(NamedTuple):
    tokenizer: VideoTokenizer
    figures: Metrics
    cpu_s: float


class _World(NamedTuple):
    training: WorldTraining
    alone_cpu_s: float
    joint_cpu_s: float


def bench_worlds(
    variants: Sequence[Variant],
    levels: Levels = LEVELS,
    *,
    oracle: bool = False,
    on_progress: ProgressCallback | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Return a row per variant, trained and measured one after another in this process; nothing is stored.

    Variants that differ only in how they are measured share one training.

    Args:
        variants: settings of `tokenizer`, `latent_actions`, `dynamics`, `training` and `evaluation`.
        levels: what is trained and measured on.
        oracle: adds the oracle of each variant behind it.
        on_progress: called with a line per training, and one a minute within it.
        on_row: called with each row when it is measured: the next one may take an hour.
    """
    rows = []
    with intra_op_threads():
        for row in _Bench(levels, on_progress).rows(variants, oracle=oracle):
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return rows


class _Bench:
    """The clips, and the trainings that variants share."""

    def __init__(self, levels: Levels, on_progress: ProgressCallback | None) -> None:
        self._train = drawn_clips(levels.train, levels.num_frames)
        self._held_out = drawn_clips(levels.held_out, levels.num_frames)
        self._on_progress = on_progress
        self._tokenizers: dict[str, _Tokenizer] = {}
        self._worlds: dict[str, _World] = {}

    def rows(self, variants: Sequence[Variant], *, oracle: bool) -> Iterator[Row]:
        for variant in variants:
            for led_by_truth in (False, True)[: 1 + oracle]:
                yield self._row(variant, oracle=led_by_truth)

    def _row(self, variant: Variant, *, oracle: bool) -> Row:
        config = variant.config
        compute = choose_compute(config.training)
        name = f"{variant.name}, true actions" if oracle else variant.name
        source = self._tokenizer(config, name)
        world = self._world(config, source.tokenizer, name, oracle=oracle)
        training = world.training
        figures = _figures(training, self._held_out, config.evaluation, oracle=oracle)
        return Row(
            name=variant.name,
            oracle=oracle,
            compute=f"{compute.device}, {compute.threads} threads, {str(compute.dtype).removeprefix('torch.')}",
            tokenizer_cpu_s=source.cpu_s,
            lam_cpu_s=world.alone_cpu_s,
            joint_cpu_s=world.joint_cpu_s,
            tokenizer_steps=config.tokenizer.steps,
            lam_steps=training.alone_steps,
            joint_steps=config.dynamics.steps,
            figures={**source.figures, **figures},
        )

    def _tokenizer(self, config: Config, name: str) -> _Tokenizer:
        key = repr((config.tokenizer, config.training))
        if key not in self._tokenizers:
            compute = choose_compute(config.training)
            windows = windows_of(self._train, config.training)
            training = TokenizerTraining(
                config.tokenizer, windows, compute, seed=config.training.seed, accumulate=config.training.accumulate
            )
            prepare_training(training.tokenizer, config.training, compute.device, steps=training.total_steps)
            with _cpu_seconds() as cpu_s:
                training.initialize()
                self._take(training.step, range(training.total_steps), f"{name}: tokenizer")
            training.tokenizer.eval()
            held_out = windows_of(self._held_out, config.training)
            found = tokenizer_metrics(training.tokenizer, held_out, compute, count=config.training.eval_windows)
            figures: Metrics = {
                "tokenizer_psnr": {"value": found["psnr"]},
                "tokenizer_codes": {"value": found["codes_used"]},
            }
            self._tokenizers[key] = _Tokenizer(training.tokenizer, figures, cpu_s())
            self._say(f"{name}: tokenizer {found['psnr']:.2f} dB after {training.total_steps} steps", cpu_s())
        return self._tokenizers[key]

    def _world(self, config: Config, tokenizer: VideoTokenizer, name: str, *, oracle: bool) -> _World:
        key = repr((config.tokenizer, config.latent_actions, config.dynamics, config.training, oracle))
        if key not in self._worlds:
            true_actions = {clip.clip_id: clip.actions for clip in self._train}
            compute = choose_compute(config.training)
            training = WorldTraining(
                config.latent_actions,
                config.dynamics,
                tokenizer,
                windows_of(self._train, config.training),
                compute,
                seed=config.training.seed,
                truth_actions=(lambda clip_id: _as_int8(true_actions[clip_id])) if oracle else None,
                accumulate=config.training.accumulate,
                cache_tokens=config.training.cache_tokens,
            )
            for network in training.networks().values():
                prepare_training(network, config.training, compute.device, steps=training.total_steps)
            with _cpu_seconds() as alone:
                training.initialize()
                self._take(training.step, range(training.alone_steps), f"{name}: LAM")
            with _cpu_seconds() as joint:
                self._take(training.step, range(training.alone_steps, training.total_steps), f"{name}: joint steps")
            self._worlds[key] = _World(training, 0.0 if oracle else alone(), joint())
            self._say(f"{name}: world after {training.total_steps} steps", alone() + joint())
        return self._worlds[key]

    def _take(self, take: Callable[[int], Any], steps: range, what: str) -> None:
        """Take the steps of a training, and say once a minute how far it is."""
        began = said = time.monotonic()
        for done, step in enumerate(steps, 1):
            take(step)
            now = time.monotonic()
            if self._on_progress is not None and now - said >= _SAID_EVERY_S:
                said = now
                left = (now - began) / done * (len(steps) - done) / 60
                self._on_progress(f"{what}, {done:,} of {len(steps):,} steps, about {left:.0f} minutes left")

    def _say(self, what: str, cpu_s: float) -> None:
        if self._on_progress is not None:
            self._on_progress(f"{what}, {cpu_s:.0f} CPU-s")


def _as_int8(actions: np.ndarray | None) -> np.ndarray | None:
    return None if actions is None else actions.astype(np.int8)


def _figures(
    training: WorldTraining, clips: Sequence[HeldOutClip], settings: EvaluationConfig, *, oracle: bool
) -> Metrics:
    """Return the figures of a trained world on held-out clips."""
    compute = training.compute
    model = WorldModel(training.tokenizer, training.lam, training.dynamics, compute=compute)
    world = CpuParallelWorld(model, CpuParallel(compute, _BATCH))
    if oracle:
        codes = [clip.actions for clip in clips if clip.actions is not None]
        information: Metrics = {
            name: unknown("true actions led the dynamics")
            for name in ("latent_action_mutual_information", "latent_action_jump_information")
        }
    else:
        codes, times = infer_clip_actions(world, clips)
        information = measure_codes(clips, codes, times, world.num_actions, settings)
    shares = true_action_shares(clips, codes, world.num_actions)
    return {
        **information,
        **_next_frames(training, clips, codes, settings),
        **measure_character(world, clips, codes, shares, settings).metrics,
        **measure_control(world, cut_windows(clips, settings), codes, settings),
    }


def _next_frames(
    training: WorldTraining, clips: Sequence[HeldOutClip], codes: Sequence[np.ndarray], settings: EvaluationConfig
) -> Metrics:
    """Return `accuracy` of the next frame's tokens and `accuracy_changed` of those that differ from the frame before.

    Windows of the dynamics' context are taken, spread evenly over each clip (`evaluation.windows_per_clip`).
    """
    found = next_frames(
        training.tokenizer, training.lam, training.dynamics, clips, codes, compute=training.compute,
        windows_per_clip=settings.windows_per_clip,
    )  # fmt: skip
    sources = [clip.video_id for clip in clips]
    return {
        "accuracy": mean_over_sources(found.accuracy, sources, settings),
        "accuracy_changed": mean_over_sources(found.accuracy_changed, sources, settings),
    }


@contextmanager
def _cpu_seconds() -> Iterator[Callable[[], float]]:
    """Measure the CPU-seconds of this process in the block; what is yielded returns them after it."""
    began, spent = time.process_time(), [0.0]
    yield lambda: spent[0]
    spent[0] = round(time.process_time() - began, 2)
