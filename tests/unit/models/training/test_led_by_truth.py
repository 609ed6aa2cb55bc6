"""A world that true actions lead: trained and published like any other, or refused before the first step."""

import dataclasses

import numpy as np
import pytest
import torch

from models.training.train import train_tokenizer, train_world_model, world_model_is_current
from models.true_actions import classes_from, fit_classes
from models.world.load import load_world
from pipeline.actions.join import ClipActions
from pipeline.config.evaluation import SamplingConfig
from pipeline.errors import UserError
from pipeline.model_ids import WORLD, steps_of, world_settings_id
from pipeline.storage.models_table import all_models
from tests.made_up_actions import add_shard_actions
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards

NAMES = ("left", "none", "right")


def led(**lam):
    return dataclasses.replace(
        CONFIG,
        dynamics=dataclasses.replace(CONFIG.dynamics, led_by="true_actions"),
        latent_actions=dataclasses.replace(CONFIG.latent_actions, **{"num_actions": 3, **lam}),
    )


def action_of(clip_id, step):
    """v0 has no actions, and the others three."""
    return None if "-v0-" in clip_id else NAMES[step % 3]


@pytest.fixture
def shards(store):
    add_training_shards(store)
    train_tokenizer(job_of(store, CONFIG))
    return store


def test_it_is_published_and_its_actions_are_the_true_ones(shards):
    with pytest.raises(UserError, match=r"no training clip has any: set download\.actions: keep .*led_by: latent_act"):
        train_world_model(job_of(shards, led()))
    add_shard_actions(shards, action_of)
    with pytest.raises(
        UserError, match=r"have 3 true actions \(left, none, right\): set .*num_actions to 3 \(it is 8\)"
    ):
        train_world_model(job_of(shards, led(num_actions=8)))
    with pytest.raises(UserError, match=r"latent_dim = 2: 3 true actions need as many values; set it to 3"):
        train_world_model(job_of(shards, led(latent_dim=2)))
    assert all(row.kind != WORLD for row in all_models(shards))
    said = []
    job = dataclasses.replace(job_of(shards, led()), on_progress=said.append)
    report = train_world_model(job)
    assert report.steps == steps_of(WORLD, led()) == 4, "no LAM learns alone"
    assert any("led by true actions: left, none, right; 3 training clips have them" in line for line in said)
    assert any("1 training clips have no true actions and are left out" in line for line in said)
    assert report.metrics["codes_used"] == 3
    assert "lam_psnr" not in report.metrics
    assert world_model_is_current(shards, led())
    assert world_settings_id(led()) != world_settings_id(CONFIG)
    [row] = [row for row in all_models(shards) if row.kind == WORLD]
    assert classes_from(row.inputs["true_actions"]).names == NAMES
    world = load_world(shards, row.model_id)
    assert world.num_actions == 3
    prompt = world.encode(torch.zeros(1, 1, 16, 32, 3, dtype=torch.uint8))
    sampling = SamplingConfig(maskgit_steps=1, token_temperature=0)
    assert world.generate(prompt, torch.tensor([[0, 2]]), sampling=sampling).shape == (1, 3, 8)
    with pytest.raises(UserError, match="is led by true actions, and cannot infer them"):
        world.infer_actions(torch.zeros(1, 2, 16, 32, 3, dtype=torch.uint8))
    assert train_world_model(job).skipped
    add_shard_actions(shards, lambda clip_id, step: ("up", "none", "down")[step % 3])
    on = dataclasses.replace(led(), training=dataclasses.replace(CONFIG.training, start_from=row.model_id))
    with pytest.raises(
        UserError, match=r"its true actions are left, none, right, those of .* down, none, up: set train"
    ):
        train_world_model(job_of(shards, on))


def clips(*actions):
    return [
        ClipActions(f"clip-{number}", tuple(each), None)
        if isinstance(each[0], str)
        else ClipActions(f"clip-{number}", None, np.array(each, np.float32))
        for number, each in enumerate(actions)
    ]


def test_continuous_actions_become_prototypes_and_the_nearest_stands_for_each():
    near = np.random.default_rng(0).normal(0, 0.01, (60, 2)).astype(np.float32)
    means = np.array([[0, 0], [1, -100], [2, 100]], np.float32)[np.arange(60) % 3]
    values = means + near * [1, 100]
    classes = fit_classes(clips(values), 3)
    assert np.array_equal(classes.of(clips(values)[0]), np.arange(60) % 3)
    assert np.allclose(classes.centres_KD, [[0, 0], [1, -100], [2, 100]], atol=0.6)
    again = classes_from(classes.as_json())
    assert np.array_equal(again.of(clips(values)[0]), classes.of(clips(values)[0]))
    assert classes.of(clips(["a"])[0]) is None
    assert classes.of(clips([[1.0]])[0]) is None


def test_whole_numbers_are_ordered_as_numbers_and_an_unknown_action_is_of_no_class():
    classes = fit_classes(clips(["10", "2"], ["-1", "2"]), 3)
    assert classes.names == ("-1", "2", "10")
    assert classes.of(clips(["2", "10"])[0]).tolist() == [1, 2]
    assert classes.of(clips(["2", "3"])[0]) is None


def test_actions_of_two_kinds_or_of_too_few_values_are_refused():
    with pytest.raises(
        UserError, match=r"clip clip-0 has discrete actions, and clip clip-1 continuous \(1 values\) ones"
    ):
        fit_classes(clips(["a"], [[1.0]]), 2)
    with pytest.raises(UserError, match=r"have 2 different true actions: set .*num_actions to 2 or less"):
        fit_classes(clips([[1.0], [1.0], [2.0]]), 3)
