"""Did curation pay: the same small training on the curated clips, and on as many clips drawn from all there are.

    compare_curation(store, config, steps=200)["arms"]["curated"]["psnr_t1"]

Both arms hold the same number of clips of training sources, take the same number of steps with the same settings and
seed, and are measured on the same held-out curated clips, in pixels, because their tokens differ. A few hundred steps
show a tendency. The paper's own comparison (Genie, appendix B.1) is by FVD and with a 580M model; neither is claimed
here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation.evaluate import measure_world
from models.evaluation.held_out import HeldOutClip, held_out_clips, training_frames
from models.runtime.compute import Compute, choose_compute, threads_a_product
from models.training.data import Clip, ClipWindows, training_clips
from models.training.loop import run
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from models.world.world import WorldModel
from pipeline.clips.decode import decode_clip
from pipeline.clips.read import read_clip, read_clips
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.progress import ProgressCallback
from pipeline.shards.read import current_shards
from pipeline.shards.splits import group_of, split_of
from pipeline.storage.store import Store

ARMS = ("curated", "random")
FIGURES = ("psnr", "psnr_t1", "psnr_t1_above_copy", "delta_t_psnr_permuted")


def compare_curation(
    store: Store, config: Config, *, steps: int, on_progress: ProgressCallback | None = None
) -> dict[str, Any]:
    """Train both arms and measure them; nothing is published.

    Args:
        store: holds clips and the current shards.
        config: sizes and rates of the models; their own steps are replaced.
        steps: of the tokenizer, and again of the world, in each arm.
        on_progress: hears the progress.

    Returns:
        `version` (a hash of the inputs), `clips` (per arm), `steps`, and `arms`: name -> figure -> {value, low, high}.

    Raises:
        UserError: there are no shards, or no source is held out.
    """
    version = current_shards(store)
    window = max(config.tokenizer.window, config.dynamics.context)
    curated, _ = training_clips(store, version, window)
    chosen = {"curated": curated, "random": random_clips(store, config, len(curated))}
    settings = _with_steps(config, steps)
    held = held_out_clips(store, config, None)
    if not held:
        raise UserError("no source is held out: raise split.val_share, or keep more videos, then compare again.")
    arms = {}
    with threads_a_product():
        compute = choose_compute(config.training)
        frames = training_frames(store)
        for name in ARMS:
            world = _train(chosen[name], settings, compute, f"ablation, {name}", on_progress)
            measured = measure_world(world, held, frames, config, on_progress=on_progress)
            arms[name] = {figure: measured[figure] for figure in FIGURES}
    return {
        "version": fingerprint("ablation", version, settings.tokenizer, settings.dynamics, settings.latent_actions),
        "clips": len(curated),
        "steps": steps,
        "held_out": _sources(held),
        "arms": arms,
    }


def random_clips(store: Store, config: Config, count: int) -> list[Clip]:
    """Return clips drawn evenly, by the training seed, from all clips of training sources, good or not."""
    columns = ["video_id", "extractor", "channel_id"]
    training = {
        row["video_id"]
        for row in store.read("videos", columns).to_pylist()
        if split_of(group_of(row), config.split) == "train"
    }
    rows = [
        row
        for row in read_clips(store, config, ["clip_id", "video_id", "tar", "offset", "size"]).to_pylist()
        if row["video_id"] in training
    ]
    rng = np.random.default_rng((config.training.seed, len(ARMS)))
    drawn = rng.choice(len(rows), size=min(count, len(rows)), replace=False)
    return [Clip(rows[index]["clip_id"], partial(_decoded, store, rows[index])) for index in sorted(drawn.tolist())]


def _decoded(store: Store, row: dict[str, Any]) -> npt.NDArray[np.uint8]:
    return decode_clip(read_clip(store, row))


def _with_steps(config: Config, steps: int) -> Config:
    # the start without quantization keeps its share of the steps
    alone = config.latent_actions.continuous_start_steps
    share = alone / max(alone + config.dynamics.steps, 1)
    return dataclasses.replace(
        config,
        tokenizer=dataclasses.replace(config.tokenizer, steps=steps),
        dynamics=dataclasses.replace(config.dynamics, steps=max(1, steps - round(share * steps))),
        latent_actions=dataclasses.replace(config.latent_actions, continuous_start_steps=round(share * steps)),
    )


def _train(
    clips: Sequence[Clip], config: Config, compute: Compute, stage: str, on_progress: ProgressCallback | None
) -> WorldModel:
    windows = ClipWindows(clips, cache_clips=config.training.cache_clips)
    every, seed = config.training.checkpoint_every, config.training.seed
    tokens = TokenizerTraining(config.tokenizer, windows, compute, seed=seed)
    run(tokens, None, stage=f"{stage}, tokenizer", checkpoint_every=every, on_progress=on_progress)
    world = WorldTraining(config.latent_actions, config.dynamics, tokens.tokenizer, windows, compute, seed=seed)
    run(world, None, stage=f"{stage}, world", checkpoint_every=every, on_progress=on_progress)
    return WorldModel(tokens.tokenizer.eval(), world.lam.eval(), world.dynamics.eval(), compute=compute, model_id=stage)


def _sources(clips: Sequence[HeldOutClip]) -> int:
    return len({clip.video_id for clip in clips})
