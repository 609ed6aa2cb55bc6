"""No training starts collapsed: codes are in use from the first step of every preset, and the picture gets better.

The presets' own settings with narrow stacks, few windows a step, and small frames of the arcade. Warm-ups are as long,
beside the steps, as the preset's own.
"""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from models.networks.quantizer import PARKED, usage
from models.training.data import Clip, ClipWindows
from models.training.tokenizer_training import TokenizerTraining, mean_psnr
from models.training.world_training import WorldTraining
from pipeline.arcade.platformer import record_platformer
from pipeline.config import PRESETS, preset
from tests.numerics.small import CPU, few_first_codes, short_prior

HEIGHT, WIDTH, STEPS = 24, 32, 40
SEEDS = (3, 14, 31, 36, 38, 46)
"""Recordings, three of each theme, whose character hardly ever stands still."""
PAPER = ("coinrun", "platformers")
"""All `platformers-...` presets have the tokenizer and the LAM of `platformers`."""


@pytest.fixture(scope="module")
def windows():
    """Six short recordings of the platformer, made small."""

    def load(seed):
        frames = record_platformer(seed, 20, fps=10)
        return np.stack([np.asarray(Image.fromarray(frame).resize((WIDTH, HEIGHT), Image.BOX)) for frame in frames])

    return ClipWindows([Clip(str(seed), lambda seed=seed: load(seed)) for seed in SEEDS], cache_clips=6)


def narrow(stack):
    return dataclasses.replace(
        stack, layers=1, d_model=48, heads=2, head_dim=16, kv_heads=1 if stack.kv_heads == 1 else 2
    )


def short(section, config, steps=STEPS):
    """The optimizer of a section for so few steps."""
    warmup = max(1, round(section.optimizer.warmup_steps * steps / config.steps))
    return dataclasses.replace(section.optimizer, warmup_steps=warmup)


def small_tokenizer(name, **changes):
    section = preset(name).tokenizer
    return dataclasses.replace(
        section, encoder=narrow(section.encoder), decoder=narrow(section.decoder), batch=3, steps=STEPS,
        optimizer=short(section, section), **changes,
    )  # fmt: skip


def small_world(name, latent_actions=None, **changes):
    config = preset(name)
    lam, dynamics = config.latent_actions, config.dynamics
    return (
        dataclasses.replace(
            lam, encoder=narrow(lam.encoder), decoder=narrow(lam.decoder), optimizer=short(lam, dynamics),
            **(latent_actions or {}),
        ),
        dataclasses.replace(
            dynamics, stack=narrow(dynamics.stack), batch=3, steps=STEPS, optimizer=short(dynamics, dynamics), **changes
        ),
    )  # fmt: skip


def started_tokenizer(windows, section):
    training = TokenizerTraining(section, windows, CPU, seed=0)
    training.initialize()
    return training


def started_world(windows, tokenizer, sections):
    training = WorldTraining(*sections, tokenizer, windows, CPU, seed=0)
    training.initialize()
    return training


@pytest.fixture(scope="module")
def tokenizer(windows):
    return started_tokenizer(windows, small_tokenizer("coinrun")).tokenizer


@torch.no_grad()
def tokenizer_figures(tokenizer, windows):
    """Return codes used, their perplexity, and the PSNR."""
    video = windows.spread(count=12, window=tokenizer.config.window)
    tokens = tokenizer.encode(video)
    return *usage(tokens, tokenizer.config.codebook_size), mean_psnr(tokenizer.decode(tokens), video)


@torch.no_grad()
def lam_figures(training, windows):
    """Return codes used, their perplexity, and the loss of the predicted frames."""
    frames = training._read(windows.spread(count=12, window=training.config.context))
    loss, result = training.lam.loss(frames)
    return *usage(result.quantized.codes, training.lam_config.num_actions), float(loss - result.quantized.loss)


def learn_actions(training, steps):
    """Steps of the LAM alone, as it takes them beside the dynamics."""
    for step in range(steps):
        video, _ = next(training.batches)
        training.lam_steps.take(training._read(video), step)


@pytest.mark.parametrize("name", PAPER)
def test_the_tokenizer_of_a_preset_starts_with_codes_in_use_keeps_them_and_learns(windows, name):
    training = started_tokenizer(windows, small_tokenizer(name))
    used, perplexity, before = tokenizer_figures(training.tokenizer, windows)
    assert used > 500
    assert perplexity > 200
    for step in range(STEPS):
        training.step(step)
    used, perplexity, after = tokenizer_figures(training.tokenizer, windows)
    assert used > 500, "of 1024"
    assert perplexity > 200
    assert after > before + 3, "dB"


TOKENIZERS = {
    "cosine": {"cosine": True},
    "EMA": {"ema_decay": 0.99},
    "FSQ": {"quantizer": "fsq", "latent_dim": 5},
    "ViT": {"architecture": "vit"},
}


@pytest.mark.parametrize("changes", TOKENIZERS.values(), ids=TOKENIZERS)
def test_no_kind_of_tokenizer_starts_collapsed(windows, changes):
    training = started_tokenizer(windows, small_tokenizer("coinrun", **changes))
    used, perplexity, before = tokenizer_figures(training.tokenizer, windows)
    assert used > 103, "a tenth"
    assert perplexity > 30
    for step in range(20):
        training.step(step)
    used, perplexity, after = tokenizer_figures(training.tokenizer, windows)
    assert used > 103
    assert perplexity > 20
    assert after > before + 0.5


def test_the_demos_tokenizer_starts_with_codes_in_use(windows):
    training = started_tokenizer(windows, small_tokenizer("demo"))
    used, perplexity, psnr = tokenizer_figures(training.tokenizer, windows)
    assert used > 50, "of the 144 patches of 12 frames"
    assert perplexity > 20
    assert psnr > 20


@pytest.mark.parametrize("name", PAPER)
def test_the_latent_actions_of_a_preset_start_with_codes_in_use_keep_them_and_learn(windows, tokenizer, name):
    training = started_world(windows, tokenizer, small_world(name))
    codes = training.lam_config.num_actions
    used, perplexity, before = lam_figures(training, windows)
    assert used == codes
    assert perplexity > codes / 2
    learn_actions(training, 80)
    used, perplexity, after = lam_figures(training, windows)
    assert used >= codes / 2
    assert perplexity > codes / 2
    assert after < 0.99 * before


LATENT_ACTIONS = {
    "cosine": {"cosine": True},
    "EMA": {"ema_decay": 0.95},
    "tokens": {"input": "tokens"},
    "difference": {"pooling": "difference"},
    "normalized": {"normalize_latent": True},
    "residual": {"decoder_output": "residual"},
    "windows": {"window": 6},
}


@pytest.mark.parametrize("changes", LATENT_ACTIONS.values(), ids=LATENT_ACTIONS)
def test_no_kind_of_latent_actions_starts_collapsed(windows, tokenizer, changes):
    training = started_world(windows, tokenizer, small_world("coinrun", changes))
    used, perplexity, before = lam_figures(training, windows)
    assert used == 6
    assert perplexity > 3
    learn_actions(training, 10)
    used, perplexity, after = lam_figures(training, windows)
    assert used >= 3
    assert perplexity > 2
    assert after < 1.01 * before


def test_pairs_start_with_codes_in_use(windows, tokenizer):
    """Antisymmetric pooling has no bias that could centre its latents: a still pair stays at 0."""
    lam, dynamics = small_world("coinrun")
    pairs = dataclasses.replace(lam.encoder, temporal_attention=False)
    lam = dataclasses.replace(lam, encoder=pairs, pooling="antisymmetric")
    training = started_world(windows, tokenizer, (lam, dynamics))
    used, perplexity, _ = lam_figures(training, windows)
    assert used >= 3
    assert perplexity > 2
    still = torch.zeros(1, 2, HEIGHT, WIDTH, 3)
    assert training.lam.latents(still).abs().max() == 0


def test_the_sizes_of_the_papers_model_share_its_tokenizer_and_its_latent_actions():
    paper = preset("platformers")
    sizes = [preset(name) for name in PRESETS if name.startswith("platformers-")]
    assert len(sizes) == 8
    assert {(size.tokenizer, size.latent_actions) for size in sizes} == {(paper.tokenizer, paper.latent_actions)}


def test_networks_as_they_are_drawn_start_collapsed(windows, tokenizer):
    """What the start from real frames is for."""
    random = started_tokenizer(windows, small_tokenizer("coinrun", start="random"))
    assert tokenizer_figures(random.tokenizer, windows)[0] < 10
    world = started_world(windows, tokenizer, small_world("coinrun", {"start": "random"}))
    assert lam_figures(world, windows)[0] <= 2


@pytest.mark.parametrize("injection", ["add", "prepend", "film"])
@pytest.mark.parametrize("name", [*PAPER, "demo"])
def test_embeddings_of_actions_start_as_large_as_those_of_tokens(windows, tokenizer, name, injection, monkeypatch):
    few_first_codes(monkeypatch)
    short_prior(monkeypatch)
    lam, dynamics = small_world(name)
    if injection == "prepend":
        dynamics = dataclasses.replace(dynamics, stack=dataclasses.replace(dynamics.stack, depthwise_conv="none"))
    dynamics = dataclasses.replace(dynamics, action_injection=injection)
    # the demo's codes are there after the steps without quantization
    lam = dataclasses.replace(lam, unquantized_steps=min(1, lam.unquantized_steps))
    training = started_world(windows, tokenizer, (lam, dynamics))
    if lam.unquantized_steps:
        training.step(0)
        training.optimizer.apply = lambda *_, **__: 0.0
        training.step(1)
    with torch.no_grad():
        # codes that nothing has used yet are parked far away
        tokens = training.dynamics.embed(torch.nonzero(tokenizer.quantizer.rows()[:, 0] < PARKED / 2)[:, 0])
        actions = training.dynamics.embed_action(training.lam.quantizer.rows())
    if injection == "film":
        scales, actions = actions.chunk(2, -1)
        assert not scales.any(), "a fresh action scales nothing"
    size = actions.square().mean().sqrt()
    assert size == pytest.approx(float(tokens.square().mean().sqrt()), rel=1e-4)
    if injection == "prepend":
        none = training.dynamics.no_action.detach().square().mean().sqrt()
        assert none == pytest.approx(float(size), rel=1e-4)
