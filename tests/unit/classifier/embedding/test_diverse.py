"""The farthest-point order: whatever looks unlike comes first, the same for the same seed, on vectors of any number."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.embedding import diverse
from classifier.embedding.diverse import SKETCH, diverse_order, read_sketches, sketch
from classifier.embedding.embed import embed_clips


def three_looks(seed: int = 0, each: int = 40) -> np.ndarray:
    """Return 3 * each vectors (N, 300) around three directions, the third of one clip alone."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(3, 300))
    rows = [centres[0]] * each + [centres[1]] * each + [centres[2]]
    return (np.array(rows) + 0.1 * draw.normal(size=(2 * each + 1, 300))).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_look_comes_before_a_second_clip_of_one(seed: int):
    vectors = three_looks()
    for found in (diverse_order(vectors, 3, seed), diverse_order(sketch(vectors), 3, seed)):
        assert sorted(min(place // 40, 2) for place in found) == [0, 1, 2]


def test_the_order_follows_the_seed_and_holds_each_clip_once():
    vectors = three_looks()
    vectors[5] = np.nan
    order = diverse_order(vectors, 1000, 3)
    assert order == diverse_order(vectors, 1000, 3)
    assert sorted(order) == [place for place in range(81) if place != 5]
    assert order[:10] == diverse_order(vectors, 10, 3)
    assert order[0] != diverse_order(vectors, 1, 4)[0]


def test_of_too_many_clips_a_seeded_draw_takes_part(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diverse, "MOST", 7)
    assert len(set(diverse_order(three_looks(), 1000, 0))) == 7


@pytest.mark.parametrize("vectors", [np.zeros((0, 4)), np.zeros((3, 0)), np.full((3, 4), np.nan)])
def test_without_vectors_there_is_no_order(vectors: np.ndarray):
    assert diverse_order(vectors.astype(np.float32), 5, 0) == []


def test_a_sketch_keeps_angles_and_depends_on_its_own_row_alone():
    vectors = three_looks()
    small = sketch(vectors)
    assert small.shape == (81, SKETCH)
    assert (sketch(vectors[7:9]) == small[7:9]).all()
    unit = small / np.linalg.norm(small, axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert cosine[:40, :40].min() > 0.8
    assert abs(cosine[:40, 40:80]).max() < 0.7


def test_sketches_of_a_store_are_those_of_its_vectors(job, pool_writer):
    ids = pool_writer.add("level-1", "gb")
    embed_clips(job.of_batch("2026w47-0001"))
    found = read_sketches(job.store, job.config, [ids[1], "menu-9-000000000-00000000", ids[0]])
    assert np.isfinite(found[[0, 2]]).all()
    assert np.isnan(found[1]).all()
    assert not np.allclose(found[0], found[2])
