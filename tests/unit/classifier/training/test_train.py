"""The classifier on a small store: trained, calibrated, published once, and refused where labels are too few."""

from __future__ import annotations

from dataclasses import replace

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
from tests.snapshots import snapshot

pytestmark = pytest.mark.heavy


def with_settings(job: Job, section: str, **values: object) -> Job:
    """Return the job with other settings of a section."""
    changed = replace(getattr(job.config, section), **values)
    return replace(job, config=replace(job.config, **{section: changed}))


def test_the_figure_that_is_told_first_is_out_of_fold_and_says_that_so_few_clips_tell_nothing(trained):
    model = latest_classifier(trained.store)
    metrics = model.metrics
    assert metrics["published"] == "network"
    assert metrics["headline"]["auc"] > 0.9
    assert metrics["headline"]["few"], "12 good clips are too few to tell"
    assert "too few to tell candidates apart (12 good clips of 6 sources" in metrics["why"]
    assert (metrics["held_out"]["used"], metrics["held_out"]["auc"]) == (False, None)
    assert "24 labels (fewer than 300)" in metrics["held_out"]["why"]
    assert model.parameters < 200_000
    document = load_document(trained.store, model)
    assert len(document["out_of_fold"]["clip_id"]) == 24, "every rated clip has an out-of-fold score"
    assert document["needs"] == ["frames"]


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


def test_the_same_labels_give_the_same_weights_and_another_seed_gives_others(labelled):
    quick = with_settings(labelled, "classifier", candidates=("network",), width=4, input_height=30, steps=2, batch=8)
    # the id is a hash of the weights and of model.json
    first = train_classifier(quick).model_id
    quick.store.replace("models", [])
    again = train_classifier(quick)
    assert (again.model_id, again.trained) == (first, True)
    assert train_classifier(with_settings(quick, "classifier", seed=5)).model_id != first


def test_after_a_trial_with_other_settings_the_classifier_of_before_is_used_without_training(labelled):
    first = train_classifier(labelled)
    trial = train_classifier(with_settings(labelled, "classifier", seed=5))
    assert trial.metrics["promotion"]["why"].startswith("the settings of the classifier are not those that")
    assert latest_classifier(labelled.store).model_id == trial.model_id != first.model_id
    assert not classifier_is_current(labelled.store, labelled.config)
    again = train_classifier(labelled)
    assert (again.model_id, again.trained) == (first.model_id, False)
    assert classifier_is_current(labelled.store, labelled.config)
    assert latest_classifier(labelled.store).model_id == first.model_id
    assert len(labelled.store.read("models")) == 2, "no row is there twice"
    # a floor is a gate: 24 clips are too few for it to refuse anything, and it trains nothing
    raised = with_settings(labelled, "classifier", min_auc=1.0)
    assert classifier_is_current(raised.store, raised.config)
    assert not train_classifier(raised).trained


def test_labels_of_one_source_are_refused(job, pool_writer):
    pair = [name for name in (f"video-{i}" for i in range(99)) if pool_writer.group_split(name) == "train"][:2]
    good, bad = pool_writer.add(pair[0], "ggggg"), pool_writer.add(pair[1], "bbbbb")
    ratings = {**dict.fromkeys(good, 5), **dict.fromkeys(bad, 1)}
    import_labels(job.store, pool_writer.rate(ratings), "ann", job.config)
    with pytest.raises(UserError, match="good clips from 1 and bad ones from 1"):
        train_classifier(job)


def test_a_clip_with_unreadable_frames_is_left_out_and_named(trained, damage_frames):
    damaged = damage_frames(trained.store)
    pool = load_pool(trained.store, trained.config)
    examples = load_examples(pool, current_labels(trained.store), trained.config.classifier, frozenset({"frames"}))
    assert list(examples.unreadable) == [damaged["clip_id"]]
    assert len(examples.clip_ids) == 23


def test_middle_ratings_are_not_compared_but_count_in_the_calibration(job, pool_writer, fill_pool):
    ratings = fill_pool(pool_writer)
    middle = {}
    for index in range(4):
        middle |= dict.fromkeys(pool_writer.add(f"middle-{index}", "gb"), 3)
    import_labels(job.store, pool_writer.rate({**ratings, **middle}), "ann", job.config)
    report = train_classifier(with_settings(job, "classifier", candidates=("measurements",)))
    found = report.metrics
    assert found["headline"]["clips"] == len(ratings)
    assert found["calibration"]["clips"] == len(ratings) + len(middle)


def test_a_configuration_of_wrong_sizes_names_the_field(config: Config):
    with pytest.raises(UserError, match=r"classifier.input_height = 40: must divide 90"):
        replace(config.classifier, input_height=40)
