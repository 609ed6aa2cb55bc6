"""The order of windows: seeded, without overlap between ranks, every clip once an epoch, never across a scene cut."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.shards.loader.order import OrderSettings, blocks_of_epoch, lanes_of, order_block
from pipeline.shards.loader.starts import free_starts
from pipeline.tokens.starts import window_starts


def settings(**changes: int) -> OrderSettings:
    return OrderSettings(**{"seed": 0, "batch": 4, "window": 16} | changes)


@pytest.mark.parametrize(
    ("frames", "cuts", "expected"),
    [
        (160, (), range(145)),
        (16, (), [0]),
        (15, (), []),
        (40, (20,), [*range(5), *range(20, 25)]),
        (40, (10, 30), [10, 11, 12, 13, 14]),
        (40, (12, 24, 36), []),
        (40, (0, 40, 55), range(25)),
    ],
)
def test_windows_start_where_they_fit_between_two_cuts(frames: int, cuts: tuple[int, ...], expected: list[int]) -> None:
    starts = free_starts(frames, cuts, 16)
    assert [starts[number] for number in range(starts.total)] == list(expected)
    with pytest.raises(IndexError):
        starts[starts.total]


def test_with_a_stride_windows_begin_at_every_so_many_frames_of_a_shot_where_token_shards_have_them() -> None:
    for frames, cuts in ((40, ()), (50, (7, 30)), (23, (3,)), (10, ())):
        starts = free_starts(frames, cuts, 8, 5)
        cut_ms = [100 * cut for cut in cuts]
        assert [starts[number] for number in range(starts.total)] == window_starts(
            frames, 8, 5, cut_ms=cut_ms, fps=10.0
        )
        drawn = starts.draw(50, np.random.default_rng(0)) if starts.total else []
        assert set(drawn) == set(window_starts(frames, 8, 5, cut_ms=cut_ms, fps=10.0))
    assert settings(stride=5).about()["stride"] == 5
    assert "stride" not in settings().about(), "a position from before there was a stride is one of the same order"


def test_the_windows_of_a_clip_are_spread_over_it_and_every_start_is_drawn() -> None:
    starts, rng = free_starts(160, (), 16), np.random.default_rng(0)
    draws = [starts.draw(10, rng) for _ in range(400)]
    for drawn in draws:
        assert drawn == sorted(set(drawn))
        assert max(np.diff(drawn)) < 30
    assert {start for drawn in draws for start in drawn} == set(range(145))


def test_every_clip_gives_the_windows_that_fit_into_it_once_an_epoch() -> None:
    frames = [160, 160, 48, 17, 15, 96, 320, 160, 160]
    starts = [free_starts(length, (), 16) for length in frames]
    order = order_block(starts, settings(batch=2), 0, 0)
    taken = Counter[int]()
    seen = set()
    for visit in order.visits:
        taken[visit.clip] += len(visit.starts)
        seen |= {(visit.lane, step) for step in visit.steps}
    assert seen == {(lane, step) for lane in range(2) for step in range(order.steps)}, "no place is empty"
    for clip, length in enumerate(frames):
        fits = length // 16 if length != 17 else 1
        assert fits <= taken[clip] <= fits + 20
        assert (taken[clip] == 0) == (clip == 4), "only the clip that is shorter than a window is left out"


def test_a_batch_has_as_many_clips_as_windows_where_there_are_enough() -> None:
    starts = [free_starts(160, (), 16)] * 40
    order = order_block(starts, settings(batch=8), 0, 0)
    clips = np.zeros((8, order.steps), int)
    for visit in order.visits:
        clips[visit.lane, visit.steps] = visit.clip
    assert all(len(set(column)) == 8 for column in clips.T)
    assert order.steps == 50


def test_windows_of_neighbouring_clips_are_mixed_and_few_clips_are_in_use_at_a_time() -> None:
    starts = [free_starts(160, (), 16)] * 400
    order = order_block(starts, settings(batch=4, mixed_clips=32), 0, 0)
    used = np.zeros(order.steps, int)
    for visit in order.visits:
        used[visit.steps[0] : visit.steps[-1] + 1] += 1
    assert used.max() < 50
    assert np.median(used) > 20


@pytest.mark.parametrize("changes", [{"seed": 1}, {"stream": 1}, {"mixed_clips": 8}])
def test_the_order_follows_from_its_settings_alone(changes: dict[str, int]) -> None:
    starts = [free_starts(160, (), 16)] * 12
    assert order_block(starts, settings(), 0, 0) == order_block(starts, settings(), 0, 0)
    assert order_block(starts, settings(), 0, 0) != order_block(starts, settings(**changes), 0, 0)
    assert order_block(starts, settings(), 0, 0) != order_block(starts, settings(), 1, 0)


def test_an_epoch_reads_every_tar_once_in_blocks_of_the_size_that_is_set() -> None:
    counts = [512] * 40 + [7]
    first, second = (blocks_of_epoch(counts, settings(shuffle_clips=2048), epoch) for epoch in (0, 1))
    assert first != second
    for blocks in (first, second):
        assert sorted(group for block in blocks for group in block) == list(range(41))
        assert all(1024 <= sum(counts[group] for group in block) < 4096 for block in blocks)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8])
def test_ranks_share_a_batch_without_overlap(ranks: int) -> None:
    lanes = [lane for rank in range(ranks) for lane in lanes_of(rank, ranks, 8)]
    assert lanes == list(range(8))


def test_fewer_clips_than_windows_of_a_batch_repeat() -> None:
    order = order_block([free_starts(20, (), 16)] * 3, settings(batch=8), 0, 0)
    assert Counter(visit.lane for visit in order.visits).keys() == set(range(8))
    assert {visit.clip for visit in order.visits} == {0, 1, 2}


def test_ten_million_clips_are_ordered_without_looking_at_them() -> None:
    blocks = blocks_of_epoch([512] * 20_000, settings(), 3)
    assert sum(map(len, blocks)) == 20_000
