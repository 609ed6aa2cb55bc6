"""The classifier on a small store: trained, calibrated, published once, and refused where labels are too few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from classifier.labels.import_file import import_labels
from classifier.pool import load_pool
from classifier.training.examples import load_examples
from classifier.training.published import latest_classifier, load_document
from classifier.training.train import classifier_is_current, train_classifier
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import current_labels
from pipeline.storage.takedown import request_takedown
from tests.snapshots import snapshot

pytestmark = pytest.mark.heavy


def with_settings(job: Job, section: str, **values: object) -> Job:
    """Return the job with other settings of a section."""
    changed = replace(getattr(job.config, section), **values)
    return replace(job, config=replace(job.config, **{section: changed}))


def test_a_classifier_learns_to_tell_sources_it_never_saw(trained, pool_writer):
    model = latest_classifier(trained.store)
    metrics = model.metrics
    held = metrics["held_out"]["five_vs_one"]
    assert held["network"]["auc"] > 0.9
    held_out = sum(pool_writer.group_split(f"video-{i:02d}") == "val" for i in range(12))
    assert held["network"]["sources"] == held_out
    assert metrics["beats_best_flag"] is True
    assert metrics["auc"]["value"] == held["network"]["auc"]
    assert set(held["baselines"]) == {"logistic regression", "gradient boosting"}
    assert held["single"]["best_measurement"]["auc"] is not None
    assert model.parameters < 200_000
    document = load_document(trained.store, model)
    assert len(document["out_of_fold"]["clip_id"]) + len(document["held_out"]["clip_id"]) == 24
    assert not set(document["out_of_fold"]["group"]) & set(document["held_out"]["group"])


def test_training_again_writes_nothing_and_another_label_makes_it_due(trained, tmp_path):
    first = latest_classifier(trained.store).model_id
    assert classifier_is_current(trained.store, trained.config)
    before = snapshot(trained.store.root)
    again = train_classifier(trained)
    assert (again.model_id, again.trained) == (first, False)
    assert snapshot(trained.store.root) == before
    clip_id = next(clip for clip, rating in current_labels(trained.store).items() if rating == 5)
    (tmp_path / "more.csv").write_text(f"clip_id,rating\n{clip_id},4\n")
    import_labels(trained.store, tmp_path / "more.csv", "ann", trained.config)
    assert not classifier_is_current(trained.store, trained.config)


def test_the_same_labels_give_the_same_weights_and_another_seed_gives_others(job, pool_writer, fill_pool):
    import_labels(job.store, pool_writer.rate(fill_pool(pool_writer)), "ann", job.config)
    quick = with_settings(job, "classifier", steps=4, min_auc=0.0)
    # the id is a hash of the weights and of model.json
    first = train_classifier(quick).model_id
    job.store.replace("models", [])
    again = train_classifier(quick)
    assert (again.model_id, again.trained) == (first, True)
    assert train_classifier(with_settings(quick, "classifier", seed=5)).model_id != first


def test_after_a_trial_with_other_settings_the_classifier_of_before_is_used_without_training(
    job, pool_writer, fill_pool
):
    import_labels(job.store, pool_writer.rate(fill_pool(pool_writer)), "ann", job.config)
    quick = with_settings(job, "classifier", steps=4, min_auc=0.0)
    first = train_classifier(quick)
    trial = train_classifier(with_settings(quick, "classifier", seed=5))
    assert latest_classifier(job.store).model_id == trial.model_id
    assert not classifier_is_current(quick.store, quick.config)
    again = train_classifier(quick)
    assert (again.model_id, again.trained) == (first.model_id, False)
    assert classifier_is_current(quick.store, quick.config)
    assert latest_classifier(job.store).model_id == first.model_id
    assert len(job.store.read("models")) == 2, "no row is there twice"
    # a floor is a gate: it is judged again, and trains nothing
    reached = first.metrics["judged"]["auc"]
    raised, lowered = (with_settings(quick, "classifier", min_auc=floor) for floor in (reached + 0.01, reached - 0.01))
    assert not classifier_is_current(raised.store, raised.config)
    with pytest.raises(UserError, match=r"below classifier\.min_auc"):
        train_classifier(raised)
    assert classifier_is_current(lowered.store, lowered.config)
    assert not train_classifier(lowered).trained


def test_clips_of_a_video_that_was_taken_down_are_not_learned_from(trained):
    request_takedown(trained.store, "video", "video-03", "asked")
    assert not classifier_is_current(trained.store, trained.config)
    report = train_classifier(with_settings(trained, "classifier", steps=2, min_auc=0.0))
    document = load_document(trained.store, latest_classifier(trained.store))
    assert report.trained
    assert not any(
        clip.startswith("video-03") for side in ("out_of_fold", "held_out") for clip in document[side]["clip_id"]
    )


def test_too_few_labels_say_how_many_more_and_how(job, pool_writer, fill_pool):
    import_labels(job.store, pool_writer.rate(fill_pool(pool_writer, 4)), "ann", job.config)
    with pytest.raises(UserError, match=r"3 more clips rated 5 and 3 more clips rated 1 needed.*lampworks label"):
        train_classifier(with_settings(job, "labels", min_per_class=7))
    assert latest_classifier(job.store) is None


def test_labels_of_one_source_are_refused(job, pool_writer):
    pair = [name for name in (f"video-{i}" for i in range(99)) if pool_writer.group_split(name) == "train"][:2]
    good, bad = pool_writer.add(pair[0], "ggggg"), pool_writer.add(pair[1], "bbbbb")
    ratings = {**dict.fromkeys(good, 5), **dict.fromkeys(bad, 1)}
    import_labels(job.store, pool_writer.rate(ratings), "ann", job.config)
    with pytest.raises(UserError, match="fives from 1 and ones from 1 sources"):
        train_classifier(job)


def test_a_classifier_below_the_floor_is_not_published(job, pool_writer, fill_pool):
    ratings = fill_pool(pool_writer)
    rng = np.random.default_rng(0)
    guessed = {clip: int(rating) for clip, rating in zip(ratings, rng.permutation(list(ratings.values())), strict=True)}
    import_labels(job.store, pool_writer.rate(guessed), "ann", job.config)
    with pytest.raises(UserError, match=r"below classifier.min_auc = 0.99: nothing was published"):
        train_classifier(with_settings(job, "classifier", min_auc=0.99, steps=10))
    assert latest_classifier(job.store) is None
    assert job.store.list_blobs("models") == []


def test_a_clip_with_unreadable_frames_is_left_out_and_named(trained, damage_frames):
    damaged = damage_frames(trained.store)
    pool = load_pool(trained.store, trained.config)
    examples = load_examples(pool, current_labels(trained.store), trained.config.classifier)
    assert list(examples.unreadable) == [damaged["clip_id"]]
    assert len(examples.clip_ids) == 23


def test_middle_ratings_are_not_learned_from_but_count_in_the_calibration(job, pool_writer, fill_pool):
    ratings = fill_pool(pool_writer)
    middle = {}
    for index in range(4):
        middle |= dict.fromkeys(pool_writer.add(f"middle-{index}", "gb"), 3)
    import_labels(job.store, pool_writer.rate({**ratings, **middle}), "ann", job.config)
    metrics = train_classifier(with_settings(job, "classifier", steps=5, min_auc=0.0)).metrics
    sides = [metrics[side] for side in ("out_of_fold", "held_out")]
    assert sum(side["five_vs_one"]["network"]["clips"] for side in sides) == len(ratings)
    assert sum(side["all_ratings"]["network"]["clips"] for side in sides) == len(ratings) + len(middle)


def test_a_configuration_of_wrong_sizes_names_the_field(config: Config):
    with pytest.raises(UserError, match=r"classifier.input_height = 40: must divide 90"):
        replace(config.classifier, input_height=40)
