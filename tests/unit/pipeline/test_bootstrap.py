import numpy as np

from pipeline.bootstrap import draw_counts, draw_indices, few_sources, interval_95, stored_ends


def test_every_draw_has_as_many_sources_as_there_are():
    assert draw_indices(7, 50, 0).shape == (50, 7)
    assert draw_counts(7, 50, 0).sum(1).tolist() == [7.0] * 50


def test_sources_are_drawn_with_replacement_and_each_about_equally_often():
    indices, counts = draw_indices(5, 4000, 0), draw_counts(5, 4000, 0)
    assert any(len(set(row)) < 5 for row in indices.tolist())
    assert np.allclose(np.bincount(indices.reshape(-1)) / 4000, 1, atol=0.1)
    assert np.allclose(counts.mean(0), 1, atol=0.1)
    assert counts.max() > 1


def test_the_same_seed_gives_the_same_draws():
    for draw in (draw_indices, draw_counts):
        assert np.array_equal(draw(6, 20, 3), draw(6, 20, 3))
        assert not np.array_equal(draw(6, 20, 3), draw(6, 20, 4))


def test_the_interval_leaves_out_a_fortieth_on_either_side():
    assert interval_95(np.arange(1001.0)) == (25.0, 975.0)


def test_a_stored_interval_of_few_sources_is_none_and_its_reason_is_said():
    one = {"value": 0.2, "low": 0.2, "high": 0.2, "num_sources": 1}
    assert stored_ends(one) == (None, None)
    assert few_sources(one) == "too few to tell an interval: 1 source, and 5 are needed"
    five = one | {"high": 0.3, "num_sources": 5}
    assert (stored_ends(five), few_sources(five)) == ((0.2, 0.3), "")
    assert few_sources({"value": None, "num_sources": 0}) == "", "it has a reason of its own"
