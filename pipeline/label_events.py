"""Label events, and the rating of every clip that follows from them.

Events are only appended (`kind` rate, skip or undo). An annotator's rating of a clip is that annotator's last event,
ordered by (labelled_at, event_id); a skip or an undo means no rating. Several annotators give the median. A median
between two ratings is rounded towards the middle of the scale (4 and 5 give 4, 1 and 2 give 2), so that a clip on
which people disagree is not an example of an extreme. The embedded source rates its own clips as annotator `arcade`,
which counts only where no person rated the clip. Where a person is shown a clip again (`repeat`), the answer tells how
far they agree with themselves; the first rating stays.

An event may name its clip by video and second, or a whole video, which rates each of its clips. It is resolved when it
is read, so that a label that was written before its clip counts as soon as the clip exists.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.label_pictures import BY_NAME, of_earlier_pictures
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.video_names import find_videos

STAND_IN = "arcade"
"""Annotator under which the embedded source's own ratings are stored."""
GOLD = "gold"
"""Annotator of reference ratings, with which the ratings of others are compared."""
START_TOLERANCE_MS = 500
"""A label's second that is this close to the start of a clip names that clip."""

Event = Mapping[str, Any]
Place = tuple[str, float]
"""A video's name and a second in it."""


def fold(events: Iterable[Event]) -> dict[str, dict[str, Event]]:
    """Return clip_id -> annotator -> the rate event that counts; repeats and events without a clip are left out."""
    unique = {event["event_id"]: event for event in events if event["clip_id"] and not event.get("repeat")}
    current: dict[str, dict[str, Event]] = {}
    for event in sorted(unique.values(), key=lambda event: (event["labelled_at"], event["event_id"])):
        of_clip = current.setdefault(event["clip_id"], {})
        if event["kind"] == "rate":
            of_clip[event["annotator"]] = event
        else:
            of_clip.pop(event["annotator"], None)
    return {clip_id: by for clip_id, by in sorted(current.items()) if by}


def fold_repeats(events: Iterable[Event]) -> dict[str, dict[str, Event]]:
    """Return clip_id -> annotator -> what they said when they were shown the clip again."""
    return fold({**event, "repeat": False} for event in events if event.get("repeat"))


def agreed_rating(ratings: Collection[int]) -> int:
    """Return the median of ratings, rounded towards the middle of the scale."""
    middle = statistics.median(ratings)
    return int(middle) if middle == int(middle) else int(middle - 0.5 if middle > 3 else middle + 0.5)


def _rating(by_annotator: Mapping[str, Event]) -> int:
    people = [int(event["rating"]) for name, event in by_annotator.items() if name != STAND_IN]
    return agreed_rating(people or [int(by_annotator[STAND_IN]["rating"])])


@dataclass(frozen=True)
class Labels:
    """The labels of a store as they count now."""

    ratings: Mapping[str, int]
    """Rating 1..5 by clip_id, of clips that exist."""
    by_people: frozenset[str]
    """Clips whose rating comes from a person and not from the embedded source."""
    annotators: Mapping[str, int]
    """Clips rated, by annotator."""
    unresolved: int
    """Current labels whose clip does not exist."""
    events: Mapping[str, Mapping[str, Event]]
    """The events that count, by clip and annotator."""
    left_behind: frozenset[str] = frozenset()
    """Clips with a rating of an earlier picture, which does not count: the clip shows another one since."""
    repeats: Mapping[str, Mapping[str, Event]] = field(default_factory=dict)
    """What annotators said of a clip when they were shown it again, by clip and annotator."""

    @property
    def by_rating(self) -> dict[int, int]:
        """Return the number of clips per rating, 1 to 5."""
        counts = Counter(self.ratings.values())
        return {rating: counts.get(rating, 0) for rating in range(1, 6)}


def load_labels(store: Store, config: Config | None = None) -> Labels:
    """Return the labels of the clips that exist, computed from a store's label events.

    Args:
        store: the store.
        config: labels that name a video and a second are matched with clips of its clip_spec; without it, with clips
            of any, the first by id.
    """
    events = _resolved(store, store.read("labels").to_pylist(), config)
    earlier = of_earlier_pictures(store, events)
    left_behind = frozenset(e["clip_id"] for e in events if e["event_id"] in earlier and e["kind"] == "rate")
    events = [event for event in events if event["event_id"] not in earlier]
    lost = {(e["video"], e["start_s"], e["annotator"]) for e in events if not e["clip_id"] and e["kind"] == "rate"}
    current = fold(events)
    there = existing_clips(store, current, config)
    known = {clip_id: by for clip_id, by in current.items() if clip_id in there}
    return Labels(
        ratings={clip_id: _rating(by) for clip_id, by in known.items()},
        by_people=frozenset(clip_id for clip_id, by in known.items() if set(by) != {STAND_IN}),
        annotators=dict(sorted(Counter(name for by in known.values() for name in by).items())),
        unresolved=len(lost) + sum(len(by) for clip_id, by in current.items() if clip_id not in there),
        events=known,
        left_behind=left_behind - known.keys(),
        repeats={clip_id: by for clip_id, by in fold_repeats(events).items() if clip_id in known},
    )


def _resolved(store: Store, events: list[dict[str, Any]], config: Config | None) -> list[dict[str, Any]]:
    """Return events with their clips; one of a whole video becomes one of each of its clips."""
    named = [event for event in events if not event["clip_id"] and event["video"]]
    found = find_places(
        store, {(event["video"], event["start_s"]) for event in named if event["start_s"] is not None}, config
    )
    whole = find_clips(store, {event["video"] for event in named if event["start_s"] is None}, config)
    resolved = []
    for event in events:
        if event["clip_id"]:
            resolved.append(event)
        elif event["start_s"] is None and whole.get(event["video"]):
            resolved += [
                {**event, "clip_id": clip_id, BY_NAME: True, "event_id": f"{event['event_id']} {clip_id}"}
                for clip_id in whole[event["video"]]
            ]
        else:
            resolved.append({**event, BY_NAME: True, "clip_id": found.get((event["video"], event["start_s"]))})
    return resolved


def current_labels(store: Store, config: Config | None = None) -> dict[str, int]:
    """Return clip_id -> rating 1..5 as it counts now, sorted by clip_id."""
    return dict(load_labels(store, config).ratings)


# -- clips named by video and second ------------------------------------------------------------------------------


def existing_clips(store: Store, clip_ids: Collection[str], config: Config | None = None) -> set[str]:
    """Return the given clip ids that belong to a clip of a completely cut video."""
    if not clip_ids:
        return set()
    table = store.read("clips", ["clip_id", "video_id", "clip_spec"], pc.field("clip_id").isin(sorted(clip_ids)))
    complete = _complete_cuts(store, {row["video_id"] for row in table.to_pylist()}, config)
    return {row["clip_id"] for row in table.to_pylist() if (row["video_id"], row["clip_spec"]) in complete}


def find_places(store: Store, places: Collection[Place], config: Config | None = None) -> dict[Place, str]:
    """Return the clip of each (video, second) that has one.

    It is the clip whose start is nearest, within half a second, or else the clip whose span contains the second. A
    video is named by its id, native id, URL or file name; a name that several videos have finds nothing.
    """
    if not places:
        return {}
    spans = _spans(store, {video for video, _ in places}, config)
    found = {}
    for video, start_s in places:
        clip_id = _clip_at(spans.get(video, []), round(start_s * 1000))
        if clip_id is not None:
            found[(video, start_s)] = clip_id
    return found


def find_clips(store: Store, names: Collection[str], config: Config | None = None) -> dict[str, list[str]]:
    """Return name -> the clips of the one video that it stands for, in the order of their ids."""
    return {name: [clip_id for _, _, clip_id in spans] for name, spans in _spans(store, names, config).items()}


def _spans(store: Store, names: Collection[str], config: Config | None) -> dict[str, list[tuple[int, int, str]]]:
    """Return name -> (start_ms, end_ms, clip_id) of the clips of the one video that it stands for."""
    if not names:
        return {}
    videos = {name: next(iter(ids)) for name, ids in find_videos(store, names).items() if len(ids) == 1}
    of_video: dict[str, list[tuple[int, int, str]]] = {}
    where = pc.field("video_id").isin(pa.array(sorted(set(videos.values())), pa.string()))
    columns = ["clip_id", "video_id", "clip_spec", "start_ms", "end_ms"]
    complete = _complete_cuts(store, set(videos.values()), config)
    for row in store.read("clips", columns, where).sort_by("clip_id").to_pylist():
        if (row["video_id"], row["clip_spec"]) in complete:
            of_video.setdefault(row["video_id"], []).append((row["start_ms"], row["end_ms"], row["clip_id"]))
    return {name: of_video[video_id] for name, video_id in videos.items() if video_id in of_video}


def _clip_at(spans: list[tuple[int, int, str]], at_ms: int) -> str | None:
    near = [(abs(start - at_ms), clip_id) for start, _, clip_id in spans if abs(start - at_ms) <= START_TOLERANCE_MS]
    if near:
        return min(near)[1]
    return next((clip_id for start, end, clip_id in spans if start <= at_ms < end), None)


def _complete_cuts(store: Store, video_ids: Collection[str], config: Config | None) -> set[tuple[str, str]]:
    where = (pc.field("state") == "ok") & pc.field("video_id").isin(pa.array(sorted(video_ids), pa.string()))
    if config is not None:
        where = where & (pc.field("clip_spec") == clip_spec(config.clips))
    rows = store.read("clippings", ["video_id", "clip_spec"], where).to_pylist()
    return {(row["video_id"], row["clip_spec"]) for row in rows}
