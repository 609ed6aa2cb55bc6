import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from classifier.audit.drift import distance, psi_by_chance

LITTLE, MUCH = 0.1, 0.25
RANDOM = np.random.default_rng(3)
NAN = math.nan


def test_the_same_values_have_no_distance():
    values = RANDOM.normal(size=500)
    assert distance(values, values[::-1].copy()) == {"psi": 0.0, "ks": 0.0}


def test_ks_is_that_of_scipy():
    first, second = RANDOM.normal(size=300), RANDOM.normal(0.4, 1.3, size=200)
    found = distance(first, second)
    assert found is not None
    assert found["ks"] == pytest.approx(ks_2samp(first, second).statistic)


def test_psi_is_that_of_the_deciles_of_the_reference():
    # 100 values of the reference, 10 in each decile; the present ones lie in the lowest two alone
    reference, present = np.arange(100.0), np.repeat([5.0, 15.0], 50)
    found = distance(reference, present)
    assert found is not None
    expected = 2 * 0.4 * math.log(5) + 8 * (1e-4 - 0.1) * math.log(1e-4 / 0.1)
    assert found["psi"] == pytest.approx(expected)


def test_another_sample_of_the_same_kind_moves_little_and_a_shifted_one_much():
    reference = RANDOM.normal(size=4000)
    again, shifted = distance(reference, RANDOM.normal(size=4000)), distance(reference, RANDOM.normal(1, 1, size=4000))
    assert again is not None
    assert shifted is not None
    assert again["psi"] < LITTLE
    assert shifted["psi"] > MUCH


def test_a_measurement_that_is_mostly_zero_or_constant_has_a_distance():
    zeros = np.zeros(100)
    assert distance(zeros, zeros) == {"psi": 0.0, "ks": 0.0}
    found = distance(zeros, np.ones(100))
    assert found is not None
    assert found["ks"] == 1
    assert found["psi"] > MUCH


def test_unknown_values_are_a_bin_of_their_own():
    reference, present = np.array([0.0, 1.0] * 50), np.array([0.0, 1.0, NAN, NAN] * 25)
    found = distance(reference, present)
    assert found is not None
    assert found["ks"] == 0
    assert found["psi"] > MUCH
    unknown = np.full(10, NAN)
    assert distance(unknown, unknown) == {"psi": 0.0, "ks": 0.0}
    assert distance(unknown, present) is not None


def test_without_values_there_is_no_distance():
    assert distance(np.zeros(0), np.zeros(3)) is None
    assert distance(np.zeros(3), np.zeros(0)) is None


def test_few_values_have_a_psi_by_chance():
    found = [distance(RANDOM.normal(size=100), RANDOM.normal(size=150)) for _ in range(200)]
    mean = np.mean([one["psi"] for one in found if one is not None])
    # with a bin that happens to be empty now and then, somewhat above the formula
    assert psi_by_chance(100, 150) == pytest.approx(0.15)
    assert 0.1 < mean < 0.25
    assert psi_by_chance(0, 3) == 0
