"""What the figures say of cases whose answer is known."""

import numpy as np
import pytest

from models.metrics import (
    bootstrap,
    count_pairs,
    entropy_within,
    exchanged,
    moving_psnr,
    mutual_information,
    per_source,
    psnr,
    shifted,
    shifted_information,
)
from tests.chance_rates import sticky


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_psnr_of_a_constant_error_is_its_formula_and_a_perfect_frame_is_60_db():
    truth = np.full((2, 3, 4, 5, 3), 100, np.uint8)
    guess = truth.copy()
    guess[1] += 51  # a fifth of the range
    assert psnr(truth, guess).shape == (2, 3)
    assert psnr(truth, guess)[0] == pytest.approx(60)
    assert psnr(truth, guess)[1] == pytest.approx(-20 * np.log10(0.2))


def test_psnr_is_per_frame_before_the_mean():
    truth = np.zeros((2, 4, 4, 3), np.uint8)
    guess = truth.copy()
    guess[1] = 255
    assert psnr(truth, guess).tolist() == [60.0, 0.0]


def test_psnr_does_not_wrap_around_in_uint8():
    assert psnr(np.full((1, 2, 2, 3), 0, np.uint8), np.full((1, 2, 2, 3), 255, np.uint8))[0] == 0


def test_moving_psnr_sees_only_what_moved():
    truth = np.zeros((3, 20, 20, 3), np.uint8)
    truth[1, :10] = 200
    truth[2, :10] = 200
    guess = truth.copy()
    guess[1, 10:] = 255  # wrong where nothing moved
    values = moving_psnr(truth, guess)
    assert values[0] == 60
    assert np.isnan(values[1])  # nothing moved from frame 1 to 2
    guess[1, :10] = 149
    assert moving_psnr(truth, guess)[0] == pytest.approx(-20 * np.log10(0.2))


def test_a_code_that_equals_the_action_has_the_actions_entropy_and_an_unrelated_one_nothing(rng):
    actions = rng.integers(0, 4, 20000)
    same = mutual_information(count_pairs(3 - actions, actions, 8, 4))
    assert same == pytest.approx(np.log(4), abs=1e-3)
    unrelated = mutual_information(count_pairs(rng.integers(0, 8, 20000), actions, 8, 4))
    assert 0 <= unrelated < 0.002


def test_a_code_that_names_the_clip_does_not_beat_chance(rng):
    actions = [np.full(100, clip % 2) for clip in range(6)]  # each clip has one action only
    codes = [np.full(100, clip) for clip in range(6)]
    found = mutual_information(count_pairs(np.concatenate(codes), np.concatenate(actions), 8, 2))
    left = shifted_information(codes, actions, 8, 2, draws=20, rng=rng)
    assert found == pytest.approx(np.log(2))
    assert left == pytest.approx(found)


def test_a_code_that_follows_the_actions_loses_its_information_under_shifts(rng):
    actions = [rng.integers(0, 3, 200) for _ in range(6)]
    left = shifted_information(actions, actions, 8, 3, draws=50, rng=rng)
    # a clip in six is not turned at all, or by next to nothing, in few draws
    assert np.percentile(left, 90) < 0.1


def test_a_shift_keeps_values_and_runs_of_each_clip_but_for_one_seam(rng):
    clips = [np.repeat(rng.integers(0, 4, 10), rng.integers(1, 9, 10)) for _ in range(20)]
    turned = shifted(clips, rng)
    assert [sorted(each) for each in turned] == [sorted(each) for each in clips]
    assert not all(np.array_equal(one, other) for one, other in zip(turned, clips, strict=True))
    for one, other in zip(turned, clips, strict=True):
        assert abs((np.diff(one) != 0).sum() - (np.diff(other) != 0).sum()) <= 1
    assert [len(each) for each in shifted([np.zeros(0, int), np.arange(1)], rng)] == [0, 1]


def test_whole_windows_of_one_source_and_length_take_each_others_places(rng):
    windows = [np.full(4, number) for number in range(6)] + [np.full(3, 6)]
    sources = ["a", "b", "a", "b", "a", "b", "a"]
    seen = set()
    for _ in range(60):
        found = exchanged(windows, sources, rng)
        assert all(len(set(each.tolist())) == 1 for each in found)
        values = [int(each[0]) for each in found]
        assert (sorted(values[0:6:2]), sorted(values[1:6:2]), values[6]) == ([0, 2, 4], [1, 3, 5], 6)
        seen.add(tuple(values))
    assert len(seen) > 15  # of 36 orders


def p_of(codes, actions, draws, seed, left=None):
    found = mutual_information(count_pairs(codes.ravel(), actions.ravel(), 4, 4))
    if left is None:
        rng = np.random.default_rng((seed, 1))
        left = shifted_information(list(codes), list(actions), 4, 4, draws=draws, rng=rng)
    return (1 + (left >= found).sum()) / (1 + len(left))


def test_unrelated_runs_are_called_chance_as_often_as_the_p_says_and_related_ones_are_found():
    """200 data sets of eight clips whose codes and actions both last about 13 transitions."""
    unrelated, permuted, related = [], [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        codes, actions = sticky(rng, 0.9), sticky(rng, 0.9)
        unrelated.append(p_of(codes, actions, 39, seed))
        if seed % 4:
            continue
        free = np.stack([count_pairs(rng.permuted(codes, axis=1).ravel(), actions.ravel(), 4, 4) for _ in range(19)])
        permuted.append(p_of(codes, actions, 19, seed, mutual_information(free)))
        # codes that follow a third of the actions
        follow = np.where(sticky(rng, 0.9, num_values=3) == 0, actions, codes)
        related.append(p_of(follow, actions, 39, seed))
    below = [np.mean(np.array(unrelated) <= level) for level in (0.05, 0.25, 0.5, 0.75)]
    assert below[0] <= 0.1
    assert below[1:] == pytest.approx([0.25, 0.5, 0.75], abs=0.12)
    assert np.mean(np.array(permuted) <= 0.05) > 0.7  # one by one, nearly all unrelated codes look related
    assert np.mean(np.array(related) <= 0.05) > 0.9


def test_entropy_within_tells_a_scene_name_and_a_frame_counter_from_a_code():
    clips = np.repeat(np.arange(8), 8)
    times = np.tile(np.arange(8), 8)
    assert entropy_within(clips, clips, 8) == 0
    assert entropy_within(clips, times, 8) == pytest.approx(np.log(8))
    assert entropy_within(times, times, 8) == 0


def test_per_source_means_leave_out_frames_without_a_value():
    means = per_source(np.array([1.0, 3.0, np.nan, 5.0, np.nan]), ["b", "b", "a", "a", "c"])
    assert means[:2].tolist() == [5.0, 2.0]
    assert np.isnan(means[2])


def test_the_interval_is_over_sources_and_covers_about_95_percent(rng):
    inside = 0
    for trial in range(200):
        interval = bootstrap(rng.normal(2.0, 1.0, 30), draws=300, seed=trial)
        inside += interval.low <= 2.0 <= interval.high
        assert interval.num_sources == 30
    assert 0.88 <= inside / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_nothing_gives_none():
    values = np.array([1.0, 2.0, np.nan, 4.0])
    first, second = (bootstrap(values, draws=100, seed=3) for _ in range(2))
    assert first == second
    assert first.value == pytest.approx(7 / 3)
    assert first.num_sources == 3
    assert bootstrap(np.array([np.nan]), draws=10, seed=0) is None


def test_information_is_resampled_by_whole_sources(rng):
    tables = np.stack([count_pairs(a, a, 2, 2) for a in rng.integers(0, 2, (5, 50))])
    interval = bootstrap(tables, draws=100, seed=0, reduce=lambda drawn: mutual_information(drawn.sum(1)))
    assert interval.low <= interval.value <= interval.high <= np.log(2) + 1e-9
    assert interval.value == pytest.approx(np.log(2), abs=0.05)


def test_an_interval_of_little_information_holds_its_value_and_none_below_zero(rng):
    """A draw of few sources says more about itself than all of them do."""
    codes, actions = rng.integers(0, 8, (17, 40)), rng.integers(0, 9, (17, 40))
    tables = np.stack([count_pairs(own, other, 8, 9) for own, other in zip(codes, actions, strict=True)])

    def information(drawn: np.ndarray) -> np.ndarray:
        return mutual_information(drawn.sum(1))

    as_drawn = bootstrap(tables, draws=200, seed=0, reduce=information)
    assert as_drawn.low > as_drawn.value, "what is mended"
    moved = bootstrap(tables, draws=200, seed=0, reduce=information, least=0.0)
    assert 0 <= moved.low < moved.value < moved.high < as_drawn.high
    assert moved.high - moved.low == pytest.approx(as_drawn.high - as_drawn.low)
