"""What a latent action model of the paper's kind learns of the arcade's actions in a few hundred steps."""

import numpy as np
import pytest
import torch

from models.metrics import count_pairs, mutual_information, shifted_information
from models.networks.latent_actions import LatentActionModel
from models.runtime.compute import choose_compute, intra_op_threads
from models.training.checkpoint import step_generator
from models.training.code_metrics import code_metrics
from models.training.data import Clip, ClipWindows
from models.training.optimizer import Optimizer
from pipeline.arcade.platformer import ACTIONS, platformer_actions, record_platformer
from pipeline.config.training import TrainingConfig
from pipeline.config.world import LatentActionConfig, OptimizerConfig, StackConfig

pytestmark = pytest.mark.slow
STEPS, NUM_FRAMES, CONTEXT = 200, 80, 5
SEEN = slice(50, 110)
"""Columns of a frame that the model sees: the character, which keeps its place, and 20 pixels on either side."""
TRAIN, VAL = range(32), range(32, 44)


def clip(seed):
    return np.stack([frame[:, SEEN] for frame in record_platformer(seed, NUM_FRAMES, fps=10)])


def recorded(seeds):
    return ClipWindows([Clip(str(seed), lambda seed=seed: clip(seed)) for seed in seeds], cache_clips=len(seeds))


def learned(**settings):
    """Return the codes (clips, transitions) that a trained LAM gives held-out clips."""
    stack = StackConfig(layers=1, d_model=64, heads=4, head_dim=16, kv_heads=4, temporal_positions="lag_bias")
    pace = OptimizerConfig(learning_rate=2e-3, final_learning_rate=1e-4, warmup_steps=10, schedule="late_linear")
    config = LatentActionConfig(
        patch=10, latent_dim=8, encoder=stack, decoder=stack, ema_decay=0.95, restart_below=0.1,
        reconstruction_weight=10.0, **settings,
    )  # fmt: skip
    train = recorded(TRAIN)
    torch.manual_seed(0)
    lam = LatentActionModel(config, 90, SEEN.stop - SEEN.start, CONTEXT)
    optimizer, compute = Optimizer(lam, pace, STEPS), choose_compute(TrainingConfig(device="cpu"))
    for step in range(STEPS):
        video, _ = train.batch(seed=0, step=step, batch=4, window=CONTEXT)
        with compute.autocast():
            loss, result = lam.loss(video)
        optimizer.step(loss, step)
        lam.quantizer.update(result.latents_BTL, result.quantized.codes, step_generator(0, 0, step))
    step = CONTEXT - 1
    codes = []
    with torch.inference_mode():
        for seed in VAL:
            video = torch.from_numpy(clip(seed))
            windows = torch.stack([video[at : at + CONTEXT] for at in range(0, NUM_FRAMES - step, step)])
            codes.append(lam.encode(windows).flatten())
    return torch.stack(codes)


def information(codes):
    """Return the mutual information (nat) with the true actions, and the most that shifted codes of the clips have."""
    actions = [platformer_actions(seed, NUM_FRAMES)[: codes.shape[1]].astype(np.int64) for seed in VAL]
    rows, size = list(codes.numpy()), (8, len(ACTIONS))
    found = mutual_information(count_pairs(np.concatenate(rows), np.concatenate(actions), *size))
    left = shifted_information(rows, actions, *size, draws=50, rng=np.random.default_rng(0))
    return float(found), float(left.max())


def test_codes_of_differences_and_directions_name_actions():
    with intra_op_threads():
        codes = learned(pooling="difference", cosine=True, window=2)
    found, left = information(codes)
    print(f"{found:.2f} nat of the true action, {left:.2f} by chance: {code_metrics(codes, 8)}")
    # 0.19 nat when this was written, 0.27 with another seed; of 1.6 that are possible, of which a scroll alone is 1.1
    assert found > 0.12
    # the most of 50 shifts: kept keys make chance several times what single shuffled transitions said
    assert found > 2 * left
