import numpy as np
import pytest
import torch

from models.networks.initialization import eigenvectors, farthest_points, kmeans, lloyd, principal_components


def test_components_are_orthogonal_sorted_and_rebuild_the_data():
    torch.manual_seed(0)
    data = torch.randn(400, 3) @ torch.randn(3, 8) + 5
    mean, axes, scale = principal_components(data, 3)
    torch.testing.assert_close(axes @ axes.T, torch.eye(3), atol=1e-5, rtol=0)
    assert scale.tolist() == sorted(scale.tolist(), reverse=True)
    torch.testing.assert_close((data - mean) @ axes.T @ axes + mean, data, atol=1e-4, rtol=0)


def test_components_are_as_many_as_the_directions_in_which_patches_vary():
    torch.manual_seed(0)
    assert len(principal_components(torch.randn(400, 3) @ torch.randn(3, 8), 5).axes_LX) == 3
    assert len(principal_components(torch.ones(400, 8), 5).axes_LX) == 0


def test_components_agree_with_lapack_where_variances_are_apart():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    expected = np.geomspace(1, 1e-6, 40)
    covariance = rotation * expected @ rotation.T
    values, vectors = eigenvectors(covariance)
    assert values == pytest.approx(expected, rel=1e-8)
    assert np.abs(vectors @ rotation) == pytest.approx(np.eye(40), abs=1e-8)


def test_an_axis_points_where_its_largest_entry_is_positive_and_of_equal_entries_the_first():
    patches = torch.tensor([[1.0, -1.0, 0.5], [-1.0, 1.0, -0.5]]).repeat(10, 1)
    for data in (patches, -patches):
        axes = principal_components(data, 3).axes_LX
        torch.testing.assert_close(axes, torch.tensor([[1.0, -1.0, 0.5]]) / 1.5)


def test_farthest_points_find_a_rare_patch_among_many_frequent_ones():
    frequent, rare = torch.zeros(1000, 2), torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    points = farthest_points(torch.cat([frequent, rare]), 10, tolerance=0.1)
    assert sorted(points.tolist()) == [[0.0, 0.0], [0.0, 4.0], [3.0, 0.0]]


def test_farthest_points_stop_at_their_limit():
    assert len(farthest_points(torch.randn(100, 2), 7, tolerance=0.0)) == 7


def test_lloyd_moves_rows_to_the_means_and_leaves_an_empty_one():
    rows, counts = lloyd(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([[0.2], [8.0], [100.0]]), rounds=3)
    assert rows[:, 0].tolist() == [0.5, 9.0, 100.0]
    assert counts.tolist() == [2, 1, 0]


def test_kmeans_finds_clusters_and_the_same_ones_again():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [5.0, 5.0], [0.0, 9.0]])
    data = (centres[:, None] + 0.1 * torch.randn(3, 50, 2)).flatten(0, 1)
    first, counts = kmeans(data, 3, 10, torch.Generator().manual_seed(3))
    again, _ = kmeans(data, 3, 10, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert torch.cdist(centres, first).amin(1).max() < 0.1
    assert counts.tolist() == [50, 50, 50]


def test_kmeans_of_fewer_points_than_centres_still_answers():
    rows, _ = kmeans(torch.zeros(5, 2), 4, 3, torch.Generator().manual_seed(0))
    assert rows.shape == (4, 2)
    # fewer samples at all: as of a short recording with many actions
    rows, counts = kmeans(torch.eye(3), 8, 3, torch.Generator().manual_seed(0))
    assert (rows.shape, int(counts.sum())) == ((8, 3), 3)
