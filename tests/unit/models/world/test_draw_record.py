"""What the sampler knew is what its logits say, and asking for it changes no token."""

import numpy as np
import pytest
import torch

from models.networks.quantizer import PARKED
from models.world.draw_record import DrawRecord
from models.world.sampling import draw_tokens
from pipeline.config.evaluation import SamplingConfig

TOKENS, CODES = 6, 5


def noise(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def rows():
    return torch.randn(CODES, 3, generator=noise(1))


@pytest.fixture
def logits():
    return 2 * torch.randn(1, TOKENS, CODES, generator=noise(2))


def drawn(logits, record=None, *, steps=1, temperature=1.0, seed=0):
    frame = torch.zeros(len(logits), TOKENS, dtype=torch.int64)
    return draw_tokens(
        lambda masked: logits + 0.5 * (masked == CODES).sum(1)[:, None, None],
        frame,
        torch.zeros_like(frame, dtype=torch.bool),
        grid=(2, 3),
        num_codes=CODES,
        sampling=SamplingConfig(maskgit_steps=steps, token_temperature=temperature),
        generator=noise(seed),
        record=record,
    )


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("steps", [1, 3])
def test_asking_for_a_record_changes_no_token(rows, logits, steps, temperature):
    for seed in range(3):
        plain = drawn(logits, steps=steps, temperature=temperature, seed=seed)
        recorded = drawn(logits, DrawRecord(rows), steps=steps, temperature=temperature, seed=seed)
        assert torch.equal(plain, recorded)


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_the_entropy_is_that_of_each_tokens_distribution_whatever_the_temperature_of_play(rows, logits, temperature):
    record = DrawRecord(rows)
    drawn(logits, record, temperature=temperature)
    share = torch.softmax(logits, -1)
    assert torch.allclose(record.entropy(), -(share * share.log()).sum(-1), atol=1e-5)


def test_a_token_has_the_entropy_of_the_step_that_fixed_it_and_a_given_one_has_none(rows):
    record = DrawRecord(rows)
    even, sure = torch.zeros(1, 3, CODES), torch.tensor([30.0, 0, 0, 0, 0]).expand(1, 3, CODES)
    record.add_step(even, torch.tensor([[True, False, False]]))
    record.add_step(sure, torch.tensor([[False, True, False]]))
    assert torch.allclose(record.entropy(), torch.tensor([[np.log(CODES), 0, 0]], dtype=torch.float32), atol=1e-5)


def test_an_impossible_code_makes_no_nan(rows):
    record = DrawRecord(rows)
    record.add_step(torch.tensor([[[0.0, 0.0, -torch.inf, -torch.inf, -torch.inf]]]), torch.tensor([[True]]))
    assert record.entropy().item() == pytest.approx(np.log(2))


def test_the_disagreement_is_that_of_the_frames_which_other_seeds_draw(rows, logits):
    record = DrawRecord(rows)
    first = drawn(logits, record)
    others = drawn(logits.expand(3000, -1, -1), seed=1)
    apart = (rows[others] - rows[first]).square().sum(-1).mean(0)
    unrelated = torch.cdist(rows, rows).square().mean()
    assert torch.allclose(record.disagreement(first)[0], apart / unrelated, atol=0.06)


def test_a_sure_draw_agrees_with_every_seed_and_a_distant_code_weighs_more_than_a_near_one():
    rows = torch.tensor([[0.0], [1.0], [10.0]])
    record = DrawRecord(rows)
    sure, near, far = [50.0, 0, 0], [50.0, 50.0, 0], [50.0, 0, 50.0]
    record.add_step(torch.tensor([[sure, near, far]]), torch.ones(1, 3, dtype=torch.bool))
    found = record.disagreement(torch.zeros(1, 3, dtype=torch.int64))[0].tolist()
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert found[2] == pytest.approx(100 * found[1], rel=1e-3)


def test_parked_codes_are_no_distance_away():
    rows = torch.tensor([[0.0, 0.0], [1.0, 1.0], [PARKED, PARKED]])
    record = DrawRecord(rows)
    record.add_step(torch.zeros(1, 1, 3), torch.ones(1, 1, dtype=torch.bool))
    assert record.disagreement(torch.zeros(1, 1, dtype=torch.int64)).item() < 2
