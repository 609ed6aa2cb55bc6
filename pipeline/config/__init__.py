"""The configuration: one YAML file of frozen dataclasses, and presets to start from.

They are `demo`, `coinrun`, `robotics`, `robotics-small`, `platformers`, and `platformers-41m` to `platformers-10.1b`.

Every field carries a sentence that says what it does. A wrong field is refused with its name, its value and the
fix. A YAML file starts from a preset and changes what it names:

    preset: platformers
    source: {spec: "folder:/videos"}
    clips: {crf: 23}
"""

from __future__ import annotations

from pipeline.config.audit import AuditConfig
from pipeline.config.clips import ClipConfig, DuplicateConfig, ShardConfig, SplitConfig
from pipeline.config.config import Config, fingerprint
from pipeline.config.curate import ClassifierConfig, DecisionConfig, LabelConfig
from pipeline.config.describe import Setting, describe_settings
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.engine import EngineConfig
from pipeline.config.evaluation import EvaluationConfig, PlayConfig
from pipeline.config.load import load_config, parse_config, parse_overrides
from pipeline.config.presets import PRESETS, preset
from pipeline.config.reference import config_reference
from pipeline.config.source import ArcadeConfig, DownloadConfig, RulesConfig, SourceConfig
from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, TokenizerConfig

__all__ = [
    "PRESETS", "ArcadeConfig", "AuditConfig", "ClassifierConfig", "ClipConfig", "Config", "DecisionConfig",
    "DownloadConfig", "DuplicateConfig", "DynamicsConfig", "EmbeddingConfig", "EngineConfig", "EvaluationConfig",
    "LabelConfig", "LatentActionConfig", "PlayConfig", "RulesConfig", "Setting", "ShardConfig", "SourceConfig",
    "SplitConfig", "TokenizerConfig", "TrainingConfig", "config_reference", "describe_settings", "fingerprint",
    "load_config", "parse_config", "parse_overrides", "preset",
]  # fmt: skip
