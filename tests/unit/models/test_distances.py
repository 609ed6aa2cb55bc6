"""Distances agree with their formulas, and their intervals with what many samples show."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from models.distances import kernel
from models.distances.frechet import frechet
from models.distances.halves import draw_halves, spread_of
from models.distances.kernel import KernelSums
from models.distances.ssim import ssim


def gaussians(seed, count, dimension, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimension)) / np.sqrt(1 + np.arange(dimension)) + shift


@pytest.mark.parametrize(("first", "second"), [(60, 45), (7, 60), (7, 9)], ids=["many", "few and many", "few"])
def test_the_frechet_distance_is_that_of_the_root_of_the_covariances(first, second):
    x, y = gaussians(0, first, 16), 1.3 * gaussians(1, second, 16, 0.4)
    covariances = np.cov(x.T), np.cov(y.T)
    expected = np.square(x.mean(0) - y.mean(0)).sum()
    expected += np.trace(sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-5)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-9)
    assert frechet(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_one_vector_has_no_covariance():
    with pytest.raises(ValueError, match="two vectors"):
        frechet(np.zeros((1, 3)), np.zeros((4, 3)))


def plain_mmd(x, y, sources):
    """The double sum over pairs of different sources, written out."""
    means = []
    for a, b in ((x, x), (y, y), (x, y)):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if sources[i] != sources[j]]
        means.append(np.mean([(a[i] @ b[j] / len(a[i])) ** 2 for i, j in pairs]))
    return means[0] + means[1] - 2 * means[2]


def test_the_discrepancy_is_the_plain_double_sum_and_its_error_the_jackknife():
    sources = ["b", "a", "a", "c", "b", "d"]
    x, y = gaussians(2, 6, 5), gaussians(3, 6, 5, 0.3)
    sums = KernelSums([x, y], sources)
    assert sums.mmd(0, 1) == pytest.approx(plain_mmd(x, y, sources), rel=1e-12)
    assert KernelSums([x, x], sources).mmd(0, 1) == 0
    left = []
    for source in "abcd":
        stays = [place for place, own in enumerate(sources) if own != source]
        left.append(plain_mmd(x[stays], y[stays], [sources[place] for place in stays]))
    assert sums.standard_error(0, 1) == pytest.approx(np.sqrt(3 / 4 * np.square(left - np.mean(left)).sum()), rel=1e-9)
    with pytest.raises(ValueError, match="three sources"):
        KernelSums([x[:3], y[:3]], sources[:3]).standard_error(0, 1)
    half = np.array([True, True, False, False])
    between = [place for place, own in enumerate(sources) if own in "ab"]
    assert sums.mmd(0, 1, half) == pytest.approx(plain_mmd(x[between], y[between], [sources[i] for i in between]))


@pytest.mark.parametrize("block", [1, 20, 45])
def test_blocks_of_rows_change_no_discrepancy_and_no_table_of_all_pairs_is_held(monkeypatch, block):
    # sources of several sizes, in no order, that blocks of one, two and five rows divide
    sources = ["c", "a", "b", "a", "c", "c", "d", "a", "b"]
    x, y = gaussians(4, 9, 5), gaussians(5, 9, 5, 0.3)
    monkeypatch.setattr(kernel, "BLOCK", block)
    largest = []
    square = np.square

    def watched(table, **options):
        largest.append(table.size)
        return square(table, **options)

    with monkeypatch.context() as patched:
        patched.setattr(kernel.np, "square", watched)
        sums = KernelSums([x, y], sources)
    assert max(largest) <= max(block, 9)
    assert sums.mmd(0, 1) == pytest.approx(plain_mmd(x, y, sources), rel=1e-12)


def test_the_discrepancy_of_equal_distributions_is_zero_on_average_and_the_frechet_distance_is_not():
    sources = [str(place) for place in range(8)]
    pairs = [(gaussians(2 * seed, 8, 12), gaussians(2 * seed + 1, 8, 12)) for seed in range(150)]
    found = [KernelSums([x, y], sources).mmd(0, 1) for x, y in pairs]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0 < np.mean([frechet(x, y) for x, y in pairs]) - 0.5


def test_halves_spread_as_whole_samples_do_and_their_limit_has_less_bias():
    values, widths, limits = [], [], []
    for seed in range(80):
        x, y = gaussians(2 * seed, 12, 4), gaussians(2 * seed + 1, 12, 4, 0.5)
        halves = draw_halves(12, 60, seed=0)
        value = frechet(x, y)
        spread = spread_of(value, np.array([frechet(x[half], y[half]) for half in halves]), 12)
        assert spread.low < value < spread.high
        values.append(value)
        widths.append((spread.high - spread.low) / 3.92)
        limits.append(spread.limit)
    assert np.mean(widths) == pytest.approx(np.std(values), rel=0.3)
    truth = 4 * 0.5**2
    assert abs(np.mean(limits) - truth) < abs(np.mean(values) - truth) / 2


def test_a_half_is_half_of_the_sources_and_the_same_for_the_same_seed():
    halves = draw_halves(9, 20, seed=3)
    assert (halves.sum(1) == 4).all()
    assert len(np.unique(halves, axis=0)) > 10
    assert np.array_equal(halves, draw_halves(9, 20, seed=3))
    assert not np.array_equal(halves, draw_halves(9, 20, seed=4))


def plain_ssim(x, y):
    """One window after another, each weighted by a Gaussian."""
    axis = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(axis, axis) / axis.sum() ** 2
    found = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            for colour in range(3):
                a, b = (each[row : row + 11, column : column + 11, colour] / 255 for each in (x, y))
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a, var_b = (weights * a * a).sum() - mean_a**2, (weights * b * b).sum() - mean_b**2
                both = (weights * a * b).sum() - mean_a * mean_b
                same = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
                found.append(same / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))
    return np.mean(found)


def test_the_structural_similarity_is_that_of_gaussian_windows():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 14, 13, 3), dtype=np.uint8)
    y = np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)
    assert ssim(x, y) == pytest.approx([plain_ssim(*pair) for pair in zip(x, y, strict=True)], abs=1e-5)
    assert ssim(x, x) == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(x[:, :10], y[:, :10])
