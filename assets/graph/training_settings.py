"""The resource `training`: what a person sets in Dagster's launchpad for the trainings of one run.

    resources:
      training:
        config:
          preset: coinrun
          begin: last_world
          dynamics: {steps: 20000, optimizer: {learning_rate: 0.0001}}
          training: {processes: 2}

It changes the models and their training alone. Root, source and everything that the data were made with belong to the
root, and a run cannot choose them.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import dagster as dg

from assets.graph.launchpad import fields_of
from assets.settings import Settings, save_config
from pipeline.config import Config, parse_config, preset
from pipeline.config.presets import PRESETS
from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, TokenizerConfig
from pipeline.errors import UserError
from pipeline.model_ids import TOKENIZER, WORLD, TrainedKind
from pipeline.progress import ProgressCallback, notify
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store

AS_CONFIGURED = "as_configured"
Begin = Literal["as_configured", "random", "last_tokenizer", "last_world"]
_SECTIONS = {
    "tokenizer": TokenizerConfig,
    "latent_actions": LatentActionConfig,
    "dynamics": DynamicsConfig,
    "training": TrainingConfig,
}
_OF_BEGIN: Mapping[str, TrainedKind] = {"last_tokenizer": TOKENIZER, "last_world": WORLD}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What the launchpad says of a run's trainings."""

    preset: str = AS_CONFIGURED
    """Whose models are trained."""
    begin: Begin = "as_configured"
    """Where their weights begin."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings by section, over those of the preset."""
    remember: bool = True
    """Whether the root takes them over."""

    def applied(self, settings: Settings, on_progress: ProgressCallback | None = None) -> Settings:
        """Return a root's settings with these over them, and have the root remember them where that is asked for.

        Args:
            settings: of the root.
            on_progress: is told what differs.

        Raises:
            UserError: a value is refused, or there is no model to begin with.
        """
        base = self._of_preset(settings.config)
        values = _merged(dataclasses.asdict(base), self.overrides)
        values["training"].update(self._start(settings.store))
        config = parse_config(values, "the launchpad's `training`")
        if config == settings.config:
            return settings
        notify(f"settings of this run: {'; '.join(_changes(settings.config, config))}", on_progress)
        changed = dataclasses.replace(settings, config=config)
        if self.remember:
            save_config(changed)
        return changed

    def _of_preset(self, config: Config) -> Config:
        if self.preset == AS_CONFIGURED:
            return config
        chosen = preset(self.preset)
        return dataclasses.replace(
            config, preset=self.preset, **{section: getattr(chosen, section) for section in _SECTIONS}
        )

    def _start(self, store: Store) -> dict[str, str]:
        if self.begin == AS_CONFIGURED:
            return {}
        given = [name for name in ("start_from", "go_on") if self.overrides.get("training", {}).get(name)]
        if given:
            raise UserError(
                f"begin = {self.begin!r} and training.{given[0]}: a training begins in one place; leave one of them out"
            )
        kind = _OF_BEGIN.get(self.begin)
        if kind is None:
            return {"start_from": "", "go_on": ""}
        model = newest_model(store, kind)
        if model is None:
            raise UserError(f"begin = {self.begin!r}: no {kind} is published yet; set it to 'random'")
        return {"start_from": model.model_id, "go_on": ""}


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for name, value in changes.items():
        result[name] = _merged(result[name], value) if isinstance(value, Mapping) else value
    return result


def _changes(before: Config, after: Config) -> Iterator[str]:
    """Yield each setting that differs, as `dynamics.steps 6000 -> 20000`."""
    if before.preset != after.preset:
        yield f"preset {before.preset} -> {after.preset}"
    for section in _SECTIONS:
        yield from _differences(
            section, dataclasses.asdict(getattr(before, section)), dataclasses.asdict(getattr(after, section))
        )


def _differences(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for part, old in before.items():
        if isinstance(old, Mapping):
            yield from _differences(f"{name}.{part}", old, after[part])
        elif old != after[part]:
            yield f"{name}.{part} {old!r} -> {after[part]!r}"


def _schema() -> dict[str, dg.Field]:
    """Return the fields of the launchpad."""
    own = {
        "preset": dg.Field(
            dg.Enum("preset", [dg.EnumValue(name) for name in (AS_CONFIGURED, *PRESETS)]),
            default_value=AS_CONFIGURED,
            description="Whose models are trained: the root's own (`as_configured`), or those of a preset. Clips and "
            "shards stay as they are.",
        ),
        "begin": dg.Field(
            dg.Enum("begin", [dg.EnumValue(name) for name in (AS_CONFIGURED, "random", *_OF_BEGIN)]),
            default_value=AS_CONFIGURED,
            description="Where weights begin: as `training.start_from` and `training.go_on` say (`as_configured`), at "
            "`random`, with the newest tokenizer's weights (`last_tokenizer`; the world begins at random), or with the "
            "newest world's (`last_world`; its tokenizer is used as it is). A run of the same settings that was "
            "stopped goes on where it was, whatever this says.",
        ),
        "remember": dg.Field(
            bool,
            default_value=True,
            description="Whether the root remembers these settings, as after `lampworks run --set`: evaluation, play "
            "and the next run mean the model that is trained here. false: for this run alone.",
        ),
    }
    sections = {
        name: dg.Field(
            fields_of(section),
            is_required=False,
            description=f"Settings of `{name}` in place of the root's or the preset's; write those that differ.",
        )
        for name, section in _SECTIONS.items()
    }
    return {**own, **sections}


def _make(context: dg.InitResourceContext) -> TrainingSettings:
    given = dict(context.resource_config)
    own = {name: given.pop(name) for name in ("preset", "begin", "remember")}
    return TrainingSettings(**{**own, "begin": cast("Begin", own["begin"])}, overrides=given)


training_settings = dg.ResourceDefinition(
    _make, _schema(), description="What is trained, and how: settings of the models and of their training."
)
