import pytest
import torch

from models.networks.exact import exact_mean, exact_product, grid_step, on_grid


def numbers(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 1000


def test_a_product_is_the_same_bytes_in_every_order_of_its_terms():
    a, b = numbers(7, 5000), numbers(5000, 3)
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(exact_product(a, b), exact_product(a[:, order], b[order]))
    assert not torch.equal(a.double() @ b.double(), a[:, order].double() @ b[order].double()), "fp64 alone rounds"


def test_a_product_is_the_product_of_numbers_rounded_to_17_bits_at_least():
    a, b = numbers(7, 5000), numbers(5000, 3)
    bound = 2**-16 * a.double().abs().max() * b.double().abs().max() * 5000**0.5
    assert float((exact_product(a, b) - a.double() @ b.double()).abs().max()) < bound


def test_pixels_and_their_means_are_not_rounded():
    pixels = torch.randint(0, 256, (3000, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(exact_mean(pixels.float()), pixels.sum(0).double() / 3000)


@pytest.mark.parametrize("terms", [1, 32, 30_000])
def test_the_grid_is_no_coarser_than_exact_sums_ask_for(terms):
    x = numbers(100)
    step = grid_step(x, terms=terms)
    largest = float(on_grid(x, step).abs().max() / step) ** 2 * terms
    assert 2**47 < largest <= 2**53
    assert float((on_grid(x, step) - x).abs().max()) <= step / 2


def test_no_numbers_at_all_have_a_product():
    assert exact_product(torch.zeros(2, 0), torch.zeros(0, 3)).tolist() == [[0.0] * 3] * 2
