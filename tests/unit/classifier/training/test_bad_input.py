"""What a person gets whose labels are too few, of one kind, of one source or in conflict, or whose clips are gone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from classifier.labels.import_file import import_labels
from classifier.training.published import KIND, latest_classifier, load_document, load_scorer
from classifier.training.train import classifier_is_current, require_labels, train_classifier
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import current_labels
from pipeline.storage.models_table import ModelRecord, append_model
from pipeline.storage.takedown import request_takedown

HAND = ClassifierConfig(candidates=("measurements",), folds=2, repeats=1, threads=1, min_auc=0.0)
"""The candidate without pictures: a training takes a tenth of a second."""


def label(job: Job, ratings, annotator="ann"):
    path = Path(job.store.root).parent / f"{annotator}.csv"
    path.write_text("clip_id,rating\n" + "".join(f"{clip},{rating}\n" for clip, rating in ratings.items()), "utf-8")
    import_labels(job.store, path, annotator, job.config)


def with_candidates(job: Job, *names, **values) -> Job:
    return replace(job, config=replace(job.config, classifier=replace(HAND, candidates=names, **values)))


@pytest.mark.parametrize(
    ("ratings", "more"),
    [
        ([5, 5, 5, 5, 4, 4], r"4 more bad clips \(rated 2 or less\) needed"),
        ([1, 1, 2, 2, 1, 3], r"4 more good clips \(rated 4 or more\) needed"),
        ([5, 1, 2], r"3 more good clips \(rated 4 or more\) and 2 more bad clips \(rated 2 or less\) needed"),
        ([3, 3, 3], r"4 more good clips .* and 4 more bad clips"),
        ([5, 5, 5, 4, 1, 1, 1], r"1 more bad clip \(rated 2 or less\) needed"),
    ],
)
def test_labels_that_do_not_suffice_say_how_many_more_of_which(config, ratings, more):
    with pytest.raises(UserError, match=rf"{more}.*labels\.min_per_class = 4, {len(ratings)} clips are rated now"):
        require_labels({f"clip-{place}": rating for place, rating in enumerate(ratings)}, config)


def test_fours_and_twos_alone_are_enough_where_fives_and_ones_were_asked_for_before(labelled):
    label(labelled, {clip: {5: 4, 1: 2}[rating] for clip, rating in current_labels(labelled.store).items()})
    # the network of the paper cannot learn from them: it is left out, and the rest goes on
    found = train_classifier(with_candidates(labelled, "measurements", "network")).metrics
    assert found["published"] == "measurements"
    [network] = [row for row in found["candidates"] if row["name"] == "network"]
    assert network["auc"] is None
    assert "ordinal and soft learn from all ratings" in network["note"]


def test_a_clip_on_which_people_disagree_counts_as_the_middle(labelled):
    ratings = current_labels(labelled.store)
    disputed = next(clip for clip, rating in ratings.items() if rating == 5)
    label(labelled, {disputed: 1}, "bob")
    found = train_classifier(labelled).metrics
    assert found["labels"]["by_rating"]["3"] == 1
    assert found["headline"]["clips"] == len(ratings) - 1


def test_a_clip_whose_bytes_are_gone_is_named_where_pictures_are_needed(labelled):
    gone = labelled.store.read("clips").sort_by("clip_id").to_pylist()[0]
    Path(labelled.store.url(gone["tar"])).unlink()
    assert train_classifier(labelled).metrics["unreadable"] == {}, "measurements are columns"
    network = with_candidates(labelled, "network", width=4, input_height=30, steps=1, batch=4)
    found = train_classifier(network).metrics
    assert len(found["unreadable"]) == 2
    assert gone["clip_id"] in found["unreadable"]
    assert found["calibration"]["clips"] == 22


def test_a_model_of_an_older_format_is_trained_again_and_says_so_where_it_is_read(labelled):
    path = f"models/{KIND}/old"
    labelled.store.write_blob(f"{path}/model.json", json.dumps({"format": 1, "calibration": {}}).encode())
    inputs = {"fingerprint": "of old", "clip_spec": "x", "clips": {}}
    append_model(
        labelled.store, ModelRecord(model_id="old", kind=KIND, path=path, config={}, metrics={}, inputs=inputs)
    )
    old = latest_classifier(labelled.store)
    for read in (load_document, lambda store, model: load_scorer(store, model, HAND)):
        with pytest.raises(UserError, match=r"old is of format 1, .* reads format 2: train again with `lampworks run`"):
            read(labelled.store, old)
    assert not classifier_is_current(labelled.store, labelled.config)
    found = train_classifier(labelled)
    assert found.metrics["promotion"]["why"] == "old is of an older format"
    assert latest_classifier(labelled.store).model_id == found.model_id


def test_new_labels_call_for_a_challenger_and_the_row_says_how_it_did(labelled, monkeypatch):
    ratings = current_labels(labelled.store)
    first = train_classifier(labelled)
    assert first.metrics["promotion"]["why"] == "no classifier was published before"
    label(labelled, {next(iter(ratings)): 2})
    # a calibration with steps makes clips level: raw scores are compared
    before = load_document(labelled.store, latest_classifier(labelled.store))
    flat = {**before["calibration"], "method": "isotonic", "scores": [0.0], "probabilities": [0.5]}
    monkeypatch.setattr("classifier.training.champion.load_document", lambda *_: {**before, "calibration": flat})
    second = train_classifier(labelled)
    promotion = second.metrics["promotion"]
    assert promotion["champion_auc"]["auc"] != 0.5
    assert promotion["champion"] == first.model_id
    assert promotion["replaced"]
    assert "too few clips that neither learned from to compare it" in promotion["why"]
    assert promotion["champion_auc"]["clips"] == 24, "out-of-fold scores of both"


def test_a_challenger_that_loses_is_not_published_and_not_trained_again(labelled, monkeypatch):
    ratings = current_labels(labelled.store)
    first = train_classifier(labelled)
    lost = {**first.metrics["promotion"], "champion": first.model_id, "replaced": False, "why": "it lost"}
    monkeypatch.setattr("classifier.training.train.against_champion", lambda *_: lost)
    label(labelled, {next(iter(ratings)): 2})
    assert not classifier_is_current(labelled.store, labelled.config)
    kept = train_classifier(labelled)
    assert (kept.model_id, kept.metrics["promotion"]["why"]) == (first.model_id, "it lost")
    assert classifier_is_current(labelled.store, labelled.config)
    assert not train_classifier(labelled).trained
    assert len(labelled.store.read("models")) == 1
    assert len(labelled.store.list_blobs("models")) == 2
    # also after a trial with other settings, of which another classifier came
    trial = replace(latest_classifier(labelled.store), model_id="trial", inputs={"fingerprint": "of other settings"})
    append_model(labelled.store, trial)
    again = train_classifier(labelled)
    assert (again.model_id, again.trained) == (first.model_id, False)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"feature_names": ["luck"]}, r"measurements that are not made any more \(luck\)"),
        ({"encoder": "another"}, "needs embeddings of another, not of efficientnet-lite0"),
    ],
)
def test_a_classifier_that_cannot_score_the_clips_of_today_never_stays(labelled, monkeypatch, changed, why):
    first = train_classifier(labelled)
    before = load_document(labelled.store, latest_classifier(labelled.store))
    monkeypatch.setattr("classifier.training.champion.load_document", lambda *_: {**before, **changed})
    label(labelled, {before["out_of_fold"]["clip_id"][0]: 2})
    second = train_classifier(labelled)
    assert second.model_id != first.model_id
    assert re.search(why, second.metrics["promotion"]["why"])


def test_a_classifier_that_learned_from_a_clip_that_is_gone_never_stays(labelled):
    first = train_classifier(labelled)
    request_takedown(labelled.store, "video", "video-03", "asked")
    second = train_classifier(labelled)
    assert second.model_id != first.model_id
    assert second.metrics["promotion"]["why"] == f"2 clips that {first.model_id} learned from are not there any more"
