"""Compare a small training on curated clips with the same training on as many clips drawn at random.

    compare_curation(job, steps=200).metrics["curated"]["psnr_t1"]

Both arms train on the same number of clips of training sources, for the same number of steps, with the same settings
and seed. Both are measured on the same held-out curated clips, in pixels because their tokens differ. A few hundred
steps show a tendency. They do not repeat the paper's comparison (Genie, appendix B.1), which uses FVD and a 580M model.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from models.evaluation.held_out import held_out_clips, training_frames
from models.evaluation.measure import measure_world
from models.evaluation.metric import Metrics
from models.runtime.compute import Compute, choose_compute, intra_op_threads
from models.training.data import ClipWindows, check_window, training_clips
from models.training.loop import run
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from models.world.world import WorldModel
from pipeline.clips.read import read_clips
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.progress import ProgressCallback
from pipeline.shards.loader.clips import Clip, ClipSet, ListedClips, clip_of
from pipeline.shards.read import current_shards
from pipeline.shards.splits import group_of, split_of
from pipeline.storage.store import Store

ARMS = ("curated", "random")
_CLIP_COLUMNS = ["clip_id", "video_id", "tar", "offset", "size", "sha256", "num_frames", "fps", "cut_ms"]
METRICS = ("psnr", "psnr_t1", "psnr_t1_above_copy", "delta_t_psnr_permuted")


class CurationComparison(NamedTuple):
    """The metrics of a training on curated clips and of one on random clips."""

    version: str
    """Fingerprint of the inputs."""
    clips: int
    """Training clips of each arm."""
    steps: int
    """Steps of the tokenizer, and again of the world, of each arm."""
    held_out: int
    """Held-out sources that both arms are measured on."""
    metrics: dict[str, Metrics]
    """Per arm, the metrics named by `METRICS`."""


def compare_curation(job: Job, *, steps: int) -> CurationComparison:
    """Train both arms and measure them; nothing is published.

    Args:
        job: its store holds clips and the current shards; its configuration gives the sizes of the models.
        steps: training steps of the tokenizer, and again of the world, of each arm; replaces those of the
            configuration.

    Raises:
        UserError: there are no shards, or no source is held out.
    """
    store, config = job.store, job.config
    version = current_shards(store)
    curated, _ = training_clips(store, version)
    count = sum(curated.counts)
    chosen: dict[str, ClipSet] = {"curated": curated, "random": ListedClips(random_clips(store, config, count), store)}
    settings = _with_steps(config, steps)
    held_out = held_out_clips(store, config, None)
    if not held_out:
        raise UserError("no source is held out: raise split.val_share, or keep more videos, then compare again.")
    metrics: dict[str, Metrics] = {}
    with intra_op_threads():
        compute = choose_compute(config.training)
        frames = training_frames(store)
        for arm in ARMS:
            world = _train(chosen[arm], settings, compute, f"ablation, {arm}", job.on_progress)
            measured = measure_world(world, held_out, frames, config, doubt=False, on_progress=job.on_progress).metrics
            metrics[arm] = {name: measured[name] for name in METRICS}
    return CurationComparison(
        version=fingerprint("ablation", version, settings.tokenizer, settings.dynamics, settings.latent_actions),
        clips=count,
        steps=steps,
        held_out=len({clip.video_id for clip in held_out}),
        metrics=metrics,
    )


def random_clips(store: Store, config: Config, count: int) -> list[Clip]:
    """Return `count` clips drawn uniformly from all clips of training sources, whatever was decided of them.

    The draw is seeded by `training.seed`; there are fewer clips where the training sources have fewer.
    """
    columns = ["video_id", "extractor", "channel_id"]
    training = {
        row["video_id"]
        for row in store.read("videos", columns).to_pylist()
        if split_of(group_of(row), config.split) == "train"
    }
    rows = [row for row in read_clips(store, config, _CLIP_COLUMNS).to_pylist() if row["video_id"] in training]
    rng = np.random.default_rng((config.training.seed, len(ARMS)))
    drawn = rng.choice(len(rows), size=min(count, len(rows)), replace=False)
    return [clip_of(rows[index], rows[index]["tar"]) for index in sorted(drawn.tolist())]


def _with_steps(config: Config, steps: int) -> Config:
    # the unquantized steps keep their share
    alone = config.latent_actions.unquantized_steps
    share = alone / max(alone + config.dynamics.steps, 1)
    return dataclasses.replace(
        config,
        tokenizer=dataclasses.replace(config.tokenizer, steps=steps),
        dynamics=dataclasses.replace(config.dynamics, steps=max(1, steps - round(share * steps))),
        latent_actions=dataclasses.replace(config.latent_actions, unquantized_steps=round(share * steps)),
    )


def _train(
    clips: ClipSet, config: Config, compute: Compute, stage: str, on_progress: ProgressCallback | None
) -> WorldModel:
    training = config.training
    cache, most = training.cache_clips, training.max_bad_share
    with ClipWindows(
        clips, cache_clips=cache, max_bad_share=most, on_progress=on_progress, training=training
    ) as windows:
        return _train_on(windows, config, compute, stage, on_progress)


def _train_on(
    windows: ClipWindows, config: Config, compute: Compute, stage: str, on_progress: ProgressCallback | None
) -> WorldModel:
    check_window(windows, config.tokenizer.window, "tokenizer.window")
    check_window(windows, config.dynamics.drawn_frames, config.dynamics.drawn_by)
    every, seed, accumulate = (
        config.training.checkpoint_every,
        config.training.seed,
        config.training.accumulate,
    )
    tokens = TokenizerTraining(config.tokenizer, windows, compute, seed=seed, accumulate=accumulate)
    run(tokens, None, stage=f"{stage}, tokenizer", checkpoint_every=every, on_progress=on_progress)
    world = WorldTraining(
        config.latent_actions, config.dynamics, tokens.tokenizer, windows, compute, seed=seed, accumulate=accumulate
    )
    run(world, None, stage=f"{stage}, world", checkpoint_every=every, on_progress=on_progress)
    return WorldModel(tokens.tokenizer.eval(), world.lam.eval(), world.dynamics.eval(), compute=compute, model_id=stage)
