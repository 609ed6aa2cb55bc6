"""A power law is found again in losses that follow one, with an interval that says what noise leaves open."""

from __future__ import annotations

import numpy as np
import pytest

from models.studies.power_law import fit_power_law

SIZES = np.array([1e4, 3e4, 1e5, 3e5, 1e6])


def losses(noise: float, seeds: int = 3, sources: int = 10) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    of_source = 1 + 0.3 * rng.standard_normal(sources).clip(-2, 2)
    return [(2 * size**-0.2 * np.exp(noise * rng.standard_normal((seeds, 1)))) * of_source[None] for size in SIZES]


def test_the_exponent_of_a_law_is_found_and_its_interval_grows_with_the_noise_of_runs() -> None:
    exact, quiet, loud = (fit_power_law(SIZES, losses(noise)) for noise in (0.0, 0.02, 0.3))
    assert exact.exponent == pytest.approx(0.2)
    # sources are resampled for all sizes together: hard ones among them move the law, and not its exponent
    assert (exact.low, exact.high) == pytest.approx((0.2, 0.2))
    assert exact.residual == pytest.approx(0, abs=1e-9)
    assert exact.at(1e5) == pytest.approx(losses(0.0)[2].mean())
    assert quiet.low < 0.2 < quiet.high
    assert loud.high - loud.low > 5 * (quiet.high - quiet.low)
    assert fit_power_law(SIZES, losses(0.02)) == quiet


def test_what_has_no_line_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        fit_power_law(SIZES[:1], losses(0.0)[:1])
    with pytest.raises(ValueError, match="two or more"):
        fit_power_law(np.array([5.0, 5.0]), losses(0.0)[:2])
    with pytest.raises(ValueError, match="above 0"):
        fit_power_law(SIZES[:2], [np.ones((2, 2)), np.zeros((2, 2))])
