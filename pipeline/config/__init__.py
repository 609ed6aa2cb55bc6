"""The configuration: one YAML file of frozen dataclasses, and presets to start from.

They are `demo`, `coinrun`, `platformers`, and `platformers-41m` to `platformers-10.1b`.

Every field carries a sentence that says what it does. A wrong field is refused with its name, its value and the
fix. A YAML file starts from a preset and changes what it names:

    preset: platformers
    source: {spec: "folder:/videos"}
    clips: {crf: 23}
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipeline.config.clips import ClipConfig, DuplicateConfig, ShardConfig, SplitConfig
from pipeline.config.curate import ClassifierConfig, DecisionConfig, LabelConfig
from pipeline.config.evaluation import EvaluationConfig, PlayConfig
from pipeline.config.source import ArcadeConfig, DownloadConfig, EngineConfig, RulesConfig, SourceConfig
from pipeline.config.world import (
    DYNAMICS_SIZES,
    DynamicsConfig,
    LatentActionConfig,
    TokenizerConfig,
    TrainingConfig,
    check_lam_window,
    platformers_models,
)
from pipeline.errors import UserError

__all__ = [
    "PRESETS", "ArcadeConfig", "ClassifierConfig", "ClipConfig", "Config", "DecisionConfig", "DownloadConfig",
    "DuplicateConfig", "DynamicsConfig", "EngineConfig", "EvaluationConfig", "LabelConfig", "LatentActionConfig",
    "PlayConfig", "RulesConfig", "ShardConfig", "SourceConfig", "SplitConfig", "TokenizerConfig", "TrainingConfig",
    "fingerprint", "load_config", "preset",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run of the graph can be told; the defaults are the `platformers` preset."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    preset: str = "platformers"
    """Name of the preset that this configuration started from."""
    source: SourceConfig = field(default_factory=SourceConfig)
    """Where videos come from."""
    arcade: ArcadeConfig = field(default_factory=ArcadeConfig)
    """What the embedded source records."""
    rules: RulesConfig = field(default_factory=RulesConfig)
    """Which search results are kept."""
    download: DownloadConfig = field(default_factory=DownloadConfig)
    """How videos are fetched."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """How items are spread over worker processes."""
    clips: ClipConfig = field(default_factory=ClipConfig)
    """What a clip is and how it is stored."""
    duplicates: DuplicateConfig = field(default_factory=DuplicateConfig)
    """When two clips are near-duplicates."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How sources are divided into train and val."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """How clips are chosen for labelling."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """The quality classifier."""
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    """How scores and flags become keep, drop or review."""
    shards: ShardConfig = field(default_factory=ShardConfig)
    """The training shards."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The video tokenizer."""
    latent_actions: LatentActionConfig = field(default_factory=LatentActionConfig)
    """The latent action model."""
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    """The dynamics model."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """What all training runs share."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the world model is measured."""
    play: PlayConfig = field(default_factory=PlayConfig)
    """How the world is played."""

    def __post_init__(self) -> None:
        check_lam_window(self.latent_actions.window, self.dynamics.context)


def fingerprint(*parts: object, length: int = 12) -> str:
    """Return a short hash of configuration sections and other JSON-able values: equal inputs, equal hash."""
    plain = [
        dataclasses.asdict(part) if dataclasses.is_dataclass(part) and not isinstance(part, type) else part
        for part in parts
    ]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:length]


def _demo() -> Config:
    from pipeline.config.demo import demo

    return demo()


def _coinrun() -> Config:
    from pipeline.config.world import coinrun_models

    return dataclasses.replace(Config(preset="coinrun"), **coinrun_models())


def _platformers(size: str) -> Config:
    return dataclasses.replace(Config(preset=f"platformers-{size}"), **platformers_models(size))


PRESETS: dict[str, Callable[[], Config]] = {
    "demo": _demo,
    "coinrun": _coinrun,
    "platformers": Config,
    **{f"platformers-{size}": partial(_platformers, size) for size in DYNAMICS_SIZES},
}


def preset(name: str) -> Config:
    """Return a preset by name; UserError lists the names."""
    if name not in PRESETS:
        raise UserError(f"preset {name!r} is unknown; choose one of: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]()


def load_config(path: str | Path | None, *, base: str = "platformers", **overrides: Any) -> Config:
    """Return the configuration of a YAML file over its preset (`base` where the file names none).

    Args:
        path: the YAML file, or None for the preset alone.
        base: the preset where the file has no `preset` field.
        **overrides: nested values that win over the file, as `source={"spec": "folder:videos"}`.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = yaml.safe_load(Path(path).read_text("utf-8")) or {}
        except OSError as exc:
            raise UserError(f"configuration {str(path)!r} cannot be read: {exc}") from exc
        except yaml.YAMLError as exc:
            raise UserError(f"configuration {str(path)!r} is not YAML: {exc}") from exc
        if not isinstance(values, dict):
            raise UserError(f"configuration {str(path)!r} must be a mapping of sections, not {type(values).__name__}")
    start = dataclasses.asdict(preset(str(values.get("preset", base))))
    where = f"configuration {str(path)!r}" if path is not None else "configuration"
    return parse_config(_merged(_merged(start, values, where, ""), overrides, where, ""), where)


def parse_config(values: Mapping[str, Any], where: str = "configuration") -> Config:
    """Return the checked configuration; UserError names every wrong field, its value and what is wrong."""
    try:
        return TypeAdapter(Config).validate_python(dict(values))
    except ValidationError as exc:
        raise UserError(f"{where} has wrong fields:\n" + "\n".join(map(_wrong_field, exc.errors()))) from exc


def _wrong_field(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error["input"], dict):
        # a section's own check: its message names the field, and the others may hold a password
        return f"  {message}"
    return f"  {'.'.join(str(part) for part in error['loc'])} = {error['input']!r}: {message}"


def _merged(base: dict[str, Any], changes: Mapping[str, Any], where: str, prefix: str) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        if name not in base:
            close = difflib.get_close_matches(str(name), base, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"known here: {', '.join(sorted(base))}"
            raise UserError(f"{where}: unknown field {prefix}{name} = {value!r}; {hint}")
        if isinstance(base[name], dict) and isinstance(value, Mapping):
            value = _merged(base[name], value, where, f"{prefix}{name}.")
        result[name] = value
    return result
