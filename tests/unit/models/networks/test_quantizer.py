import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.networks.quantizer import (
    FiniteScalarQuantizer,
    VectorQuantizer,
    make_quantizer,
    make_vector_quantizer,
    usage,
)
from pipeline.config.world import LatentActionConfig, TokenizerConfig


def quantizer(**settings):
    torch.manual_seed(0)
    made = VectorQuantizer(4, 2, commitment=0.25, **settings)
    made.initialize(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return made


def test_a_latent_becomes_its_nearest_row():
    result = quantizer()(torch.tensor([[0.9, 0.1], [0.1, 0.8], [-5.0, -5.0]]))
    assert result.codes.tolist() == [1, 2, 0]
    torch.testing.assert_close(result.straight, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))


def test_a_parked_row_is_never_chosen():
    codes = quantizer().nearest(torch.randn(500, 2) * 10)
    assert 3 not in codes


def test_the_nearest_rows_of_many_latents_are_found_with_few_distances_at_a_time(monkeypatch):
    quantizer = VectorQuantizer(8, 4, commitment=0.25)
    latents = torch.randn(7, 5, 4)
    whole, sizes, argmin = quantizer.nearest(latents), [], torch.Tensor.argmin
    monkeypatch.setattr("models.networks.logits.LOGITS_AT_ONCE", 8 * 10)
    monkeypatch.setattr(torch.Tensor, "argmin", lambda x, *more: sizes.append(tuple(x.shape)) or argmin(x, *more))
    assert torch.equal(quantizer.nearest(latents), whole)
    assert sizes == [(10, 8), (10, 8), (10, 8), (5, 8)]


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


def test_a_restart_without_means_counts_what_was_chosen_and_leaves_the_gradient_alone():
    made = quantizer(restart_below=0.5)
    assert [name for name, _ in made.named_parameters()] == ["codebook"]
    made.counts.fill_(1.0)
    latents, generator = torch.tensor([[0.9, 0.0], [0.7, 0.0]]), torch.Generator().manual_seed(1)
    before = made.codebook.detach().clone()
    for _ in range(60):
        made.update(latents, torch.tensor([1, 1]), generator)
    assert torch.equal(made.codebook, before), "counts decay by 1 % a step: they reach 0.5 after 69"
    for _ in range(10):
        made.update(latents, torch.tensor([1, 1]), generator)
    moved = (made.codebook != before).any(1)
    assert moved.tolist() == [True, False, True, True], "the rows that nothing chose, and none that was chosen"
    assert all(row in latents.tolist() for row in made.codebook[moved].tolist())
    made(latents).loss.backward()
    assert made.codebook.grad is not None


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_restart_goes_on_from_its_state_to_the_same_rows(ema_decay):
    def steps(made, first, last):
        for step in range(first, last):
            latents = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
            made.update(latents, made.nearest(latents), torch.Generator().manual_seed(100 + step))
        return made

    settings = {"ema_decay": ema_decay, "restart_below": 0.9}
    whole = steps(quantizer(**settings), 0, 12)
    other = quantizer(**settings)
    other.load_state_dict(steps(quantizer(**settings), 0, 5).state_dict())
    resumed = steps(other, 5, 12)
    assert torch.equal(resumed.codebook, whole.codebook)
    assert not torch.equal(whole.codebook, quantizer(**settings).codebook)


def test_only_a_quantizer_that_needs_counts_keeps_them():
    def names(**settings):
        return set(quantizer(**settings).state_dict())

    assert names() == {"codebook"}
    assert names(restart_below=0.1) == {"codebook", "counts"}
    assert names(ema_decay=0.9) == names(ema_decay=0.9, restart_below=0.1) == {"codebook", "counts", "sums"}


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_cosine_quantizer_knows_directions_and_no_lengths(ema_decay):
    torch.manual_seed(0)
    made = VectorQuantizer(16, 5, commitment=0.25, ema_decay=ema_decay, restart_below=0.2, cosine=True)
    latents = torch.randn(200, 5)
    short, long = made(latents * 0.01), made(latents * torch.rand(200, 1) * 50)
    assert torch.equal(short.codes, long.codes)
    torch.testing.assert_close(short.straight, long.straight)
    torch.testing.assert_close(short.loss, long.loss)
    assert torch.equal(short.codes, (latents @ made.rows().T).argmax(1)), "the row of the smallest angle"
    for step in range(20):
        made.update(latents, made.nearest(latents), torch.Generator().manual_seed(step))
        with torch.no_grad():
            if not ema_decay:
                made.codebook.mul_(3.0)
        torch.testing.assert_close(made.lookup(torch.arange(16)).norm(dim=1), torch.ones(16))
        torch.testing.assert_close(made.rows(), made.lookup(torch.arange(16)))
    if ema_decay:
        torch.testing.assert_close(made.codebook.norm(dim=1), torch.ones(16))


LEVELS = st.lists(st.integers(3, 9), min_size=1, max_size=4).map(tuple)
OFTEN = settings(max_examples=40, deadline=None)


@OFTEN
@given(LEVELS)
@example((4, 4, 4, 4, 4))
def test_every_code_of_a_lattice_names_one_row_and_back(levels):
    made = FiniteScalarQuantizer(levels)
    codes = torch.arange(made.num_codes)
    rows = made.lookup(codes)
    assert torch.equal(made.index_of(rows), codes)
    assert len(torch.unique(rows, dim=0)) == made.num_codes
    assert [len(torch.unique(values)) for values in rows.T] == list(levels)
    assert float(rows.abs().max()) == 1.0
    assert torch.equal(made.rows(), rows)
    assert not made.state_dict()
    assert not list(made.parameters())


@OFTEN
@given(LEVELS, st.integers(0, 2**32 - 1))
@example((8, 5, 5, 5), 0)
def test_a_latent_becomes_the_nearest_point_of_the_lattice(levels, seed):
    made = FiniteScalarQuantizer(levels)
    latents = torch.randn(1000, len(levels), generator=torch.Generator().manual_seed(seed)) * 3
    steps = torch.tensor(levels) // 2
    distance = torch.cdist(made.bounded(latents), made.rows() * steps)
    chosen = distance.gather(1, made.nearest(latents)[:, None])[:, 0]
    torch.testing.assert_close(chosen, distance.amin(1), atol=1e-3, rtol=0)
    reached = made.lookup(made.nearest(latents))
    assert [len(values.unique()) for values in reached.T] == list(levels), "every level is within reach"
    assert float(made.lookup(made.nearest(torch.zeros(1, len(levels)))).abs().max()) == 0.0


def test_the_gradient_passes_a_lattice_as_through_its_bound():
    made = FiniteScalarQuantizer((5, 4))
    latents = torch.tensor([[0.3, -0.2], [1.0, 0.7]], requires_grad=True)
    result = made(latents)
    assert torch.equal(result.straight.detach(), made.lookup(result.codes))
    assert float(result.loss) == 0.0
    (through,) = torch.autograd.grad(result.straight.sum(), latents)
    (bound,) = torch.autograd.grad((made.bounded(latents) / torch.tensor([2, 2])).sum(), latents)
    assert torch.equal(through, bound)
    assert float(through.min()) > 0


def test_each_section_gets_the_quantizer_that_it_asks_for():
    lattice = make_quantizer(TokenizerConfig(quantizer="fsq", fsq_levels=(4, 3), latent_dim=2, codebook_size=12))
    assert isinstance(lattice, FiniteScalarQuantizer)
    assert (lattice.num_codes, lattice.latent_dim) == (12, 2)
    made = make_quantizer(TokenizerConfig(codebook_size=9, latent_dim=3, restart_below=0.5, cosine=True))
    assert (made.num_codes, made.latent_dim, made.restart_below, made.cosine) == (9, 3, 0.5, True)
    actions = make_vector_quantizer(LatentActionConfig(latent_dim=4, ema_decay=0.9), 6)
    assert (actions.num_codes, actions.latent_dim, actions.ema_decay, actions.cosine) == (6, 4, 0.9, False)


def test_usage_counts_codes_and_their_even_equivalent():
    assert usage(torch.tensor([0, 1, 0, 1]), 8) == (2, pytest.approx(2.0))
    assert usage(torch.tensor([5, 5, 5]), 8) == (1, pytest.approx(1.0))


def test_by_cosine_the_loss_weighs_as_much_as_that_of_values_of_variance_one():
    torch.manual_seed(0)
    made, plain = (VectorQuantizer(16, 5, commitment=0.25, cosine=cosine) for cosine in (True, False))
    latents = F.normalize(torch.randn(200, 5), dim=-1)
    with torch.no_grad():
        plain.codebook.copy_(made.rows())
    # vectors of length 1 have values of variance 1/5
    torch.testing.assert_close(made(latents).loss, 5 * plain(latents).loss)
