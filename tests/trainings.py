"""Trainings that take a second: settings, four training clips and two held-out ones, and what tests ask of them."""

import dataclasses
import os

import numpy as np

from assets.settings import load_settings, save_config
from pipeline.config import Config, ShardConfig
from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, OptimizerConfig, StackConfig, TokenizerConfig
from pipeline.ids import clip_id_of
from tests.media import video_bytes
from tests.shards import SPEC, add_shards

STACK = StackConfig(layers=1, d_model=16, heads=2, head_dim=8, kv_heads=2, temporal_positions="lag_bias")
FRAME_STACK = dataclasses.replace(STACK, temporal_attention=False, depthwise_conv="frame")
OPTIMIZER = OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-4, warmup_steps=1)
CONFIG = Config(
    shards=ShardConfig(samples_per_shard=8),
    tokenizer=TokenizerConfig(
        patch=8, codebook_size=32, latent_dim=8, encoder=STACK, decoder=STACK, window=4, batch=2, steps=4,
        optimizer=OPTIMIZER, ema_decay=0.9, start="patches",
    ),
    latent_actions=LatentActionConfig(
        patch=8, latent_dim=8, encoder=FRAME_STACK, decoder=FRAME_STACK, optimizer=OPTIMIZER,
        pooling="antisymmetric", unquantized_steps=3, decoder_output="residual", ema_decay=0.9,
        restart_below=0.1, pca_start=True, normalize_latent=True,
    ),
    dynamics=DynamicsConfig(
        stack=dataclasses.replace(STACK, depthwise_conv="causal"), context=4, batch=2, steps=4, optimizer=OPTIMIZER,
        embedding_start="codebook",
    ),
    training=TrainingConfig(device="cpu", dtype="fp32", threads=1, checkpoint_every=2, eval_windows=4),
)  # fmt: skip


def mp4(number):
    """A small clip of 12 frames: a bright block that moves."""
    frames = np.full((12, 16, 32, 3), 40 * number, np.uint8)
    for index in range(12):
        column = (3 * index + 5 * number) % 24
        frames[index, 4:12, column : column + 8] = 220
    return video_bytes(frames, fps=10)


def clip_id(number):
    return clip_id_of(f"site-v{number}", 0, SPEC)


def add_training_shards(store):
    """Publish shards of four training clips and two held-out ones, each of a video of its own."""
    splits = {"train": range(4), "val": range(4, 6)}
    add_shards(store, {split: {clip_id(n): mp4(n) for n in numbers} for split, numbers in splits.items()})
    return store


def small_root(store, monkeypatch):
    """Return the settings of a store to which training shards are added: it trains in a second, without a gate."""
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)
    store.replace("shards", [])
    add_training_shards(store)
    found = load_settings(store.root)
    small = {name: getattr(CONFIG, name) for name in ("latent_actions", "dynamics", "training")}
    config = dataclasses.replace(found.config, tokenizer=dataclasses.replace(CONFIG.tokenizer, min_psnr=0.0), **small)
    save_config(dataclasses.replace(found, config=config))
    return load_settings(store.root)


def weights(store, kind):
    keys = [key for key in store.list_blobs(f"models/{kind}") if key.endswith("weights.safetensors")]
    assert len(keys) == 1
    return store.read_blob(keys[0])


def killed_after(step):
    def on_step(now, figures):
        if now == step:
            raise KeyboardInterrupt

    return on_step
