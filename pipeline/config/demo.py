"""The `demo` preset: the embedded source and sizes that two cores train in minutes."""

from __future__ import annotations

from pipeline.config.clips import ShardConfig, SplitConfig
from pipeline.config.config import Config
from pipeline.config.curate import ClassifierConfig, DecisionConfig, LabelConfig
from pipeline.config.demo_world import demo_models
from pipeline.config.evaluation import EvaluationConfig, PlayConfig
from pipeline.config.source import SourceConfig


def demo() -> Config:
    """Return the preset of `lampworks demo`."""
    tokenizer, latent_actions, dynamics, training = demo_models()
    return Config(
        preset="demo",
        source=SourceConfig(spec="arcade", batch_size=16),
        # two dozen good sources: nine are held out, and a test split would take sources that training needs
        split=SplitConfig(val_share=0.3, test_share=0.0),
        labels=LabelConfig(min_per_class=8),
        # a small network and few steps: five folds of it take most of the classifier's time
        classifier=ClassifierConfig(width=16, input_height=45, steps=60, batch=32, learning_rate=2e-3),
        decision=DecisionConfig(),
        shards=ShardConfig(samples_per_shard=32),
        tokenizer=tokenizer,
        latent_actions=latent_actions,
        dynamics=dynamics,
        training=training,
        # temperature 1 costs a model this small 2 dB; several steps make one character of what could stand or fall
        # 80 rollouts of 10 sources: of 30, one seed's character was kept in 0.83 after 30 frames, of these in 0.94
        evaluation=EvaluationConfig(
            maskgit_steps=4,
            unmask_schedule="geometric",
            token_temperature=0.0,
            kmeans_patches=6_000,
            character_windows=8,
        ),
        # windows of two frames cost little to recompute
        play=PlayConfig(maskgit_steps=4, unmask_schedule="geometric", token_temperature=0.0),
    )
