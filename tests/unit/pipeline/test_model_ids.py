"""Only what changes the path of the weights makes another model; gates, steps and habits of saving do not."""

import copy
import dataclasses

import pytest

from pipeline.config import Config, describe_settings, preset
from pipeline.model_ids import (
    NEUTRAL,
    TOKENIZER,
    WORLD,
    model_id,
    run_folder,
    run_id,
    saved_steps,
    steps_of,
    tokenizer_settings_id,
    world_settings_id,
)

DEMO = preset("demo")
TRAINED = ("tokenizer", "latent_actions", "dynamics", "training")
NAMES = [one.name for one in describe_settings(DEMO) if one.name.split(".")[0] in TRAINED]
OFF_PATH = {"tokenizer.steps", "tokenizer.min_psnr", "dynamics.steps"}
ORDER = ("windows_per_clip", "mixed_clips", "shuffle_clips")
PATH_OF_TRAINING = {f"training.{name}" for name in ("seed", "dtype", "ema_decay", *ORDER)}


def changed(name: str) -> Config:
    """Return the demo's configuration with another value of one setting, whatever its bounds."""
    config = copy.deepcopy(DEMO)
    *sections, field = name.split(".")
    section = config
    for part in sections:
        section = getattr(section, part)
    object.__setattr__(section, field, ["another", getattr(section, field)])
    return config


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_the_networks_counts_unless_it_is_a_gate_or_a_number_of_steps(name):
    config = changed(name)
    tokenizer = tokenizer_settings_id(config) != tokenizer_settings_id(DEMO)
    world = world_settings_id(config) != world_settings_id(DEMO)
    section = name.split(".")[0]
    counts = name in PATH_OF_TRAINING if section == "training" else name not in OFF_PATH
    assert tokenizer == (counts and section in ("tokenizer", "training"))
    # a world of another tokenizer is another world, and so is one of a tokenizer of other steps
    assert world == (counts or name == "tokenizer.steps")


def test_a_later_setting_at_its_neutral_value_leaves_the_id_that_a_model_had_before():
    """Ids of presets as they were before the first such setting; a new one at its default moves none of them."""
    sections = {"optimizer": DEMO.dynamics.optimizer}
    names = {
        name: sections.get(section) or getattr(DEMO, section) for section, values in NEUTRAL.items() for name in values
    }
    for name, section in names.items():
        assert NEUTRAL[section.section_name][name] == type(section).__dataclass_fields__[name].default, name
    assert world_settings_id(preset("platformers")) == "3ecdb871f604"
    assert world_settings_id(preset("coinrun")) == "471683669092"


def test_settings_of_other_sections_make_no_other_model():
    for section in ("source", "clips", "evaluation", "play", "decision"):
        other = dataclasses.replace(DEMO, **{section: type(getattr(DEMO, section))()})
        assert world_settings_id(other) == world_settings_id(DEMO)


def test_a_run_is_everything_but_its_steps():
    longer = dataclasses.replace(DEMO, dynamics=dataclasses.replace(DEMO.dynamics, steps=9999))
    run = run_id(WORLD, DEMO, "s1", tokenizer="t1")
    assert run_id(WORLD, longer, "s1", tokenizer="t1") == run
    assert model_id(run, steps_of(WORLD, longer)) != model_id(run, steps_of(WORLD, DEMO))
    others = {
        run,
        run_id(WORLD, DEMO, "s2", tokenizer="t1"),
        run_id(WORLD, DEMO, "s1", tokenizer="t2"),
        run_id(TOKENIZER, DEMO, "s1"),
        run_id(WORLD, DEMO, "s1", tokenizer="t1", lineage=[{"how": "start_from", "model": "w0", "step": 7}]),
        run_id(WORLD, DEMO, "s1", tokenizer="t1", lineage=[{"how": "go_on", "model": "w0", "step": 7}]),
    }
    assert len(others) == 6


def test_a_run_that_was_extended_is_the_same_run_and_another_model():
    extended = [{"how": "extended", "model": "w0", "step": 7}]
    run = run_id(WORLD, DEMO, "s1", tokenizer="t1")
    assert run_id(WORLD, DEMO, "s1", tokenizer="t1", lineage=extended) == run
    assert model_id(run, 20, extended) != model_id(run, 20)


def test_the_steps_of_a_world_are_those_of_the_lam_alone_and_of_both():
    assert steps_of(TOKENIZER, DEMO) == DEMO.tokenizer.steps
    assert steps_of(WORLD, DEMO) == DEMO.latent_actions.unquantized_steps + DEMO.dynamics.steps


def test_more_steps_keep_the_folder_and_fewer_have_one_of_their_own(store):
    folder = run_folder(store, TOKENIZER, "r1", 100)
    assert folder == "models/video_tokenizer/runs/r1/checkpoints"
    for step in (50, 100):
        store.write_blob(f"{folder}/step-{step:08d}.safetensors", b"x")
    assert saved_steps(store, folder) == [50, 100]
    assert run_folder(store, TOKENIZER, "r1", 100) == folder
    assert run_folder(store, TOKENIZER, "r1", 300) == folder
    assert run_folder(store, TOKENIZER, "r1", 70) == "models/video_tokenizer/runs/r1-70/checkpoints"
