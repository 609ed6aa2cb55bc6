"""True actions of any source score latent actions, and measure a world that they lead."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import models.evaluation.held_out as held_out_module
from models.evaluation.codes import measure_codes, true_action_shares
from models.evaluation.explained import measure_explained
from models.evaluation.gates import check_gates
from models.evaluation.held_out import HeldOutClip
from models.evaluation.labelled import training_clips_with_actions
from models.evaluation.true_actions import led_by_true_actions, with_true_actions
from models.true_actions import ActionClasses
from pipeline.config import Config, EvaluationConfig
from pipeline.errors import UserError
from tests.made_up_actions import add_shard_actions
from tests.trainings import add_training_shards, clip_id

CONFIG = EvaluationConfig(shuffles=20, bootstrap_draws=50)
NAMES = ("grip", "push")


def held_out() -> list[HeldOutClip]:
    frames = np.zeros((12, 4, 4, 3), np.uint8)
    return [HeldOutClip(clip_id(number), f"site-v{number}", 0, frames, None) for number in (4, 5)]


def test_latent_actions_are_scored_by_the_actions_beside_the_shards(store):
    add_training_shards(store)
    assert with_true_actions(store, held_out(), 8)[0].actions is None
    add_shard_actions(store, lambda name, step: NAMES[step % 2])
    clips = with_true_actions(store, held_out(), 8)
    assert [clip.action_names for clip in clips] == [NAMES, NAMES]
    codes = [5 * clip.actions for clip in clips]
    found = measure_codes(clips, codes, np.arange(11), 8, CONFIG)
    information = found["latent_action_mutual_information"]["value"]
    assert information == pytest.approx(np.log(2), abs=0.01)
    assert found["latent_action_mutual_information_of"]["value"] == pytest.approx(np.log(2), abs=0.01)
    assert found["latent_action_jump_information"]["reason"] == "it is known of the embedded game alone"
    assert true_action_shares(clips, codes, 8) == [{"grip": 1.0}, {}, {}, {}, {}, {"push": 1.0}, {}, {}]
    # the least of the game's information says nothing of another source
    assert check_gates(found, 2, CONFIG)["latent_action_mutual_information"]["passed"] is None


def test_training_clips_without_true_actions_are_not_decoded(store, monkeypatch):
    add_training_shards(store)
    add_shard_actions(store, lambda name, step: NAMES[step % 2] if clip_id(2) == name else None)
    decoded = []
    decode = held_out_module.decode_stored_clip
    monkeypatch.setattr(held_out_module, "decode_stored_clip", lambda mp4: decoded.append(mp4) or decode(mp4))
    found = training_clips_with_actions(store, Config(evaluation=one_source()), None, 8)
    assert [clip.clip_id for clip in found] == [clip_id(2)]
    assert found[0].actions.tolist() == [0, 1] * 5 + [0]
    assert len(decoded) == 1


def one_source() -> EvaluationConfig:
    return dataclasses.replace(CONFIG, max_sources=1, prompt_frames=2)


def test_continuous_actions_are_scored_as_prototypes(store):
    add_training_shards(store)
    add_shard_actions(store, lambda name, step: [0.0, 1.0] if step % 2 else [3.0, -1.0])
    clips = with_true_actions(store, held_out(), 2)
    assert clips[0].action_names == ("(0, 1)", "(3, -1)")
    assert clips[0].actions.tolist() == [1, 0] * 5 + [1]
    found = measure_explained(clips, [clip.actions for clip in clips], 8, CONFIG)
    assert found["latent_action_explained_variance"]["value"] == pytest.approx(1)
    assert found["latent_action_explained_variance_of"]["value"] == pytest.approx(1)
    assert found["latent_action_explained_variance_shuffled"]["reason"].startswith("too few to tell: 2 sources have")
    more = [dataclasses.replace(clip, video_id=f"site-w{number}") for number in range(4) for clip in clips]
    more = [dataclasses.replace(clip, video_id=f"{clip.video_id}{place}") for place, clip in enumerate(more)]
    chance = measure_explained(more, [clip.actions for clip in more], 8, CONFIG)
    assert chance["latent_action_explained_variance_shuffled"]["value"] < 0.3
    told_nothing = measure_explained(clips, [np.zeros(11, np.int64)] * 2, 8, CONFIG)
    assert told_nothing["latent_action_explained_variance"]["value"] == pytest.approx(0)
    assert measure_explained(held_out(), [np.zeros(11, np.int64)] * 2, 8, CONFIG) == {}
    # fewer different actions than latent ones are prototypes each
    assert with_true_actions(store, held_out(), 8)[0].action_names == ("(0, 1)", "(3, -1)")


def test_clips_whose_actions_are_of_another_kind_than_most_take_nothing_from_the_others(store, caplog):
    add_training_shards(store)
    add_shard_actions(store, lambda name, step: [float(step)] if name == clip_id(2) else NAMES[step % 2])
    found = training_clips_with_actions(store, Config(evaluation=dataclasses.replace(CONFIG, prompt_frames=2)), None, 8)
    of = {clip.clip_id: clip.actions for clip in found}
    assert of.pop(clip_id(2)) is None
    assert len(of) > 1
    assert all(actions.tolist() == [0, 1] * 5 + [0] for actions in of.values())
    assert f"true actions of 1 of {len(found)} clips are of another kind than most (names)" in caplog.text


def test_a_world_is_measured_on_the_clips_whose_actions_it_knows(store):
    add_training_shards(store)
    about = {**ActionClasses(("push", "grip")).as_json(), "join": "auto"}
    with pytest.raises(UserError, match=r"no held-out clip has any that it knows: set download\.actions"):
        led_by_true_actions(store, held_out(), about)
    add_shard_actions(store, lambda name, step: "fly" if "v5" in name else NAMES[step % 2])
    [clip] = led_by_true_actions(store, held_out(), about)
    assert clip.clip_id == clip_id(4)
    assert clip.codes.tolist() == [1, 0] * 5 + [1]
    found = measure_codes(
        [clip], [clip.codes], np.arange(11), 2, CONFIG, unknown_because="true actions led the dynamics"
    )
    assert found["codes_used"]["value"] == 2
    assert found["latent_action_mutual_information"]["reason"] == "true actions led the dynamics"


def test_the_embedded_games_own_truth_stays(store):
    add_training_shards(store)
    add_shard_actions(store, lambda name, step: NAMES[step % 2])
    clips = [dataclasses.replace(clip, actions=np.zeros(11, np.int64)) for clip in held_out()]
    assert with_true_actions(store, clips, 8) == clips
