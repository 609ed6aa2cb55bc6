"""Tokens are drawn from softmax(logits / T): counted over many draws of a distribution that is known."""

import dataclasses

import pytest
import torch

from models.world.sampling import draw_tokens
from pipeline.config.evaluation import SamplingConfig

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0, 0.5])
DRAWS = 20_000
SAMPLING = SamplingConfig(maskgit_steps=1, choice_temperature=0.0)


def shares(sampling, seed=0):
    """How often each code is drawn for a frame whose positions all have the same logits."""
    frame = torch.zeros(1, DRAWS, dtype=torch.int64)
    drawn = draw_tokens(
        lambda tokens: LOGITS.expand(*tokens.shape, -1), frame, torch.zeros_like(frame, dtype=torch.bool),
        grid=(100, DRAWS // 100), num_codes=len(LOGITS), sampling=sampling,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return torch.bincount(drawn[0], minlength=len(LOGITS)) / DRAWS


def chi_square(found, expected):
    """Pearson's statistic; the mean is the degrees of freedom, one less than the codes."""
    return float(DRAWS * ((found - expected).square() / expected).sum())


@pytest.mark.parametrize("order", ["confidence", "random", "halton"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_shares_are_those_of_the_softmax_at_this_temperature(temperature, order):
    sampling = dataclasses.replace(SAMPLING, token_temperature=temperature, unmask_order=order)
    found = shares(sampling)
    # 20.5 is exceeded once in a thousand fair draws of 6 codes; the draws here are always the same
    assert chi_square(found, (LOGITS / temperature).softmax(0)) < 20.5
    for other in {0.5, 1.0, 2.0} - {temperature}:
        assert chi_square(found, (LOGITS / other).softmax(0)) > 500, "and no other temperature"


def test_a_temperature_of_0_takes_the_likeliest_always():
    assert shares(dataclasses.replace(SAMPLING, token_temperature=0.0)).tolist() == [1, 0, 0, 0, 0, 0]


def test_of_the_likeliest_so_many_each_has_its_share_of_what_they_have_together():
    found = shares(dataclasses.replace(SAMPLING, token_temperature=2.0, top_k=3))
    assert found[[3, 4, 2]].tolist() == [0, 0, 0]
    likeliest = (LOGITS[[0, 1, 5]] / 2.0).softmax(0)
    assert chi_square(found[[0, 1, 5]], likeliest) < 13.8  # once in a thousand, of 3 codes


@pytest.mark.parametrize("order", ["random", "halton"])
def test_in_several_steps_the_shares_stay_where_the_order_does_not_look_at_them(order):
    """These orders fix tokens whatever was drawn, so what stays is drawn as in one step."""
    sampling = dataclasses.replace(SAMPLING, maskgit_steps=4, token_temperature=1.0, unmask_order=order)
    assert chi_square(shares(sampling), LOGITS.softmax(0)) < 20.5


def test_the_order_by_confidence_keeps_likely_tokens_more_often():
    """That is MaskGIT's bias: of what each step draws the surest stays, so several steps sharpen the distribution."""
    sampling = dataclasses.replace(SAMPLING, maskgit_steps=4, token_temperature=1.0)
    assert float(shares(sampling)[0]) > float(LOGITS.softmax(0)[0]) + 0.1
    # noise on the choice takes some of it back
    noisy = dataclasses.replace(sampling, choice_temperature=4.0)
    assert float(LOGITS.softmax(0)[0]) < float(shares(noisy)[0]) < float(shares(sampling)[0]) - 0.02
