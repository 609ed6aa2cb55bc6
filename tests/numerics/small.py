"""The paper's networks at a size that one core trains in seconds, and a few frames of the arcade.

Blocks are the paper's: rotary positions in time, normalised queries and keys, one head of keys and values, a
feed-forward of 2x; patches of 4 and 16, a causal LAM encoder with mean pooling, a decoder that ends in a sigmoid.
"""

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer, initialize_from_patches
from models.runtime.compute import Compute
from models.training import unseen_actions, world_training
from models.training.data import Clip, ClipWindows
from models.training.world_training import WorldTraining
from pipeline.arcade.platformer import record_platformer
from pipeline.config.world import (
    DynamicsConfig,
    LatentActionConfig,
    OptimizerConfig,
    StackConfig,
    TokenizerConfig,
)

CPU = Compute(torch.device("cpu"), torch.float32, "tests compare numbers")
CONTEXT, HEIGHT, WIDTH = 4, 30, 44
SEEDS = (108, 45)
"""Recordings of the two themes whose character moves all the time, both ways and up and down."""
STACK = StackConfig(layers=2, d_model=64, heads=4, head_dim=16, kv_heads=1, ffw_multiple=2.0, qk_norm=True)
PACE = OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-3, warmup_steps=5)
TOKENIZER = TokenizerConfig(
    patch=4, codebook_size=64, latent_dim=32, encoder=STACK, decoder=STACK, window=CONTEXT, batch=2, steps=20,
    optimizer=PACE,
)  # fmt: skip
LAM = LatentActionConfig(patch=16, num_actions=8, latent_dim=32, encoder=STACK, decoder=STACK, optimizer=PACE)
DYNAMICS = DynamicsConfig(stack=STACK, context=CONTEXT, batch=2, steps=20, optimizer=PACE)


def arcade_clip(seed, height=HEIGHT, width=WIDTH):
    """A short clip of the platformer, cut out around the character, uint8 (T, H, W, 3)."""
    frames = record_platformer(seed, 12, fps=10)
    return np.stack([frame[75 - height : 75, 58 : 58 + width] for frame in frames])


def arcade_windows(height=HEIGHT, width=WIDTH):
    """Windows of two such clips, named by their seeds."""
    clips = [Clip(str(seed), lambda seed=seed: arcade_clip(seed, height, width)) for seed in SEEDS]
    return ClipWindows(clips, cache_clips=2)


def stir(network, std=0.2):
    """Give every part of a network something to say: fresh parts add zero, fresh norms change nothing."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1 or "out.weight" in name or "ffw.2" in name or "embed_action" in name:
            noise = torch.randn(parameter.shape, generator=generator) * std
            parameter.data += noise.to(parameter.dtype)
    return network


def make_tokenizer(height=HEIGHT, width=WIDTH, **changes):
    torch.manual_seed(0)
    return stir(VideoTokenizer(dataclasses.replace(TOKENIZER, **changes), height, width)).eval()


def make_lam(height=HEIGHT, width=WIDTH, **changes):
    torch.manual_seed(0)
    return stir(LatentActionModel(dataclasses.replace(LAM, **changes), height, width, CONTEXT)).eval()


def make_dynamics(grid=(3, 5), **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(DYNAMICS, **changes)
    return stir(Dynamics(config, num_codes=64, grid=grid, action_dim=32)).eval()


def patch_tokenizer(windows, **changes):
    """A tokenizer whose codes are spread over the clips' patches: frames have different tokens before any training."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(dataclasses.replace(TOKENIZER, start="patches", **changes), *windows.shape[1:])
    initialize_from_patches(tokenizer, windows.spread(count=16, window=1))
    return tokenizer


@contextmanager
def in_double(*networks):
    """Turn networks into fp64 (in place: optimizers keep their parameters).

    Where they keep fp32 whatever the products' dtype (`.float()`), they keep fp64 inside the block.
    """
    for network in networks:
        network.double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


def fresh_networks(tokenizer, latent_actions, dynamics, height, width):
    """Networks as a training makes them, by name."""
    torch.manual_seed(0)
    first = VideoTokenizer(tokenizer, height, width)
    seen = {"num_codes": tokenizer.codebook_size, "grid": first.grid}
    torch.manual_seed(0)
    second = LatentActionModel(latent_actions, height, width, dynamics.context, **seen)
    third = Dynamics(dynamics, action_dim=latent_actions.latent_dim, **seen)
    return {"tokenizer": first, "latent_actions": second, "dynamics": third}


def short_prior(monkeypatch):
    """Let an action prior learn in few steps from few windows, and call about half of the actions unseen."""
    monkeypatch.setattr(unseen_actions, "_SHOWN", 0.125)
    monkeypatch.setattr(unseen_actions, "_STEPS", 10)
    monkeypatch.setattr(world_training, "_PRIOR_BATCHES", 4)


def few_first_codes(monkeypatch):
    """Make the first codes of a LAM of 2 batches instead of 100: where only how they are made is tested."""
    monkeypatch.setattr(world_training, "_CODES_BATCHES", 2)


def make_world_training(windows, lam=None, cache_tokens=0, architecture="st_vivit", **changes):
    """Return a started co-training; `changes` are of the dynamics' settings, `lam` of the LAM's."""
    sections = dataclasses.replace(LAM, **(lam or {})), dataclasses.replace(DYNAMICS, **changes)
    tokenizer = patch_tokenizer(windows, architecture=architecture)
    training = WorldTraining(*sections, tokenizer, windows, CPU, seed=0, cache_tokens=cache_tokens)
    training.initialize()
    return training
