"""The case study of Genie's appendix F at toy width: the preset `coinrun` learns the arcade, frames of 64x64.

Widths, batches and steps are cut down, with the warm-up; all other settings are the preset's.
"""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from models.training.train import train_tokenizer, train_world_model
from models.world.load import load_world
from pipeline.arcade.platformer import record_platformer
from pipeline.clips.encode import encode_clip
from pipeline.config import preset
from pipeline.ids import clip_id_of
from tests.shards import SPEC, add_shards
from tests.synthetic import job_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAIN, VAL, NUM_FRAMES = range(4), range(4, 6), 48
STEPS = {"tokenizer": 24, "dynamics": 20}


def toy_coinrun():
    config = preset("coinrun")

    def narrow(stack):
        return dataclasses.replace(stack, layers=1, d_model=64, heads=2, head_dim=32)

    def quick(optimizer, rate=3e-3):
        return dataclasses.replace(optimizer, learning_rate=rate, final_learning_rate=rate, warmup_steps=5)

    tokenizer, lam, dynamics = config.tokenizer, config.latent_actions, config.dynamics
    return dataclasses.replace(
        config,
        tokenizer=dataclasses.replace(
            tokenizer, encoder=narrow(tokenizer.encoder), decoder=narrow(tokenizer.decoder), batch=2,
            steps=STEPS["tokenizer"], optimizer=quick(tokenizer.optimizer),
        ),
        latent_actions=dataclasses.replace(
            lam, encoder=narrow(lam.encoder), decoder=narrow(lam.decoder), optimizer=quick(lam.optimizer, 1e-3)
        ),
        dynamics=dataclasses.replace(
            dynamics, stack=narrow(dynamics.stack), batch=2, steps=STEPS["dynamics"],
            optimizer=quick(dynamics.optimizer),
        ),
        training=dataclasses.replace(config.training, device="cpu", checkpoint_every=20, eval_windows=2),
    )  # fmt: skip


def recording(seed):
    """The middle of a recording, as `clips.aspect: crop` cuts it."""
    wide = (Image.fromarray(frame).crop((35, 0, 125, 90)) for frame in record_platformer(seed, NUM_FRAMES, fps=10))
    return np.stack([np.asarray(frame.resize((64, 64), Image.Resampling.BOX)) for frame in wide])


def test_the_case_study_learns_the_arcade_and_its_world_is_played(store):
    config = toy_coinrun()
    clips = {
        split: {
            clip_id_of(f"lampworksarcade-a{seed}", 0, SPEC): encode_clip(recording(seed), config.clips).mp4
            for seed in seeds
        }
        for split, seeds in (("train", TRAIN), ("val", VAL))
    }
    add_shards(store, clips)
    curves = {"video_tokenizer": [], "world_model": []}
    tokenizer = train_tokenizer(
        job_of(store, config), on_step=lambda step, figures: curves["video_tokenizer"].append(figures)
    )
    world_model = train_world_model(
        job_of(store, config), on_step=lambda step, figures: curves["world_model"].append(figures)
    )
    assert (tokenizer.steps, world_model.steps) == tuple(STEPS.values())
    # measured, after 40 steps: 23.2 dB with 459 codes
    assert tokenizer.metrics["psnr"] > 18
    assert tokenizer.metrics["codebook_usage"] > 0.1
    # ln 1024 = 6.9 nat: a dynamics that knows nothing of the codes; 3.5 after 30 steps (measured)
    losses = [figures["loss"] for figures in curves["world_model"]]
    assert losses[0] > 6
    assert np.mean(losses[-5:]) < losses[0] - 1.5
    assert np.mean([figures["lam_codes_used"] for figures in curves["world_model"][-5:]]) > 1
    world = load_world(store, config)
    assert world.num_tokens == 256
    prompt = world.encode(torch.from_numpy(recording(VAL[0])[None, :1]))
    frames = world.generate(prompt, torch.tensor([[5]]), sampling=config.play)
    assert frames.shape == (1, 2, 256)
