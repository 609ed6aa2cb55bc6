"""Rows of a sidecar become the actions of a clip's transitions, whatever the rates of source and clip."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.actions.align import ClipFrames, Timeline, align
from pipeline.actions.columns import BadSidecarError
from pipeline.actions.join import join_actions
from pipeline.actions.sidecar import ActionRows
from pipeline.errors import UserError

ID = "folder-a-0000000000-000000000-00000000"


def rows(actions: list[object], times: list[float] | None = None) -> ActionRows:
    when = None if times is None else np.array(times, np.float64)
    if isinstance(actions[0], str):
        return ActionRows(tuple(map(str, actions)), None, when)
    return ActionRows(None, np.array(actions, np.float32), when)


def clip(sources: list[int], start_s: float = 0.0) -> ClipFrames:
    return ClipFrames(ID, np.array(sources, np.int64), start_s + np.arange(len(sources)) / 10)


def joined(given: ActionRows, frames: ClipFrames, rule: str = "auto", *, num_frames: int | None = None) -> list[object]:
    count = len(given) if num_frames is None else num_frames
    [found] = join_actions(align(given, Timeline(count, frames.times_s[-1] + 0.1, 0), [frames]), rule)  # type: ignore[arg-type]
    assert found.clip_id == ID
    return list(found.labels) if found.labels is not None else found.values.ravel().tolist()


def test_the_rows_from_one_frame_up_to_the_next_lead_over_the_transition() -> None:
    # 30 frames a second become 10: source frames 0-2 lead from the first frame to the second
    keys = rows(["a", "a", "b", "c", "c", "c", "d", "e", "e", "f"])
    frames = clip([0, 3, 6, 9])
    assert joined(keys, frames) == ["a", "c", "e"]
    assert joined(keys, frames, "first") == ["a", "c", "d"]
    assert joined(keys, frames, "last") == ["b", "c", "e"]
    # an environment gives one action less than there are frames
    assert joined(rows(keys.labels[:-1]), frames, num_frames=10) == ["a", "c", "e"]
    # of equals the earliest
    assert joined(rows(["b", "a", "b", "a", "x"]), clip([0, 4])) == ["b"]


def test_continuous_actions_are_averaged_added_or_picked() -> None:
    values = rows([[1.0], [2.0], [6.0], [-1.0], [-1.0], [-4.0], [9.0]])
    frames = clip([0, 3, 6])
    for rule, expected in [
        ("auto", [3, -2]),
        ("mean", [3, -2]),
        ("sum", [9, -6]),
        ("first", [1, -1]),
        ("last", [6, -4]),
    ]:
        assert joined(values, frames, rule) == expected


def test_a_source_that_is_slower_than_the_clip_keeps_its_action_and_adds_it_once() -> None:
    frames = clip([0, 0, 1, 1, 2])
    assert joined(rows(["a", "b", "c"]), frames) == ["a", "a", "b", "b"]
    assert joined(rows([[1.0], [2.0], [3.0]]), frames, "mean") == [1, 1, 2, 2]
    assert joined(rows([[1.0], [2.0], [3.0]]), frames, "sum") == [0, 1, 0, 2]


def test_rows_with_times_are_in_force_until_the_next_one() -> None:
    events = rows(["run", "jump", "run"], [0, 0.13, 0.18])
    # in the second transition it runs for 30 ms, jumps for 50, runs for 20
    assert joined(events, clip([0, 1, 2, 3])) == ["run", "run", "run"]
    assert joined(events, clip([0, 1, 2, 3]), "last") == ["run", "run", "run"]
    assert joined(rows(["run", "jump"], [0, 0.13]), clip([0, 1, 2])) == ["run", "jump"]
    speeds = rows([[0.0], [10.0]], [0, 0.15])
    assert joined(speeds, clip([0, 1, 2, 3])) == pytest.approx([0, 5, 10])
    assert joined(speeds, clip([0, 1, 2, 3]), "sum") == [0, 10, 0]
    # times of 32 bits, as LeRobot writes them
    stamps = np.arange(12, dtype=np.float32) / np.float32(10)
    even = rows([[float(k)] for k in range(12)], stamps.astype(float).tolist())
    assert joined(even, clip(list(range(12)))) == list(range(11))


@pytest.mark.parametrize(
    ("given", "timeline", "why"),
    [
        (rows(["a"] * 8), Timeline(10, 1.0, 0), r"8 rows, and the video 10 frames: .* \(10, or 9 where"),
        (rows(["a"] * 11), Timeline(10, 1.0, 0), "11 rows"),
        (rows(["a"] * 9), Timeline(9, 1.0, 100), "100 ms of the video cannot be decoded"),
        (rows(["a", "b"], [0.5, 0.7]), Timeline(9, 1.0, 0), "write a row at t = 0"),
        (
            rows(["a"] * 20, [k / 10 for k in range(20)]),
            Timeline(30, 3.0, 0),
            "the video lasts 3 s: write rows for all",
        ),
        (
            rows(["a"] * 20, [k / 10 for k in range(21) if k != 9]),
            Timeline(20, 2.1, 0),
            "missing between t = 0.8 s and",
        ),
    ],
)
def test_rows_that_do_not_cover_the_video_are_refused(given: ActionRows, timeline: Timeline, why: str) -> None:
    with pytest.raises(BadSidecarError, match=why):
        align(given, timeline, [clip([0, 1])])


def test_a_rule_for_the_other_kind_of_actions_is_refused_with_the_rules_there_are() -> None:
    with pytest.raises(UserError, match=r"join_actions = 'mean' .* set it to auto, most, first or last"):
        joined(rows(["a", "b"]), clip([0, 1]), "mean")
    with pytest.raises(UserError, match="set it to auto, mean, sum, first or last"):
        joined(rows([[1.0], [1.0]]), clip([0, 1]), "most")
