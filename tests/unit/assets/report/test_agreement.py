"""The report says how far people agree who rated the same clips, and nothing where no clip was rated twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.report.agreement import agreement_view
from pipeline.storage.store import Store
from tests.synthetic import CONFIG, START, add_clips, add_downloads, add_labels, add_videos


@pytest.fixture
def rated(tmp_path: Path) -> tuple[Store, dict[str, int]]:
    store = Store(tmp_path / "root")
    clips = add_clips(store, CONFIG, add_downloads(store, add_videos(store, CONFIG)))
    return store, add_labels(store, clips)


def rate(store: Store, name: str, ratings: dict[str, int], *, repeat: bool = False) -> None:
    rows = [
        {"event_id": f"{name}-{clip_id}-{repeat}", "clip_id": clip_id, "rating": rating, "kind": "rate",
         "annotator": name, "resolved": True, "origin": "test", "labelled_at": START, "repeat": repeat}
        for clip_id, rating in ratings.items()
    ]  # fmt: skip
    store.append("labels", rows)


def test_nothing_is_said_where_one_person_rated_each_clip(rated: tuple[Store, dict[str, int]]) -> None:
    assert agreement_view(rated[0], CONFIG) is None


def test_pairs_of_raters_and_repeats_have_their_figures_or_are_too_few(rated: tuple[Store, dict[str, int]]) -> None:
    store, ratings = rated
    first = next(iter(ratings))
    rate(store, "bob", ratings)
    rate(store, "eve", {**ratings, first: 3})
    rate(store, "bob", {first: 5}, repeat=True)
    found = agreement_view(store, CONFIG)
    assert found is not None
    assert found.sentence.startswith("Krippendorff's alpha 1.00 (0.98 to 1.00)")
    rows = {row.who: row for row in found.rows}
    assert rows["bob and eve"].clips == 24
    assert rows["bob and eve"].same.startswith("0.96 [")
    assert (rows["ada <i> and bob"].same, rows["bob, shown again"].same) == ("too few to tell", "too few to tell")
