"""Label events fold into ratings: the last event of an annotator counts, and nothing counts twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.label_events import agreed_rating, fold
from pipeline.storage.store import Store
from pipeline.video_names import find_videos

START = datetime(2026, 11, 20, tzinfo=UTC)


def event(number: int, clip: str, rating: int | None, *, who: str = "ann", kind: str = "rate", at: int | None = None):
    return {
        "event_id": f"e{number}", "clip_id": clip, "rating": rating, "annotator": who, "kind": kind,
        "labelled_at": START + timedelta(seconds=number if at is None else at),
    }  # fmt: skip


def ratings(events) -> dict[str, dict[str, int]]:
    return {clip: {who: e["rating"] for who, e in by.items()} for clip, by in fold(events).items()}


def test_the_last_event_of_an_annotator_holds():
    events = [event(1, "a", 2), event(2, "a", 5), event(3, "a", 1, who="bob")]
    assert ratings(events) == {"a": {"ann": 5, "bob": 1}}
    assert ratings(reversed(events)) == {"a": {"ann": 5, "bob": 1}}


def test_undo_and_skip_leave_no_rating_until_the_next_one():
    undone = [event(1, "a", 4), event(2, "a", None, kind="undo")]
    assert ratings(undone) == {}
    assert ratings([*undone, event(3, "a", 2)]) == {"a": {"ann": 2}}
    assert ratings([event(1, "a", 4), event(2, "a", None, kind="skip")]) == {}


def test_a_repeat_changes_no_rating():
    first, again = event(1, "a", 4), event(2, "a", 1)
    assert ratings([first, {**again, "repeat": True}]) == {"a": {"ann": 4}}
    assert ratings([first, {**event(2, "a", None, kind="undo"), "repeat": True}]) == {"a": {"ann": 4}}
    assert ratings([first, {**again, "repeat": None}]) == {"a": {"ann": 1}}


def test_an_event_counts_once_and_equal_times_are_ordered_by_id():
    assert ratings([event(1, "a", 4), event(1, "a", 4)]) == {"a": {"ann": 4}}
    assert ratings([event(2, "a", 2, at=0), event(1, "a", 1, at=0)]) == {"a": {"ann": 2}}


@pytest.mark.parametrize(
    ("given", "agreed"), [([5], 5), ([4, 5], 4), ([1, 2], 2), ([2, 3], 3), ([3, 4], 3), ([1, 5], 3), ([1, 5, 5], 5)]
)
def test_several_annotators_give_the_median_a_tie_goes_to_the_middle(given, agreed):
    assert agreed_rating(given) == agreed


def test_a_stored_address_that_cannot_be_parsed_hides_no_other_video(store: Store) -> None:
    rows = [
        {"video_id": "generic-bad", "native_id": "", "url": "http://[::1/level.mp4"},
        {"video_id": "generic-good", "native_id": "", "url": "http://host/level.mp4"},
    ]
    store.append("videos", rows)
    assert find_videos(store, ["level.mp4", "http://[::1/level.mp4"]) == {
        "level.mp4": {"generic-good"},
        "http://[::1/level.mp4": {"generic-bad"},
    }
