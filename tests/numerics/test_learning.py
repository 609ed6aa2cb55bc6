"""Each network can learn: one batch by heart, from any start."""

import pytest
import torch

from models.networks.dynamics import draw_mask
from models.runtime.compute import Compute
from models.training.data import Clip, ClipWindows
from models.training.optimizer import Optimizer
from models.training.tokenizer_training import TokenizerTraining, mean_psnr
from models.training.true_actions import true_actions
from models.training.world_training import WorldTraining
from pipeline.arcade.platformer import ACTIONS, platformer_actions, record_platformer
from pipeline.config.world import (
    DynamicsConfig,
    LatentActionConfig,
    OptimizerConfig,
    StackConfig,
    TokenizerConfig,
)

STACK = StackConfig(
    layers=2, d_model=64, heads=4, head_dim=16, kv_heads=4, ffw_multiple=4.0, temporal_positions="lag_bias"
)
PAIR_STACK = StackConfig(
    layers=2, d_model=64, heads=4, head_dim=16, kv_heads=4, ffw_multiple=4.0, temporal_attention=False,
    depthwise_conv="frame",
)  # fmt: skip
FAST = OptimizerConfig(learning_rate=3e-3, final_learning_rate=3e-4, warmup_steps=10, schedule="late_linear")
SLOW = OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-4, warmup_steps=4, schedule="late_linear")
TOKENIZER = TokenizerConfig(
    patch=10, codebook_size=256, latent_dim=32, encoder=STACK, decoder=STACK, window=3, batch=2, steps=60,
    optimizer=SLOW, reconstruction_weight=10.0, commitment=0.25, ema_decay=0.99, restart_below=0.0,
    start="patches",
)  # fmt: skip
CPU = Compute(torch.device("cpu"), torch.float32, "tests compare numbers")


@pytest.fixture(scope="module")
def windows():
    """Two short clips of the platformer, cut to 60x80 around the character."""
    import numpy as np

    def load(seed):
        return np.stack([frame[20:80, 40:120] for frame in record_platformer(seed, 12, fps=10)])

    return ClipWindows([Clip(str(seed), lambda seed=seed: load(seed)) for seed in (0, 1)], cache_clips=2)


@pytest.fixture(scope="module")
def tokenizer(windows):
    training = TokenizerTraining(TOKENIZER, windows, CPU, seed=0)
    training.initialize()
    return training.tokenizer


def test_a_tokenizer_learns_a_batch_by_heart(windows):
    training = TokenizerTraining(TOKENIZER, windows, CPU, seed=0)
    training.initialize()
    video, _ = windows.batch(seed=0, batch=2, window=3)
    for step in range(TOKENIZER.steps):
        loss, result = training.tokenizer.loss(video)
        training.optimizer.step(loss, step)
        training.tokenizer.quantizer.update(result.latents_BTPL, result.quantized.codes)
    assert mean_psnr(training.tokenizer.decode(training.tokenizer.encode(video)), video) > 42


def make_world(tokenizer, windows, truth=None, **changes):
    lam = LatentActionConfig(
        **{
            "patch": 10, "latent_dim": 8, "encoder": PAIR_STACK, "decoder": PAIR_STACK, "optimizer": FAST,
            "pooling": "antisymmetric", "normalize_latent": True, "decoder_output": "residual",
            "reconstruction_weight": 10.0, "ema_decay": 0.95, "restart_below": 0.1, "pca_start": True,
            "unquantized_steps": 40,
        } | changes
    )  # fmt: skip
    dynamics = DynamicsConfig(
        stack=StackConfig(
            layers=2, d_model=64, heads=4, head_dim=16, kv_heads=4, ffw_multiple=4.0, depthwise_conv="causal"
        ),
        context=3, batch=2, steps=80, optimizer=FAST, embedding_start="codebook",
    )  # fmt: skip
    return WorldTraining(lam, dynamics, tokenizer, windows, CPU, seed=0, truth_actions=truth)


def test_latent_actions_learn_a_batch_by_heart(tokenizer, windows):
    training = make_world(tokenizer, windows)
    training.initialize()
    video, _ = windows.batch(seed=0, batch=2, window=3)
    optimizer = Optimizer(training.lam, FAST, 150)
    for step in range(150):
        loss, result = training.lam.loss(video, continuous=True)
        optimizer.step(loss, step)
    assert mean_psnr(result.next_frames, video[:, 1:]) > 35


def test_dynamics_learns_a_batch_by_heart(tokenizer, windows):
    training = make_world(tokenizer, windows, truth=lambda clip: platformer_actions(int(clip), 12))
    training.initialize()
    video, places = windows.batch(seed=0, batch=2, window=3)
    rows = training.lam.quantizer.lookup(true_actions(training.truth_actions, places, training.config.drawn_frames - 1))
    tokens = training.tokenizer.encode(video)
    mask = draw_mask(training.config, tuple(tokens.shape), torch.Generator().manual_seed(0))
    optimizer = Optimizer(training.dynamics, FAST, 80)
    for step in range(80):
        loss = training.dynamics.loss(tokens, rows, mask)
        optimizer.step(loss, step)
    assert loss.item() < 0.05


def test_the_oracles_rows_name_the_true_actions(tokenizer, windows):
    training = make_world(tokenizer, windows, truth=lambda clip: platformer_actions(int(clip), 12))
    training.initialize()
    _, places = windows.batch(seed=0, batch=2, window=3)
    codes = true_actions(training.truth_actions, places, training.config.drawn_frames - 1)
    expected = [platformer_actions(int(p.clip_id), 12)[p.start : p.start + 2].tolist() for p in places]
    assert codes.tolist() == expected
    rows = training.lam.quantizer.lookup(codes)
    assert rows.argmax(-1).tolist() == expected
    assert len(ACTIONS) <= training.lam_config.num_actions


def test_no_gradient_of_the_dynamics_reaches_latent_actions_or_tokenizer(tokenizer, windows):
    """Two dynamics of different learning rates leave the same latent actions and tokenizer behind."""
    import dataclasses

    def after(rate):
        training = make_world(tokenizer, windows, unquantized_steps=0)
        training.config = dataclasses.replace(training.config, steps=3)
        training.optimizer.config = dataclasses.replace(FAST, learning_rate=rate)
        training.initialize()
        for step in range(3):
            training.step(step)
        return training

    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    slow, fast = after(1e-5), after(1e-2)
    assert not torch.equal(slow.dynamics.head.weight, fast.dynamics.head.weight)
    for name, value in slow.lam.state_dict().items():
        assert torch.equal(value, fast.lam.state_dict()[name]), name
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_codes_start_from_what_the_continuous_phase_learned(tokenizer, windows):
    training = make_world(tokenizer, windows, unquantized_steps=2)
    training.initialize()
    before = training.lam.quantizer.codebook.clone()
    pace = {"lam_gradient_norm", "lam_learning_rate"}
    assert set(training.step(0)) == {"lam_loss", "lam_psnr"} | pace
    training.step(1)
    assert torch.equal(training.lam.quantizer.codebook, before), "nothing is quantized so far"
    figures = training.step(2)
    assert {"loss", "lam_perplexity"} <= set(figures)
    assert not torch.equal(training.lam.quantizer.codebook, before)
