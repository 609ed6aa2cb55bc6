"""Settings of a world that trains in a second, for tests of what is around the training."""

from __future__ import annotations

import dataclasses

from pipeline.config import Config, EvaluationConfig, PlayConfig, TrainingConfig
from pipeline.config.world import (
    DynamicsConfig,
    LatentActionConfig,
    OptimizerConfig,
    StackConfig,
    TokenizerConfig,
)

STACK = StackConfig(layers=1, d_model=16, heads=1, head_dim=8)
FRAME_STACK = dataclasses.replace(STACK, temporal_attention=False)
OPTIMIZER = OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-4, warmup_steps=1)
CONFIG = Config(
    tokenizer=TokenizerConfig(
        patch=10, codebook_size=64, latent_dim=8, encoder=STACK, decoder=STACK, window=3, batch=1, steps=1,
        optimizer=OPTIMIZER, ema_decay=0.9, start="patches", min_psnr=1.0,
    ),
    latent_actions=LatentActionConfig(
        patch=10, latent_dim=8, encoder=FRAME_STACK, decoder=FRAME_STACK, optimizer=OPTIMIZER,
        pooling="antisymmetric", ema_decay=0.9, normalize_latent=True,
    ),
    dynamics=DynamicsConfig(stack=STACK, context=3, batch=1, steps=1, optimizer=OPTIMIZER),
    training=TrainingConfig(device="cpu", dtype="fp32", threads=1, eval_windows=1),
    evaluation=EvaluationConfig(
        windows_per_clip=1, prompt_frames=2, random_draws=1, maskgit_steps=1, token_temperature=1.0, shuffles=20,
        bootstrap_draws=100, inverse_dynamics_steps=1,
        doubt_windows=1, doubt_frames=3, rollout_frames=2, start_frames=2,
        feature_nets=("random3d", "own"), fidelity_frames=4, fidelity_windows=1, fidelity_draws=10,
        character_frames=4, character_windows=1, character_starts=1,
    ),
    play=PlayConfig(maskgit_steps=1, token_temperature=1.0),
)  # fmt: skip
