"""The paper's structure can learn: each network one batch by heart, from a random start, at a small width.

Blocks are those of `small`: causal encoders, rotary positions, mean pooling, a sigmoid, codes, MaskGIT.
"""

import dataclasses

import pytest
import torch

from models.networks.dynamics import Dynamics, draw_mask
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.training.optimizer import Optimizer
from models.training.tokenizer_training import mean_psnr
from pipeline.config.world import OptimizerConfig
from tests.numerics.small import DYNAMICS, LAM, SEEDS, STACK, TOKENIZER, arcade_clip, arcade_windows, patch_tokenizer

PACE = OptimizerConfig(learning_rate=4e-3, final_learning_rate=4e-4, warmup_steps=10, schedule="late_linear")

SHALLOW = dataclasses.replace(STACK, layers=1)


def learn(network, frames, steps):
    """Train tokenizer or LAM on the same frames at every step."""
    optimizer = Optimizer(network, PACE, steps)
    for step in range(steps):
        loss, (_, latents, quantized) = network.loss(frames)
        optimizer.step(loss, step)
        network.quantizer.update(latents, quantized.codes, torch.Generator().manual_seed(step))


TOKENIZERS = {
    "codes by gradient": {"codebook_size": 256, "reconstruction_weight": 10.0},
    "cosine": {"codebook_size": 256, "reconstruction_weight": 10.0, "cosine": True},
    "fsq": {"quantizer": "fsq", "codebook_size": 1024, "latent_dim": 5, "fsq_levels": (4,) * 5},
}


def slow_but_first(values):
    """Return parameters of which only the first, the paper's own, is proved in every run."""
    marks = [(), *[pytest.mark.slow] * (len(values) - 1)]
    return [pytest.param(value, id=name, marks=mark) for (name, value), mark in zip(values.items(), marks, strict=True)]


@pytest.mark.parametrize("changes", slow_but_first(TOKENIZERS))
def test_a_tokenizer_learns_a_batch_by_heart(changes):
    video, _ = arcade_windows(16, 24).batch(seed=0, step=0, batch=2, window=4)
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(dataclasses.replace(TOKENIZER, encoder=SHALLOW, decoder=SHALLOW, **changes), 16, 24)
    learn(tokenizer, video, steps=400)
    assert mean_psnr(tokenizer.decode(tokenizer.encode(video)), video) > 35


def fresh_lam(**changes):
    torch.manual_seed(0)
    return LatentActionModel(dataclasses.replace(LAM, **changes), 30, 44, 4)


def test_the_papers_lam_learns_a_batch_by_heart():
    """It needs no code for that: a frame of this batch tells by itself which one follows."""
    video, _ = arcade_windows().batch(seed=0, step=0, batch=2, window=4)
    lam = fresh_lam()
    learn(lam, video, steps=250)
    assert mean_psnr(lam(video).next_frames, video[:, 1:]) > 35


@pytest.mark.slow
def test_one_frame_is_followed_by_as_many_others_as_there_are_codes_and_by_no_more():
    """What comes after the same frame only the code can tell: four futures take four codes.

    Codes that learn by gradient from a random start do not leave the one code that all latents choose first (16.4 dB
    after 400 steps, the mean of the futures, at learning rates of 1e-3 and 3e-3); codes that follow their latents and
    restart do.
    """
    frames = torch.from_numpy(arcade_clip(SEEDS[0]))
    futures = torch.stack([frames[[0, then]] for then in (1, 3, 5, 7)])

    def learned(codes):
        lam = fresh_lam(num_actions=codes, reconstruction_weight=10.0, ema_decay=0.9, restart_below=0.1)
        learn(lam, futures, steps=300)
        return mean_psnr(lam(futures).next_frames, futures[:, 1:]), len(lam.encode(futures).unique())

    psnr, used = learned(8)
    assert psnr > 35
    assert used == 4
    psnr, used = learned(2)
    assert psnr < 22, "the mean of two futures at best (18.8 dB)"
    assert used == 2


@pytest.mark.parametrize("injection", slow_but_first({name: name for name in ("add", "prepend", "film")}))
def test_dynamics_learns_by_heart_what_actions_lead_to(injection):
    """Three windows begin alike: with all that follows masked, only the actions tell them apart."""
    windows = arcade_windows()
    frames, tokenizer = torch.from_numpy(windows.clips.read(0)[0].load()), patch_tokenizer(windows)
    tokens = tokenizer.encode(torch.stack([frames[[0, then, then + 1, then + 2]] for then in (1, 4, 7)]))
    torch.manual_seed(0)
    rows = torch.randn(8, 32)[torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 0]])]
    config = dataclasses.replace(DYNAMICS, action_injection=injection)
    dynamics = Dynamics(config, num_codes=64, grid=tokenizer.grid, action_dim=32)
    optimizer = Optimizer(dynamics, PACE, 180)
    for step in range(180):
        mask = draw_mask(config, tuple(tokens.shape), torch.Generator().manual_seed(step))
        optimizer.step(dynamics.loss(tokens, rows, mask), step)
    with torch.inference_mode():
        everything = torch.ones_like(tokens, dtype=torch.bool)
        everything[:, 0] = False
        assert float(dynamics.loss(tokens, rows, everything)) < 0.05
        assert float(dynamics.loss(tokens, rows.roll(1, 0), everything)) > 1
