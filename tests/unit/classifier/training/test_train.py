"""The classifier on a store of its own: learned, calibrated, published once, and honest about too few labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.labels.sync import current_labels, import_labels
from classifier.pool import load_pool
from classifier.training.examples import load_examples
from classifier.training.train import KIND, classifier_is_current, load_document, train_classifier
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.storage.models_table import newest_model
from tests.snapshots import snapshot


def test_a_classifier_learns_to_tell_sources_it_never_saw(trained, config, make_writer):
    model = newest_model(trained, KIND)
    figures = model.metrics
    held = figures["held_out"]["five_vs_one"]
    assert held["network"]["auc"] > 0.9
    writer = make_writer(trained, config)
    assert held["network"]["sources"] == sum(writer.group_split(f"video-{i:02d}") == "val" for i in range(12))
    assert figures["beats_best_flag"] is True
    assert figures["auc"]["value"] == held["network"]["auc"]
    assert set(held["baselines"]) == {"logistic regression", "gradient boosting"}
    assert held["single"]["best_measurement"]["auc"] is not None
    assert model.parameters < 200_000
    document = load_document(trained, model)
    assert len(document["out_of_fold"]["clip_id"]) + len(document["held_out"]["clip_id"]) == 24
    assert not set(document["out_of_fold"]["group"]) & set(document["held_out"]["group"])


def test_training_again_writes_nothing_and_another_label_trains_anew(trained, config, tmp_path):
    first = newest_model(trained, KIND).model_id
    assert classifier_is_current(trained, config)
    before = snapshot(trained.root)
    again = train_classifier(trained, config)
    assert (again.model_id, again.trained) == (first, False)
    assert snapshot(trained.root) == before
    clip_id = next(clip for clip, rating in current_labels(trained).items() if rating == 5)
    (tmp_path / "more.csv").write_text(f"clip_id,rating\n{clip_id},4\n")
    import_labels(trained, tmp_path / "more.csv", "ann", config)
    assert not classifier_is_current(trained, config)
    assert train_classifier(trained, config).model_id != first


def test_the_same_labels_give_the_same_weights_byte_for_byte(trained, store, config, pool_writer, fill_pool):
    import_labels(store, pool_writer.rate(fill_pool(pool_writer)), "ann", config)
    train_classifier(store, config)
    weights = [s.read_blob(f"{newest_model(s, KIND).path}/weights.safetensors") for s in (trained, store)]
    assert weights[0] == weights[1]


def test_too_few_labels_say_how_many_more_and_how(store, config, pool_writer, fill_pool):
    ratings = fill_pool(pool_writer, 4)
    few = replace(config, labels=replace(config.labels, min_per_class=7))
    import_labels(store, pool_writer.rate(ratings), "ann", config)
    with pytest.raises(UserError, match=r"3 more clips rated 5 and 3 more clips rated 1 needed.*lampworks label"):
        train_classifier(store, few)
    assert newest_model(store, KIND) is None


def test_labels_of_one_source_are_refused(store, config, pool_writer):
    pair = [name for name in (f"video-{i}" for i in range(99)) if pool_writer.group_split(name) == "train"][:2]
    good, bad = pool_writer.add(pair[0], "ggggg"), pool_writer.add(pair[1], "bbbbb")
    import_labels(store, pool_writer.rate({**dict.fromkeys(good, 5), **dict.fromkeys(bad, 1)}), "ann", config)
    with pytest.raises(UserError, match="fives from 1 and ones from 1 sources"):
        train_classifier(store, config)


def test_a_classifier_below_the_floor_is_not_published(store, config, pool_writer, fill_pool):
    ratings = fill_pool(pool_writer)
    rng = np.random.default_rng(0)
    guessed = {clip: int(rating) for clip, rating in zip(ratings, rng.permutation(list(ratings.values())), strict=True)}
    import_labels(store, pool_writer.rate(guessed), "ann", config)
    strict = replace(config, classifier=replace(config.classifier, min_auc=0.99))
    with pytest.raises(UserError, match=r"below classifier.min_auc = 0.99: nothing was published"):
        train_classifier(store, strict)
    assert newest_model(store, KIND) is None
    assert store.list_blobs("models") == []


def test_a_clip_with_unreadable_frames_is_left_out_and_named(trained, config):
    row = trained.read("clips").to_pylist()[0]
    path = Path(trained.url(row["tar"]))
    data = bytearray(path.read_bytes())
    data[row["frames_offset"] : row["frames_offset"] + 100] = bytes(100)
    path.write_bytes(bytes(data))
    examples = load_examples(load_pool(trained, config), current_labels(trained), config.classifier)
    assert list(examples.unreadable) == [row["clip_id"]]
    assert len(examples.clip_ids) == 23


def test_middle_ratings_teach_nothing_but_count_in_the_calibration(store, config, pool_writer, fill_pool):
    ratings = fill_pool(pool_writer)
    middle = {}
    for index in range(4):
        middle |= dict.fromkeys(pool_writer.add(f"middle-{index}", "gb"), 3)
    import_labels(store, pool_writer.rate({**ratings, **middle}), "ann", config)
    figures = train_classifier(store, config).figures
    sides = [figures[side] for side in ("out_of_fold", "held_out")]
    assert sum(side["five_vs_one"]["network"]["clips"] for side in sides) == len(ratings)
    assert sum(side["all_ratings"]["network"]["clips"] for side in sides) == len(ratings) + len(middle)


def test_a_configuration_of_wrong_sizes_names_the_field(config: Config):
    with pytest.raises(UserError, match=r"classifier.input_height = 40: must divide 90"):
        replace(config.classifier, input_height=40)
