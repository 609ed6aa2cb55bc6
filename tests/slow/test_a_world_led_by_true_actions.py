"""A world that true actions lead goes the way of any other: trained, evaluated, its keys named, and played."""

import dataclasses

import pytest

from models.evaluation.evaluate import evaluate
from models.evaluation.held_out import held_out_clips
from models.play.check import check_playable
from models.play.key_hints import hints_of
from models.training.train import train_tokenizer, train_world_model
from pipeline.config import EvaluationConfig
from tests.made_up_actions import add_shard_actions
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards

NAMES = ("left", "none", "right")
LED = dataclasses.replace(
    CONFIG,
    dynamics=dataclasses.replace(CONFIG.dynamics, led_by="true_actions"),
    latent_actions=dataclasses.replace(CONFIG.latent_actions, num_actions=3),
    evaluation=EvaluationConfig(
        windows_per_clip=1, prompt_frames=2, horizon=4, random_draws=1, maskgit_steps=1, shuffles=20,
        bootstrap_draws=100, inverse_dynamics_steps=1,
        doubt_windows=1, doubt_frames=3, rollout_frames=2, start_frames=2,
    ),
)  # fmt: skip


@pytest.mark.slow
def test_it_is_trained_evaluated_named_and_played(store):
    add_training_shards(store)
    add_shard_actions(store, lambda clip_id, step: NAMES[step // 2 % 3])
    train_tokenizer(job_of(store, LED))
    trained = train_world_model(job_of(store, LED))
    found = evaluate(job_of(store, LED)).metrics
    assert found["num_clips"] == len(held_out_clips(store, LED, None)) == 2
    assert found["codes_used"]["value"] == 3
    assert found["latent_action_mutual_information"]["reason"] == "true actions led the dynamics"
    assert found["delta_t_psnr"]["value"] is not None
    assert [list(action["true_actions"]) for action in found["latent_actions"]] == [[name] for name in NAMES]
    keys = hints_of(store, LED, trained.model_id).keys
    assert [keys[code].meant for code in range(3)] == [f"100% {name}" for name in NAMES]
    assert check_playable(store, LED).actions == 3
