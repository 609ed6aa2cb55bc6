import numpy as np
import pytest

from classifier.audit.estimate import Answers, AuditFigures, answers, estimate
from classifier.audit.sample import FAR, KEPT, NEAR, Audit, KnownClips

NONE = KnownClips(kept=0, kept_good=0, left=0, left_good=0)


def audit(strata: dict[str, int], known: KnownClips = NONE) -> Audit:
    rows = [
        {"name": name, "stream": "audit_high" if name == KEPT else "audit_low", "clips": clips, "drawn": clips}
        for name, clips in strata.items()
    ]
    asked = {"kept": 1, "dropped": 1, "seed": 0}
    return Audit(decision="d", asked=asked, known=known, left_out=0, strata=rows, clips=[])  # type: ignore[typeddict-item]


def rated(strata: dict[str, int], ratings: dict[str, str], known: KnownClips = NONE, sources: int = 10) -> AuditFigures:
    """Return the figures of an audit whose rated clips are good (`g`) or bad (`b`), taking turns over sources."""
    order = list(strata)
    places = [order.index(name) for name, letters in ratings.items() for _ in letters]
    good = [letter == "g" for letters in ratings.values() for letter in letters]
    groups = [f"s{number % sources}" for number in range(len(good))]
    return estimate(answers(audit(strata, known), places, good, groups))


def test_each_rated_clip_stands_for_the_clips_of_its_stratum():
    figures = rated({KEPT: 200, NEAR: 100, FAR: 700}, {KEPT: "g" * 18 + "bb", NEAR: "ggggb" * 2, FAR: "g" + "b" * 9})
    assert figures["precision"]["value"] == pytest.approx(0.9)
    # 180 good ones are kept; 80 near the cut and 70 far below it are not
    assert figures["recall"]["value"] == pytest.approx(180 / (180 + 80 + 70))
    assert (figures["recall"]["clips"], figures["recall"]["sources"]) == (40, 10)
    for figure in (figures["precision"], figures["recall"]):
        assert figure["interval"] is not None
        assert figure["source_interval"] is not None
        assert figure["interval"][0] < figure["value"] < figure["interval"][1]  # type: ignore[operator]
        assert figure["source_interval"][0] <= figure["interval"][0]
        assert figure["source_interval"][1] >= figure["interval"][1]
        assert not figure["few"]


def test_ratings_that_were_known_before_are_counted_once_each():
    known = KnownClips(kept=100, kept_good=95, left=30, left_good=20)
    figures = rated({KEPT: 100, FAR: 100}, {KEPT: "gb" * 10, FAR: "b" * 19 + "g"}, known)
    assert figures["precision"]["value"] == pytest.approx(0.5)
    assert figures["whole_precision"]["value"] == pytest.approx((95 + 50) / 200)
    assert figures["recall"]["value"] == pytest.approx((95 + 50) / (95 + 50 + 20 + 5))


def test_where_every_clip_was_rated_the_figures_are_exact():
    figures = rated({KEPT: 20, FAR: 25}, {KEPT: "g" * 15 + "b" * 5, FAR: "g" * 5 + "b" * 20})
    assert figures["precision"]["interval"] == (0.75, 0.75)
    assert figures["recall"]["interval"] == (0.75, 0.75)


def test_all_good_is_not_certainty():
    figures = rated({KEPT: 1000, FAR: 1000}, {KEPT: "g" * 50, FAR: "b" * 50})
    for name in ("precision", "recall"):
        low, high = figures[name]["interval"]  # type: ignore[literal-required]
        assert (figures[name]["value"], high) == (1.0, 1.0)  # type: ignore[literal-required]
        assert 0.85 < low < 0.99


@pytest.mark.parametrize(
    ("ratings", "sources", "few"),
    [
        ({KEPT: "g" * 20, FAR: "b" * 20}, 5, False),
        ({KEPT: "g" * 19, FAR: "b" * 20}, 5, True),
        ({KEPT: "g" * 20, FAR: "b" * 20}, 4, True),
    ],
)
def test_fewer_than_twenty_clips_of_five_sources_are_too_few_to_tell(ratings: dict[str, str], sources: int, few: bool):
    assert rated({KEPT: 99, FAR: 99}, ratings, sources=sources)["precision"]["few"] is few


def test_recall_is_unknown_as_long_as_a_stratum_has_no_rating():
    figures = rated({KEPT: 99, NEAR: 50, FAR: 99}, {KEPT: "g" * 25, NEAR: "b" * 25})
    assert figures["recall"]["value"] is None
    assert figures["recall"]["few"]
    assert figures["precision"]["value"] == 1.0
    nothing = rated({KEPT: 99, FAR: 99}, {})
    assert [figure["value"] for figure in nothing.values()] == [None, None, None]  # type: ignore[index]


@pytest.mark.parametrize("correlated", [0.0, 0.8])
def test_the_interval_of_this_set_covers_the_truth_as_often_as_it_says(
    correlated: float, monkeypatch: pytest.MonkeyPatch
):
    """Whether clips of one source are alike or not: they are drawn one by one, and not by source."""
    monkeypatch.setattr("classifier.audit.estimate.NUM_DRAWS", 500)
    random = np.random.default_rng(7)
    sizes, asked, share = {KEPT: 600, NEAR: 200, FAR: 1200}, {KEPT: 60, NEAR: 50, FAR: 50}, (0.9, 0.5, 0.05)
    hits, trials = {"precision": 0, "recall": 0}, 250
    for trial in range(trials):
        pools = []
        for clips, good in zip(sizes.values(), share, strict=True):
            of_source = random.beta(good / 2, (1 - good) / 2, 20)[random.integers(0, 20, clips)]
            pools.append(random.random(clips) < correlated * of_source + (1 - correlated) * good)
        drawn = [random.choice(pool, number, replace=False) for pool, number in zip(pools, asked.values(), strict=True)]
        figures = estimate(
            answers(
                audit(sizes),
                np.repeat([0, 1, 2], list(asked.values())).tolist(),
                np.concatenate(drawn).tolist(),
                ["one source"] * sum(asked.values()),
            ),
            seed=trial,
        )
        truth = {"precision": pools[0].mean(), "recall": pools[0].sum() / sum(pool.sum() for pool in pools)}
        for name in hits:
            low, high = figures[name]["interval"]  # type: ignore[literal-required]
            hits[name] += low <= truth[name] <= high
    # 95 %, and three standard deviations of 250 trials
    assert all(0.91 <= hit / trials <= 0.99 for hit in hits.values()), hits


def test_answers_are_arrays_of_the_audit():
    found = answers(audit({KEPT: 3, FAR: 4}), [1, 0], [True, False], ["a", "b"])
    assert isinstance(found, Answers)
    assert (found.clips_S.tolist(), found.is_kept_S.tolist()) == ([3, 4], [True, False])
