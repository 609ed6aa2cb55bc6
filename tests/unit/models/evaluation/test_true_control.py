"""Figures that need true actions tell a world that answers its keys from others, and say when they cannot."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.evaluation import accuracy
from models.evaluation.action_matrix import action_matrix
from models.evaluation.codes import infer_clip_actions
from models.evaluation.consistency import TRUE_NAME, measure_consistency, true_tables
from models.evaluation.inverse_dynamics import measure_inverse_dynamics, nothing_read, stands_for
from models.evaluation.labelled import label_clips
from models.evaluation.probe import measure_probe, one_hot
from models.evaluation.true_control import measure_latent_actions, reader_key
from models.evaluation.windows import cut_windows
from models.inverse_dynamics.reader import train_reader
from models.inverse_dynamics.stored import ABOUT, WEIGHTS, files_of, reader_of
from models.runtime.weights import WeightsError
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(
    windows_per_clip=4, shuffles=40, bootstrap_draws=100, maskgit_steps=1, inverse_dynamics_steps=60
)
TRUE, GENERATED = "inverse_dynamics_true", "inverse_dynamics_generated"


@pytest.fixture(scope="module")
def labelled(ring_lessons, ring_clips):
    return label_clips(ring_lessons, ring_clips, 4)


@pytest.fixture(scope="module")
def reader(labelled):
    return train_reader(labelled.train, labelled.names, steps=30, seed=0)


@pytest.fixture(scope="module")
def meaning(make_ring_world, ring_lessons, labelled):
    codes, _ = infer_clip_actions(make_ring_world(), ring_lessons[:6])
    return stands_for(codes, [clip.actions for clip in labelled.train[:6]], 4, len(labelled.names))


def read(world, reader, ring_clips, labelled, meaning, config=CONFIG):
    windows = cut_windows(ring_clips, config)
    return measure_inverse_dynamics(world, reader, ring_clips, windows, labelled, meaning, config)


def test_generated_frames_show_the_action_that_the_world_was_asked_for(
    ring_world, reader, ring_clips, labelled, meaning
):
    assert labelled.names == ("none", "left", "right")
    assert meaning.tolist() == [0, 1, 2, -1]  # code 3 is never inferred, so nobody can ask for what it stands for
    found = read(ring_world, reader, ring_clips, labelled, meaning)
    for name in (TRUE, "inverse_dynamics_reconstructed", GENERATED):
        assert found.metrics[name]["low"] > 0.9, name
        # of four windows that change places one stays on average, and is read rightly
        most = 0.7 if name == "inverse_dynamics_reconstructed" else 0.6
        assert found.metrics[f"{name}_shuffled"]["high"] < most, name
        assert found.metrics[name]["num_sources"] == 9
    assert found.about["stands_for"] == ["none", "left", "right", None]
    assert found.about["not_asked"] == []
    assert np.trace(found.about["generated"]) > 0.9 * np.sum(found.about["generated"])


class Confused:
    """A world that takes another action than it is asked for."""

    def __init__(self, world):
        self.world = world

    def __getattr__(self, name):
        return getattr(self.world, name)

    def generate(self, prompt, latent_actions, *, sampling, generator):
        other = torch.randint(0, 3, latent_actions.shape, generator=torch.Generator().manual_seed(9))
        return self.world.generate(prompt, other, sampling=sampling, generator=generator)


def test_a_world_that_takes_other_actions_than_it_is_asked_for_is_no_better_than_chance(
    ring_world, reader, ring_clips, labelled, meaning
):
    found = read(Confused(ring_world), reader, ring_clips, labelled, meaning).metrics
    assert found[TRUE]["low"] > 0.9  # the network reads true frames as before
    assert found[GENERATED]["value"] < 0.6
    assert not accuracy.beats_chance(found, GENERATED)


def test_a_network_that_learned_shuffled_actions_is_at_chance_and_says_nothing_of_generated_frames(
    ring_world, ring_clips, labelled, meaning
):
    rng = np.random.default_rng(3)
    shuffled = [replace(clip, actions=rng.permutation(clip.actions)) for clip in labelled.train]
    reader = train_reader(shuffled, labelled.names, steps=8, seed=0)
    found = read(ring_world, reader, ring_clips, labelled, meaning).metrics
    assert not accuracy.beats_chance(found, TRUE)
    assert found[GENERATED]["value"] is None
    assert found[GENERATED]["reason"] == "the network reads the actions of true frames no better than chance"


def test_codes_that_name_the_scene_stand_for_nothing_that_could_be_asked_for(scene_world, reader, ring_clips, labelled):
    one = read(scene_world, reader, ring_clips, labelled, np.array([2, 2, -1, -1]))
    assert one.metrics[GENERATED]["reason"] == (
        "too few to tell: all latent actions stand for one true action (right), and 2 are needed"
    )
    assert one.metrics[TRUE]["low"] > 0.9
    assert one.about["not_asked"] == ["none", "left"]


def test_the_same_clips_settings_and_seed_give_the_same_reader_and_files_give_it_back(reader, labelled):
    short = [train_reader(labelled.train[:2], labelled.names, steps=2, seed=seed) for seed in (0, 0, 1)]
    files = [files_of(each, {"seed": 0}) for each in short]
    assert files[0] == files[1]
    assert files[0][WEIGHTS] != files[2][WEIGHTS]
    kept = files_of(reader, {})
    again, video = reader_of(kept[WEIGHTS], kept[ABOUT]), labelled.train[0].frames_THWC[None]
    assert again.names == reader.names
    assert np.array_equal(again.read(video), reader.read(video))
    with pytest.raises(WeightsError):
        reader_of(kept[WEIGHTS][:-1], kept[ABOUT])
    with pytest.raises(WeightsError, match="no description"):
        reader_of(kept[WEIGHTS], b"[]")


def test_the_key_of_a_reader_changes_with_its_data_and_settings_alone(labelled):
    key = reader_key(labelled, CONFIG)
    assert key == reader_key(labelled, replace(CONFIG, horizon=2, shuffles=3))
    fewer = replace(labelled, train=labelled.train[1:])
    assert len({key, reader_key(fewer, CONFIG), reader_key(labelled, replace(CONFIG, seed=1))}) == 3
    assert key != reader_key(labelled, replace(CONFIG, inverse_dynamics_steps=61))


def without(clips):
    return [replace(clip, actions=None) for clip in clips]


@pytest.mark.parametrize(
    ("train", "says"),
    [
        (lambda clips: without(clips), "0 of the training sources have true actions, and 2 are needed"),
        (lambda clips: [*clips[:1], *without(clips[1:])], "1 of the training sources"),
        (lambda clips: [replace(clip, actions=0 * clip.actions) for clip in clips], "1 true actions have 20 transit"),
        (lambda clips: [], "0 of the training sources"),
    ],
    ids=["no actions", "one source", "one action", "no clip"],
)
def test_too_few_true_actions_are_said_with_what_is_needed(ring_clips, train, says):
    found = label_clips(train(ring_clips[:4]), ring_clips[6:], 4)
    assert found.too_few.startswith("too few to tell: ")
    assert says in found.too_few
    figures = nothing_read(found.too_few)
    assert figures.metrics[GENERATED] == {**figures.metrics[TRUE]}
    assert figures.metrics[GENERATED]["value"] is None


def test_generated_frames_are_judged_only_by_a_network_that_is_known_to_read_true_ones(
    ring_world, reader, ring_clips, ring_lessons, labelled, meaning
):
    unknown = label_clips(ring_lessons, without(ring_clips), 4)
    found = read(ring_world, reader, without(ring_clips), unknown, meaning).metrics
    assert found[TRUE]["reason"] == "too few to tell: 0 of the sources have actions, and 2 are needed"
    assert found[GENERATED]["reason"] == (
        f"it is not known whether the network reads true frames better than chance ({found[TRUE]['reason']})"
    )
    few = label_clips(ring_lessons, ring_clips[:7], 4)
    found = read(ring_world, reader, ring_clips[:7], few, meaning).metrics
    assert found[TRUE]["low"] > 0.9
    assert "7 sources have true actions that change, and 8 are needed" in found[GENERATED]["reason"]


def test_a_rare_action_is_left_out_and_others_are_matched_by_name(ring_clips):
    rare = replace(ring_clips[0], actions=np.where(np.arange(40) < 3, 5, ring_clips[0].actions))
    other = replace(ring_clips[6], action_names=("right", "none", "left", "fly"), actions=np.arange(40) % 4)
    found = label_clips([rare, *ring_clips[1:4]], [other], 4)
    assert found.left_out == ("jump-right",)
    assert found.train[0].actions[:3].tolist() == [-1, -1, -1]
    assert found.held_out[0][:4].tolist() == [2, 0, 1, -1]


def test_continuous_actions_are_numbered_by_prototypes_of_the_training_clips(ring_clips):
    values = [np.array([[0.0], [10.0]], np.float32)[np.arange(40) % 2] for _ in range(3)]
    clips = [
        replace(clip, values=own, actions=np.arange(40) % 2, action_names=("(0)", "(10)"))
        for clip, own in zip(ring_clips[:3], values, strict=True)
    ]
    # of this clip alone, prototypes would be 8 and 10
    held_out = replace(clips[2], values=np.where(values[2] < 5, 8, 10).astype(np.float32))
    found = label_clips(clips[:2], [held_out, ring_clips[6]], 2)
    assert found.held_out[0].tolist() == [1] * 40
    assert found.held_out[1] is None  # names beside numbers


RNG = np.random.default_rng(0)
ACTIONS = [RNG.integers(0, 3, 60) for _ in range(8)]
SOURCES = [f"v{number}" for number in range(8)]


def probed(codes, actions=ACTIONS, sources=SOURCES, config=CONFIG):
    return measure_probe("probe", [one_hot(own, 4) for own in codes], actions, sources, 3, config)


def test_a_linear_probe_is_judged_on_sources_that_it_never_saw():
    assert probed([(own + 1) % 3 for own in ACTIONS])["probe"]["low"] == 1
    # in every source codes tell the action, and in every source another one
    turned = [(own + number) % 3 for number, own in enumerate(ACTIONS)]
    assert probed(turned)["probe"]["value"] < 0.6
    # what is learned of a source says nothing of others: features that name it would give its answers away
    named = [one_hot(own + 3 * number, 24) for number, own in enumerate(ACTIONS)]
    assert measure_probe("probe", named, ACTIONS, SOURCES, 3, CONFIG)["probe"]["value"] < 0.6
    found = probed([RNG.permutation(own) for own in ACTIONS])
    assert not accuracy.beats_chance(found, "probe")
    assert 0.25 < found["probe_shuffled"]["value"] < 0.42


def test_the_balanced_accuracy_of_the_most_frequent_answer_is_that_of_chance():
    often = [np.where(RNG.random(60) < 0.2, own, 0) for own in ACTIONS]
    found = accuracy.accuracy_metrics("x", often, [np.zeros(60, int)] * 8, SOURCES, 3, CONFIG)
    assert found["x"]["value"] == pytest.approx(1 / 3)


def test_a_probe_says_what_is_missing():
    few = probed(ACTIONS, [None] * 7 + ACTIONS[7:])["probe"]
    assert few["value"] is None
    assert few["reason"] == (
        "too few to tell: 0 true actions have 20 transitions in 2 held-out sources, and 2 are needed"
    )


def test_consistency_is_that_of_codes_across_sources():
    def of(codes, actions=ACTIONS):
        tables = true_tables(codes, actions, SOURCES, 4, 3)
        metrics, by_action = measure_consistency(TRUE_NAME, tables, CONFIG)
        return [metrics[f"{TRUE_NAME}{end}"]["value"] for end in ("", "_chance", "_above_chance")], by_action

    (same, chance, above), by_action = of(ACTIONS)
    assert same == above == 1
    assert chance == pytest.approx(1 / 3, abs=0.02)
    assert [metric["value"] for metric in by_action] == [1, 1, 1, None]
    # the same code stands for another action in each source: worse than chance, however pure within a source
    turned = true_tables([(own + k) % 3 for k, own in enumerate(ACTIONS[:3])], ACTIONS[:3], SOURCES[:3], 3, 3)
    metrics, _ = measure_consistency(TRUE_NAME, turned, CONFIG)
    assert metrics[TRUE_NAME]["value"] == 0
    assert metrics[f"{TRUE_NAME}_above_chance"]["value"] < -0.4
    assert abs(of([RNG.permutation(own) for own in ACTIONS])[0][2]) < 0.05
    # a world in which nothing ever happens has no consistent actions
    assert of(ACTIONS, [0 * own for own in ACTIONS])[0] == pytest.approx([1, 1, 0])


def test_one_source_alone_has_no_consistency_and_no_interval():
    tables = true_tables(ACTIONS[:1], ACTIONS[:1], SOURCES[:1], 4, 3)
    metrics, by_action = measure_consistency(TRUE_NAME, tables, CONFIG)
    assert metrics[TRUE_NAME]["reason"] == "too few to tell: 1 of the held-out sources can be used, and 2 are needed"
    assert len(by_action) == 4


@pytest.mark.parametrize("count", [2, 4, 5])
def test_few_sources_have_a_consistency_and_no_interval(count):
    tables = true_tables(ACTIONS[:count], ACTIONS[:count], SOURCES[:count], 4, 3)
    metrics, by_action = measure_consistency(TRUE_NAME, tables, CONFIG)
    for metric in (metrics[TRUE_NAME], metrics[f"{TRUE_NAME}_above_chance"], by_action[0]):
        assert metric["value"] == 1
        assert (metric["low"] is None) == (count < 5)
        assert metric.get("reason", "") == (
            f"too few to tell an interval: {count} sources, and 5 are needed" if count < 5 else ""
        )


def test_few_clips_have_an_accuracy_without_interval_and_without_chance():
    found = accuracy.accuracy_metrics("x", ACTIONS[:2], ACTIONS[:2], SOURCES[:2], 3, CONFIG, unit="clips")
    assert (found["x"]["value"], found["x"]["low"]) == (1, None)
    assert found["x_shuffled"]["reason"] == (
        "too few to tell: 2 clips have true actions that change, and 8 are needed to tell chance"
    )
    assert not accuracy.beats_chance(found, "x")


def test_the_matrix_has_shares_of_each_latent_action_with_intervals_over_sources():
    half = [np.where(RNG.random(60) < 0.5, own, 0) for own in ACTIONS]
    matrix = action_matrix(true_tables(ACTIONS, half, SOURCES, 4, 3), ("none", "left", "right"), CONFIG)
    assert np.sum(matrix["counts"]) == 480
    assert matrix["share"][0] == [1, 0, 0]
    assert matrix["share"][3] == matrix["low"][3] == [None] * 3
    assert matrix["low"][1][1] < matrix["share"][1][1] < matrix["high"][1][1]
    assert matrix["num_sources"] == 8


def test_the_matrix_of_few_sources_has_shares_and_no_intervals():
    tables = true_tables(ACTIONS[:1], ACTIONS[:1], SOURCES[:1], 4, 3)
    matrix = action_matrix(tables, ("none", "left", "right"), CONFIG)
    assert matrix["share"][1] == [0, 1, 0]
    assert matrix["low"] == matrix["high"] == [[None] * 3] * 4, "of one source an interval has no width"


def test_latent_actions_are_told_by_true_ones_or_the_reason_is_given(ring_clips, ring_world):
    codes, _ = infer_clip_actions(ring_world, ring_clips)
    told = measure_latent_actions(ring_clips, codes, 4, CONFIG)
    assert told.metrics["action_probe_codes"]["low"] == told.metrics[TRUE_NAME]["low"] == 1
    assert told.about["latent_action_matrix"]["consistency"][3]["value"] is None
    led = measure_latent_actions(ring_clips, (), 4, CONFIG)
    assert led.metrics[TRUE_NAME]["reason"] == "true actions led the dynamics"
    none = measure_latent_actions([None] * 9, codes, 4, CONFIG)
    assert "no true actions" in none.metrics["action_probe_codes"]["reason"]
    assert none.about == {}
