"""What a person sets for a training in Dagster's launchpad: what it shows, what it does, what it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.definitions import defs
from assets.graph.definitions import graph_of
from assets.graph.training_settings import TrainingSettings
from assets.passes.instance import open_instance
from assets.settings import Settings, load_settings
from pipeline.config import PRESETS, Config, preset
from pipeline.errors import UserError
from pipeline.model_choice import models_in_use
from pipeline.storage.models_table import ModelRecord, append_model, newest_model
from pipeline.storage.store import Store
from tests.trainings import small_root

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return small_root(Store(tmp_path / "root"), monkeypatch)


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings.home) as found:
        yield found


def materialize(
    settings: Settings, instance: dg.DagsterInstance, chosen: Mapping[str, Any], *assets: str
) -> dg.ExecuteInProcessResult:
    """Run assets (by default the tokenizer) with what the launchpad has under `resources.training`."""
    job = graph_of(settings).resolve_job_def("train_world_model")
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in assets or ("video_tokenizer",)],
        raise_on_error=False,
        run_config={**QUIET, "resources": {"training": {"config": dict(chosen)}}},
    )


def shown(job: str = "train_world_model") -> Mapping[str, Any]:
    """Return what the launchpad of a job offers under `resources.training.config`, by name."""
    kind = defs.resolve_job_def(job).run_config_schema.config_type
    for name in ("resources", "training", "config"):
        kind = kind.fields[name].config_type
    return kind.fields


def offered(known: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in known.items():
        yield f"{prefix}{name}", field
        yield from offered(getattr(field.config_type, "fields", None) or {}, f"{prefix}{name}.")


def settings_in(section: Any, prefix: str) -> Iterator[str]:
    for field in fields(section):
        yield f"{prefix}.{field.name}"
        if is_dataclass(getattr(section, field.name)):
            yield from settings_in(getattr(section, field.name), f"{prefix}.{field.name}")


def test_the_launchpad_offers_every_setting_of_models_and_training_with_its_sentence_and_bounds() -> None:
    found = dict(offered(shown()))
    sections = ("tokenizer", "latent_actions", "dynamics", "training")
    known = {name for section in sections for name in settings_in(getattr(Config(), section), section)}
    assert set(found) == {"preset", "begin", "remember", *sections} | known
    assert [name for name, field in found.items() if not field.description] == []
    assert found["dynamics.context"].description == (
        "Frames seen at once, in training and in play. Must be at least 2."
    )
    presets = [value.config_value for value in found["preset"].config_type.enum_values]
    assert presets == ["as_configured", *PRESETS]
    actions = [value.config_value for value in found["dynamics.action_injection"].config_type.enum_values]
    assert actions == ["add", "prepend", "film"]
    # nothing has to be written, and what is not written is not changed
    assert [name for name, field in found.items() if field.is_required] == []
    assert [name for name, field in found.items() if field.default_provided] == ["preset", "begin", "remember"]


def test_a_run_trains_what_the_launchpad_says_and_the_root_remembers_it(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    chosen = {"tokenizer": {"steps": 2, "optimizer": {"learning_rate": 0.002}}, "training": {"seed": 3}}
    result = materialize(settings, instance, chosen)
    assert result.success
    model = newest_model(settings.store, "video_tokenizer")
    assert model is not None
    assert model.steps == 2
    assert model.config["tokenizer"]["optimizer"]["learning_rate"] == 0.002
    assert model.config["tokenizer"]["batch"] == settings.config.tokenizer.batch
    said = "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))
    assert "tokenizer.steps 4 -> 2; tokenizer.optimizer.learning_rate 0.001 -> 0.002; training.seed 0 -> 3" in said
    now = load_settings(settings.store.root)
    assert (now.config.tokenizer.steps, now.config.training.seed) == (2, 3)
    used = models_in_use(now.store, now.config).tokenizer
    assert used is not None
    assert used.model_id == model.model_id
    # where asked, the last weights; for this run alone
    before = settings.config_path.read_bytes()
    trial = {"begin": "last_tokenizer", "tokenizer": {"steps": 1}, "remember": False}
    assert materialize(now, instance, trial).success
    second = newest_model(settings.store, "video_tokenizer")
    assert second is not None
    (origin,) = second.inputs["lineage"]
    assert (origin["how"], origin["model"], origin["step"]) == ("start_from", model.model_id, 2)
    assert settings.config_path.read_bytes() == before


def test_an_error_of_the_settings_fails_the_run_with_a_sentence_and_changes_nothing(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    before = settings.config_path.read_bytes()
    result = materialize(settings, instance, {"preset": "coinrun", "tokenizer": {"steps": 0}})
    data = next(event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert data.user_failure_data is not None, data.error
    assert "tokenizer.steps = 0: must be at least 1" in str(data.user_failure_data.description)
    assert settings.config_path.read_bytes() == before


def test_a_preset_brings_its_models_and_leaves_source_and_clips_of_the_root(settings: Settings) -> None:
    told: list[str] = []
    found = TrainingSettings(preset="coinrun", overrides={"dynamics": {"steps": 7}}).applied(settings, told.append)
    assert found.config.latent_actions == preset("coinrun").latent_actions
    assert found.config.dynamics.steps == 7
    assert (found.config.clips, found.config.source) == (settings.config.clips, settings.config.source)
    assert load_settings(settings.store.root).config == found.config
    assert f"preset {settings.config.preset} -> coinrun" in told[0]


def test_a_training_begins_with_the_newest_model_where_that_is_asked_for_and_at_random_again(
    settings: Settings,
) -> None:
    for begin, kind in (("last_tokenizer", "video_tokenizer"), ("last_world", "world_model")):
        with pytest.raises(UserError, match=f"begin = '{begin}': no {kind} is published yet; set it to 'random'"):
            TrainingSettings(begin=begin).applied(settings)
        assert TrainingSettings(begin="random").applied(settings) == settings
        for number in range(2):
            row = ModelRecord(model_id=f"{kind}{number}", kind=kind, path="models/x", config={}, metrics={}, inputs={})
            append_model(settings.store, row)
        found = TrainingSettings(begin=begin).applied(settings)
        assert found.config.training.start_from == f"{kind}1"
        assert load_settings(settings.store.root).config.training.start_from == f"{kind}1"
        assert TrainingSettings(begin="random").applied(found).config.training.start_from == ""


def test_the_example_of_the_operators_page_is_taken(settings: Settings) -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(resources:.*?)```", text, re.DOTALL)
    found = dg.validate_run_config(defs.resolve_job_def("train_world_model"), yaml.safe_load(example))
    chosen = found["resources"]["training"]["config"]
    overrides = {name: chosen[name] for name in ("dynamics", "training")}
    assert TrainingSettings(overrides=overrides).applied(settings).config.dynamics.optimizer.learning_rate == 0.0001


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        (TrainingSettings(begin="last_world", overrides={"training": {"go_on": "3f0c"}}), "begins in one place"),
        (TrainingSettings(overrides={"training": {"go_on": "a", "start_from": "b"}}), "begins in one place"),
        (TrainingSettings(overrides={"dynamics": {"context": 8}}), "encodes at most tokenizer.window = 4 frames"),
        (TrainingSettings(overrides={"tokenizer": {"encoder": {"heads": 0}}}), "tokenizer.encoder.heads = 0"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused_and_not_remembered(
    settings: Settings, chosen: TrainingSettings, says: str
) -> None:
    before = settings.config_path.read_bytes()
    with pytest.raises(UserError) as refused:
        chosen.applied(settings)
    assert says in str(refused.value)
    assert settings.config_path.read_bytes() == before


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"dynamics": {"stepps": 3}}, 'unexpected config entry "stepps"'),
        ({"dynamics": {"steps": "many"}}, 'Value "many" of type'),
        ({"preset": "huge"}, "huge"),
        ({"source": {"spec": "folder:/etc"}}, 'unexpected config entry "source"'),
        ({"embedding": {"weights": "/etc/passwd"}}, 'unexpected config entry "embedding"'),
        ({"training": {"seed": {"env": "HOME"}}}, "training:seed"),
    ],
    ids=str,
)
def test_a_name_or_type_that_is_wrong_is_refused_before_a_run_starts(chosen: dict[str, Any], says: str) -> None:
    job = defs.resolve_job_def("train_world_model")
    with pytest.raises(dg.DagsterInvalidConfigError) as refused:
        dg.validate_run_config(job, {"resources": {"training": {"config": chosen}}})
    assert says in str(refused.value)
    assert dg.validate_run_config(job, {"resources": {"training": {"config": {"dynamics": {"steps": 3}}}}})
