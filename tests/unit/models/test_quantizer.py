import pytest
import torch

from models.quantizer import VectorQuantizer, usage


def quantizer(**settings):
    torch.manual_seed(0)
    made = VectorQuantizer(4, 2, commitment=0.25, **settings)
    made.start(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return made


def test_a_latent_becomes_its_nearest_row():
    result = quantizer()(torch.tensor([[0.9, 0.1], [0.1, 0.8], [-5.0, -5.0]]))
    assert result.codes.tolist() == [1, 2, 0]
    torch.testing.assert_close(result.straight, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))


def test_a_parked_row_is_never_chosen():
    codes = quantizer().nearest(torch.randn(500, 2) * 10)
    assert 3 not in codes


def test_the_gradient_passes_straight_through():
    latents = torch.tensor([[0.9, 0.1]], requires_grad=True)
    quantizer(ema_decay=0.9)(latents).straight.sum().backward()
    assert latents.grad.tolist() == [[1.0, 1.0]]


def test_rows_learn_by_gradient_or_by_mean_but_not_by_both():
    by_gradient, by_mean = quantizer(), quantizer(ema_decay=0.9)
    assert [name for name, _ in by_gradient.named_parameters()] == ["codebook"]
    assert list(by_mean.parameters()) == []
    latents = torch.tensor([[0.8, 0.0]])
    assert by_gradient(latents).loss.item() == pytest.approx((1 + 0.25) * 0.02)
    assert by_mean(latents).loss.item() == pytest.approx(0.25 * 0.02)


def test_a_row_follows_the_mean_of_its_latents():
    made = quantizer(ema_decay=0.5)
    latents = torch.tensor([[0.8, 0.0], [0.6, 0.2]])
    for _ in range(30):
        made.update(latents, torch.tensor([1, 1]))
    torch.testing.assert_close(made.codebook[1], torch.tensor([0.7, 0.1]))
    assert made.codebook[0].tolist() == [0.0, 0.0], "a row that nothing chose stays"


def test_the_codebook_stands_still_inside_the_forward_pass():
    made = quantizer(ema_decay=0.5, restart_below=0.5)
    before = made.codebook.clone()
    made.train()(torch.randn(8, 2))
    assert torch.equal(made.codebook, before)


def test_a_row_that_nothing_chooses_restarts_at_a_latent():
    made = quantizer(ema_decay=0.5, restart_below=0.3)
    latents, generator = torch.tensor([[0.9, 0.0], [0.7, 0.0]]), torch.Generator().manual_seed(1)
    for _ in range(4):
        codes = made.nearest(latents)
        made.update(latents, codes, generator)
    assert made.codebook.abs().max() < 1.1, "all four rows lie among the latents"


def test_usage_counts_codes_and_their_even_equivalent():
    assert usage(torch.tensor([0, 1, 0, 1]), 8) == (2, pytest.approx(2.0))
    assert usage(torch.tensor([5, 5, 5]), 8) == (1, pytest.approx(1.0))
