"""The first weights of a co-training: embeddings and codes from data where the configuration asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from models.networks.dynamics import Dynamics, initialize_from_codebook
from models.networks.latent_actions import LatentActionModel, initialize_embeddings
from models.networks.latent_start import start_latent_actions
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute
from models.training.checkpoint import step_generator
from models.training.data import ClipWindows
from pipeline.config.world import DynamicsConfig, LatentActionConfig

CODES_STREAM = 3
_FRAMES, _WINDOWS = 256, 32


class FreshWorld(Protocol):
    """What is initialized, as `WorldTraining` holds it."""

    lam: LatentActionModel
    dynamics: Dynamics
    tokenizer: VideoTokenizer
    windows: ClipWindows
    compute: Compute
    config: DynamicsConfig
    lam_config: LatentActionConfig
    alone_steps: int
    seed: int
    led_by_truth: bool
    """Whether true actions take the place of latent ones."""


def initialize_world(world: FreshWorld, read: Callable[[Tensor, int], Tensor]) -> None:
    """Initialize LAM and dynamics from data where configured.

    Args:
        world: fresh networks, and the data.
        read: returns the LAM's input for a video, computed in so many parts.
    """
    device, context = world.compute.device, world.config.context
    if world.led_by_truth:
        # the codebook holds the true actions one-hot: the oracle world is then used like any other
        with torch.no_grad():
            world.lam.quantizer.codebook.copy_(torch.eye(world.lam_config.num_actions, world.lam_config.latent_dim))
    elif world.lam_config.pca_start:
        frames = world.windows.spread(count=_FRAMES, window=1)
        initialize_embeddings(world.lam, frames.to(device))
    if world.config.embedding_start == "codebook":
        initialize_from_codebook(world.dynamics, world.tokenizer.quantizer.rows())
    if not world.led_by_truth and not world.alone_steps and world.lam_config.start == "latents":
        windows = world.windows.spread(count=_WINDOWS, window=context).to(device)
        frames = read(windows, len(windows))
        start_latent_actions(world.lam, frames, step_generator(world.seed, CODES_STREAM, 0))
