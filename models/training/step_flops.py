"""Operations of a training step: forward and backward of what learns, forward of what it reads.

What is computed twice to save memory (activation checkpointing) counts once, and rollouts on the dynamics' own
predictions do not count, as usual for the utilisation of a model.
"""

from __future__ import annotations

import torch

from models.networks.dynamics import draw_mask
from models.runtime.flops import TRAINING, dynamics_flops, lam_flops, stack_flops, tokenizer_flops
from models.training.rate import StepSize
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from pipeline.config.world import DynamicsConfig


def step_size(training: TokenizerTraining | WorldTraining) -> StepSize:
    """Return what a step of a training works through."""
    if isinstance(training, TokenizerTraining):
        config = training.config
        flops = TRAINING * tokenizer_flops(training.tokenizer, config.batch, config.window)
        return StepSize(config.batch, config.window, lambda step: flops)
    alone, joint = _world_flops(training)
    frames = training.config.drawn_frames
    return StepSize(training.config.batch, frames, lambda step: alone if step <= training.alone_steps else joint)


def _world_flops(training: WorldTraining) -> tuple[float, float]:
    """Return the operations of a step of the LAM alone, and of a step of both."""
    config, dynamics, tokenizer = training.config, training.dynamics, training.tokenizer
    batch, frames = config.batch, config.context
    lam = lam_flops(training.lam, batch, frames)
    rows = round(batch * frames * tokenizer.num_tokens * _masked_share(config))
    joint: float = TRAINING * dynamics_flops(dynamics, batch, frames, rows)
    # tokens that are kept are encoded once; later steps read them
    encoded = 0 if training.token_cache is not None else stack_flops(tokenizer.encoder, batch, frames)
    every = training.lam_config.update_every
    if training.truth_actions is None:
        joint += TRAINING * lam / every if every else (0 if training.code_cache is not None else lam / 2)
    alone = TRAINING * lam + (encoded if training.lam.reads_tokens else 0)
    return alone, joint + encoded


def _masked_share(config: DynamicsConfig) -> float:
    """Return the share of tokens that are masked, whose logits alone the loss needs, over many drawn masks."""
    masks = draw_mask(config, (512, config.context, 4), torch.Generator().manual_seed(0))
    return float(masks.float().mean())
