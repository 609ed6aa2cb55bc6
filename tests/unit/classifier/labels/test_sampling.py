"""Draws over sources: every clip is drawn as often as its inclusion probability says, whatever the parts are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from classifier.labels.clip_draw import Sources, count_clips, draw_clips
from classifier.labels.sampling import Rows, Smallest, quotas, seeded_hashes

SIZES = [1, 3, 7, 20]
NAMES = [f"source {i}" for i in range(len(SIZES))]
CLIPS = [f"{source}-{i}" for source, size in enumerate(SIZES) for i in range(size)]
SOURCE = np.repeat(np.arange(len(SIZES)), SIZES)


def parts(*cuts: int):
    """Return the clips in parts, all of the kind `random`."""
    edges = [0, *cuts, len(CLIPS)]
    for low, high in pairwise(edges):
        all_of_them, none = np.ones(high - low, bool), np.zeros(high - low, bool)
        kinds = {"random": all_of_them, "flagged": none, "duplicate": none}
        yield pa.array(CLIPS[low:high]), SOURCE[low:high], kinds


def drawn(seed: int, wanted: int, most: int, *cuts: int) -> list[str]:
    sources = Sources(NAMES, {}, seeded_hashes(seed, NAMES))
    counts = count_clips(parts(*cuts), len(NAMES))
    number = {"random": wanted, "flagged": 0, "duplicate": 0}
    return draw_clips(list(parts(*cuts)), sources, counts, number, seed, most)["random"].clip_ids


@pytest.mark.parametrize(("wanted", "most"), [(2, 6), (9, 6), (14, 6), (31, 40)])
def test_clips_are_drawn_as_often_as_their_inclusion_says(wanted: int, most: int) -> None:
    seeds = 400
    often = dict.fromkeys(CLIPS, 0)
    for seed in range(seeds):
        chosen = drawn(seed, wanted, most)
        assert len(chosen) == len(set(chosen)) == wanted
        for clip_id in chosen:
            often[clip_id] += 1
    stated = quotas(np.array(SIZES), seeded_hashes(0, NAMES), wanted, most).inclusion_S[SOURCE]
    assert stated.sum() == pytest.approx(wanted)
    # five standard deviations, for each of the clips
    wide = 5 * np.sqrt(stated * (1 - stated) / seeds) + 1e-9
    assert (np.abs(np.array(list(often.values())) / seeds - stated) <= wide).all()


def test_the_parts_in_which_clips_are_read_change_nothing() -> None:
    assert drawn(3, 9, 6) == drawn(3, 9, 6, 1, 2, 17) == drawn(3, 9, 6, 30)


def test_the_first_clips_of_a_draw_are_a_draw_of_as_many() -> None:
    assert all(drawn(5, count, 8) == drawn(5, 19, 8)[:count] for count in range(1, 19))


def test_no_more_rows_are_kept_than_asked_for_and_none_above_the_quota_of_its_source() -> None:
    rng = np.random.default_rng(0)
    keys, source = rng.random(2000), rng.integers(0, 5, 2000)
    ids = np.array([str(i) for i in range(2000)], object)
    rows = Rows(ids, source, keys, np.arange(2000).astype(np.uint64))
    whole = Smallest(30, 8)
    whole.add(rows)
    by_part = Smallest(30, 8)
    for start in range(0, 2000, 77):
        by_part.add(rows.take(np.arange(start, min(start + 77, 2000))))
        assert len(by_part.rows().clip_ids) <= 30
    assert by_part.rows().clip_ids.tolist() == whole.rows().clip_ids.tolist()
    assert np.bincount(whole.rows().source_N).max() <= 8
    best = [i for s in range(5) for i in sorted(np.flatnonzero(source == s), key=lambda i: keys[i])[:8]]
    assert whole.rows().clip_ids.tolist() == [str(i) for i in sorted(best, key=lambda i: keys[i])[:30]]
