"""Agreement of people: equal to scikit-learn and to Krippendorff's own package, with intervals over videos."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from classifier.labels.agreement import Agreement, agreement_sentence, measure_agreement
from classifier.labels.agreement_draws import alphas, kappas
from pipeline.ids import clip_id_of
from pipeline.label_events import fold, fold_repeats


def events(ratings_by_rater, *, repeat=False, clips_per_video=4):
    """Return one event for each rating (0: none) of each rater's list."""
    return [
        {
            "event_id": f"{who}{number}{repeat}", "annotator": who, "kind": "rate", "rating": int(rating),
            "clip_id": clip_id_of(f"v{number // clips_per_video}", 16000 * (number % clips_per_video), "abc123"),
            "labelled_at": datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=number), "repeat": repeat,
        }
        for who, ratings in ratings_by_rater.items()
        for number, rating in enumerate(ratings)
        if rating
    ]  # fmt: skip


def measured(found) -> Agreement:
    return measure_agreement(fold(found), fold_repeats(found))


@pytest.fixture
def three_raters():
    rng = np.random.default_rng(3)
    truth = rng.integers(1, 6, 120)
    return {
        name: np.where(rng.random(120) < gap, 0, np.clip(truth + rng.integers(-1, 2, 120), 1, 5))
        for name, gap in (("ann", 0), ("bob", 0.2), ("cy", 0.5))
    }


def test_alpha_and_kappa_are_those_of_the_known_packages(three_raters):
    found = measured(events(three_raters))
    table = np.array([np.where(ratings == 0, np.nan, ratings) for ratings in three_raters.values()])
    expected = krippendorff.alpha(reliability_data=table, value_domain=[1, 2, 3, 4, 5], level_of_measurement="ordinal")
    assert found["alpha"]["value"] == pytest.approx(expected)
    both = three_raters["bob"] > 0
    kappa = cohen_kappa_score(three_raters["ann"][both], three_raters["bob"][both], weights="quadratic")
    pair = found["pairs"][0]
    assert pair["raters"] == ("ann", "bob")
    assert pair["kappa"]["value"] == pytest.approx(kappa)
    assert (pair["kappa"]["clips"], pair["kappa"]["few"]) == (both.sum(), False)
    low, high = found["alpha"]["interval"]
    assert low < found["alpha"]["value"] < high
    assert found == measured(events(three_raters))


def test_each_draw_gives_the_metric_of_the_drawn_clips(three_raters):
    ann, bob = three_raters["ann"], np.clip(three_raters["ann"] + np.arange(120) % 3 - 1, 1, 5)
    table = np.zeros((120, 5, 5))
    table[np.arange(120), ann - 1, bob - 1] = 1
    drawn = np.random.default_rng(0).integers(0, 3, (2, 120)).astype(float)
    for row in drawn:
        again = np.repeat(np.arange(120), row.astype(int))
        kappa = cohen_kappa_score(ann[again], bob[again], weights="quadratic")
        assert kappas(table)(row[None])[0] == pytest.approx(kappa)
        pair = np.array([ann[again], bob[again]])
        alpha = krippendorff.alpha(reliability_data=pair, value_domain=[1, 2, 3, 4, 5], level_of_measurement="ordinal")
        assert alphas(table + table.transpose(0, 2, 1))(row[None])[0] == pytest.approx(alpha)


def test_few_clips_are_too_few_to_tell_and_no_second_rating_is_said():
    assert agreement_sentence(measured([])) == "no clip was rated by several people"
    few = measured(events({"ann": [1, 2, 3], "bob": [1, 2, 3]}))
    assert (few["alpha"]["few"], few["alpha"]["value"], few["alpha"]["interval"]) == (True, 1.0, None)
    assert agreement_sentence(few).startswith("too few to tell: 3 clips of 1 videos")
    one_video = measured(events({"ann": [1, 5] * 20, "bob": [1, 5] * 20}, clips_per_video=40))
    assert one_video["alpha"]["few"]
    same = measured(events({"ann": [4] * 40, "bob": [4] * 40}))
    assert (same["alpha"]["value"], same["kappa"]["value"]) == (None, None)
    assert "undefined" in agreement_sentence(same)


def test_people_are_compared_with_themselves_and_with_gold_and_the_stand_in_is_no_person():
    first = {"ann": [1, 5] * 20, "gold": [1, 4] * 20, "arcade": [5, 1] * 20}
    again = {"ann": [1, 5] * 10 + [2, 5] * 10}
    found = measured([*events(first), *events(again, repeat=True)])
    assert (found["pairs"], found["alpha"]["clips"]) == ([], 0)
    own, gold = found["own"]["ann"], found["gold"]["ann"]
    assert (own["same"]["value"], own["close"]["value"], own["same"]["clips"]) == (0.75, 1.0, 40)
    assert (gold["same"]["value"], gold["close"]["value"]) == (0.5, 1.0)
    assert 0.5 < own["same"]["interval"][0] < 0.75 < own["same"]["interval"][1] < 1
    assert list(found["own"]) == list(found["gold"]) == ["ann"]


def test_clips_of_one_video_count_as_one_draw():
    # ten videos whose clips all agree or all differ: as many clips as a hundred, as sure as ten
    ann = np.tile([1, 5], 100)
    bob = np.where(np.arange(200) // 20 % 2 == 0, ann, 3)
    wide = measured(events({"ann": ann, "bob": bob}, clips_per_video=20))["alpha"]["interval"]
    narrow = measured(events({"ann": ann, "bob": bob}, clips_per_video=1))["alpha"]["interval"]
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
