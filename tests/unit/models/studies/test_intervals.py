"""Intervals over seeds and sources, and what a difference is said to mean."""

from __future__ import annotations

import numpy as np
import pytest

from models.studies.intervals import over_seeds, paired_by_seed, paired_by_source, shown, verdict


def test_the_interval_over_seeds_is_students_t() -> None:
    found = over_seeds([1.0, 2.0, 3.0])
    # 4.3027 is the 97.5 % quantile with two degrees of freedom
    assert found["value"] == pytest.approx(2.0)
    assert (found["low"], found["high"]) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-4)
    assert over_seeds([1.0])["low"] is None
    assert over_seeds([float("nan")])["value"] is None


def test_pairing_takes_away_what_a_seed_does_to_both_arms() -> None:
    one, other = {0: 11.0, 1: 21.0, 2: 31.1, 7: 0.0}, {0: 10.0, 1: 20.0, 2: 30.0, 8: 99.0}
    paired = paired_by_seed(one, other)
    assert paired["value"] == pytest.approx(1.0333, abs=1e-3)
    assert paired["low"] is not None
    assert paired["low"] > 0.8
    assert (over_seeds([11.0, 21.0, 31.1])["low"] or 0) < 0


def test_sources_without_a_value_are_left_out_and_one_source_is_too_few() -> None:
    one = np.array([[1.0, 2.0, np.nan], [1.0, np.nan, np.nan]])
    found = paired_by_source(one, np.zeros((2, 3)))
    assert (found["value"], found["num_sources"]) == (1.5, 2)
    assert paired_by_source(np.ones((3, 1)), np.zeros((3, 1)))["reason"] == "1 held-out sources: too few to tell"
    with pytest.raises(ValueError, match="not the same seeds and sources"):
        paired_by_source(np.ones((2, 3)), np.ones((2, 4)))


@pytest.mark.parametrize(
    ("difference", "better", "expected"),
    [(1.0, "higher", "better"), (1.0, "lower", "worse"), (-1.0, "lower", "better"), (-1.0, "higher", "worse")],
)
def test_a_difference_counts_where_both_intervals_are_on_one_side(
    difference: float, better: str, expected: str
) -> None:
    def metric(low: float, high: float) -> dict[str, float]:
        return {"value": difference, "low": difference + low, "high": difference + high}

    clear, open_ = metric(-0.5, 0.5), metric(-1.5, 1.5)
    enough = {"seeds": 3, "sources": 8}
    assert verdict(clear, clear, better, **enough) == expected  # type: ignore[arg-type]
    assert verdict(clear, open_, better, **enough) == "not told apart"  # type: ignore[arg-type]
    assert verdict(open_, clear, better, **enough) == "not told apart"  # type: ignore[arg-type]
    assert verdict(clear, clear, better, seeds=2, sources=8).startswith("too few to tell")  # type: ignore[arg-type]
    assert verdict(clear, clear, better, seeds=3, sources=7).startswith("too few to tell")  # type: ignore[arg-type]


def test_a_figure_is_shown_with_its_interval_or_the_reason() -> None:
    assert shown({"value": 1.0, "low": 0.5, "high": 1.5}, 1, "dB") == "1.0 dB [0.5, 1.5]"
    assert shown({"value": None, "reason": "nothing moves"}) == "nothing moves"
