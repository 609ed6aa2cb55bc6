"""The paper's second domain: episodes of robots, cut whole, without their actions.

`robotics` has the published size, `robotics-small` one that two cores train in minutes on the simulated table top
(`lampworks tabletop`): enough to try the path, and too little for a world that answers. docs/experiments.md has finer
settings: docs/studies/tabletop.yaml, whose latent actions are directions, and tabletop-h100.yaml, whose world obeys
them. Both presets keep the recordings' true actions aside (`download.actions`): no training reads them, and the
evaluation compares latent actions with them.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.clips import ClipConfig, ShardConfig, SplitConfig
from pipeline.config.config import Config
from pipeline.config.curate import DecisionConfig
from pipeline.config.demo_world import demo_models
from pipeline.config.evaluation import EvaluationConfig, PlayConfig
from pipeline.config.source import DownloadConfig
from pipeline.config.world import DynamicsConfig, StackConfig

_DECISION = DecisionConfig(mode="flags", drop_flags=("black",), middle="keep")
"""Demonstrations are not curated: nobody rates them, a robot that stands still for long does so on purpose, and what
keeps its place before a fixed camera is no overlay."""


def robotics() -> Config:
    """Return the preset `robotics`: 2.5 billion parameters in all, as published.

    The dynamics is that of table 11, with the heads of keys and values that bring the sum nearest to 2.5 billion. The
    paper gives neither its batch and steps (these are the best of table 11) nor the size and rate of its pictures
    (these are those of its games: `clips.fps`, `width` and `height` are better those of one's own cameras).
    """
    stack = StackConfig(layers=34, d_model=2560, heads=20, head_dim=128, kv_heads=4, qk_norm=True)
    return Config(
        preset="robotics",
        download=DownloadConfig(actions="keep"),
        clips=ClipConfig(mode="episodes"),
        decision=_DECISION,
        dynamics=DynamicsConfig(stack=stack, batch=448, steps=200_000),
    )


def robotics_small() -> Config:
    """Return the preset `robotics-small`: square pictures of 64 tokens, and the demo's networks with fewer steps.

    The demo's windows of two frames do here too: the table's friction ends every motion, so a picture says all that
    the next one depends on.
    """
    tokenizer, latent_actions, dynamics, training = demo_models()
    return Config(
        preset="robotics-small",
        download=DownloadConfig(actions="keep", min_height=64),
        clips=ClipConfig(mode="episodes", width=64, height=64, aspect="crop"),
        split=SplitConfig(val_share=0.25, test_share=0.0),
        decision=_DECISION,
        shards=ShardConfig(samples_per_shard=32),
        # a few dozen tables show few of the places and angles at which patches meet outlines: held out, 4 dB are lost
        tokenizer=replace(tokenizer, patch=8, batch=32, steps=120, min_psnr=22.0),
        # the camera is fixed, so nothing enters at the sides
        latent_actions=replace(latent_actions, patch=8, unquantized_steps=350, loss_margin=0),
        dynamics=replace(dynamics, steps=700),
        training=replace(training, cache_tokens=24_000),
        evaluation=EvaluationConfig(maskgit_steps=1, token_temperature=0.0, kmeans_patches=6_000),
        play=PlayConfig(maskgit_steps=1, token_temperature=0.0),
    )
