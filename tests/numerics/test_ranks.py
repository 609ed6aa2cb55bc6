"""Several processes take the steps of one: the same batch, noise, losses, codes and weights, whatever their number.

Compared in fp64, where only the order of sums differs: the first steps of Adam turn the rounding of a gradient that is
nearly 0 into a step of full size. Ranks are threads here (tests/thread_ranks.py); tests/slow/test_ranks.py has real
processes, in fp32.
"""

import dataclasses
import threading

import pytest
import torch

from models.runtime.compute import Compute
from models.runtime.ranks import ALONE
from models.training.data import Clip, ClipWindows
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from tests.numerics.small import DYNAMICS, LAM, SEEDS, TOKENIZER, arcade_clip, patch_tokenizer
from tests.thread_ranks import on_ranks

BATCH, STEPS = 3, 3
BUILDING = threading.Lock()
STACK = dataclasses.replace(TOKENIZER.encoder, layers=1, d_model=32, heads=2)
TOKENIZERS = {
    "codes by gradient": {},
    "moving averages and restarts": {"ema_decay": 0.9, "restart_below": 0.98},
}
WORLDS = {
    "latent actions alone with noise, then both": (
        {"unquantized_steps": 1, "latent_noise": 0.7, "ema_decay": 0.9, "restart_below": 0.9},
        {"changed_weight": 5.0},
    ),
    "play-like inputs, the LAM learns in one of two": (
        {"update_every": 2, "ema_decay": 0.9},
        {"own_frame_share": 0.7, "token_noise": 0.5, "full_mask_share": 0.3},
    ),
    "what it predicted before": (
        {"update_every": 2, "ema_decay": 0.9},
        {"recalled_share": 0.9, "clean_prefix_share": 1.0, "token_noise": 0.1},
    ),
    "its own past": ({"input": "tokens", "pooling": "difference"}, {"own_frame_share": 0.8, "own_frames": 5}),
}


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    """Where networks keep fp32 whatever the products' dtype (`.float()`), they keep fp64."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    # the first codes of a LAM: of fewer batches than usual
    monkeypatch.setattr("models.training.world_training._CODES_BATCHES", 2)
    # networks that have hardly learned predict other tokens, which are to be shown all the same
    monkeypatch.setattr("models.training.recalled._MOST_WRONG", 1.0)


@pytest.fixture(scope="module")
def clips():
    frames = {seed: arcade_clip(seed) for seed in SEEDS}
    return [Clip(str(seed), lambda seed=seed: frames[seed]) for seed in SEEDS]


def tokenizer(clips, ranks, **changes):
    config = dataclasses.replace(TOKENIZER, encoder=STACK, decoder=STACK, **{"batch": BATCH, **changes})
    windows = ClipWindows(clips, cache_clips=2, ranks=ranks)
    return TokenizerTraining(config, windows, compute(ranks), seed=0)


def compute(ranks):
    return Compute(torch.device("cpu"), torch.float32, "test", 1, ranks)


def taken(training, steps=range(STEPS)):
    """Take steps; return the metrics of each, and the state after them."""
    metrics = [training.step(step) for step in steps]
    about = training.about()
    return metrics, {name: tensor.clone() for name, tensor in training.tensors().items()}, about


def exact(make):
    """A training in fp64; threads share torch's generator, from which fresh weights are drawn."""
    with BUILDING:
        training = make()
    for network in (training.networks() | {"tokenizer": training.tokenizer}).values():
        network.double()
    return training


def started(make):
    training = exact(make)
    training.initialize()
    return training


def assert_same(found, expected):
    for ours, theirs in zip(found[0], expected[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-10)
    assert found[1].keys() == expected[1].keys()
    for name, tensor in expected[1].items():
        torch.testing.assert_close(
            found[1][name], tensor, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert found[2] == expected[2]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_two_ranks_train_the_tokenizer_of_one(clips, name):
    def work(ranks):
        return taken(started(lambda: tokenizer(clips, ranks, **TOKENIZERS[name])))

    one, (first, second) = on_ranks(1, work)[0], on_ranks(2, work)
    assert one[0][0]["gradient_norm"] > 0
    assert_same(first, one)
    for tensor, other in zip(first[1].values(), second[1].values(), strict=True):
        assert torch.equal(tensor, other), "both ranks hold the same bytes"


@pytest.mark.parametrize("name", WORLDS)
def test_two_ranks_train_the_world_of_one(clips, name):
    lam, dynamics = WORLDS[name]

    def world(ranks):
        windows = ClipWindows(clips, cache_clips=2, ranks=ranks)
        sections = (
            dataclasses.replace(LAM, encoder=STACK, decoder=STACK, **lam),
            dataclasses.replace(DYNAMICS, stack=STACK, batch=BATCH, **dynamics),
        )
        return taken(
            started(lambda: WorldTraining(*sections, patch_tokenizer(windows), windows, compute(ranks), seed=0))
        )

    one, (first, second) = on_ranks(1, world)[0], on_ranks(2, world)
    assert_same(first, one)
    assert ("recalled.keys" in one[1]) == ("recalled_share" in dynamics)
    for tensor, other in zip(first[1].values(), second[1].values(), strict=True):
        assert torch.equal(tensor, other)


def test_a_checkpoint_of_two_ranks_goes_on_on_one_and_back_on_two(clips):
    changes = TOKENIZERS["moving averages and restarts"]
    straight = taken(started(lambda: tokenizer(clips, ALONE, **changes)), range(6))

    def part(state, steps):
        def work(ranks):
            training = exact(lambda: tokenizer(clips, ranks, **changes))
            if state is None:
                training.initialize()
            else:
                training.load(state[1])
                training.load_about(state[2])
            return taken(training, steps)

        return work

    state, metrics = None, []
    for count, steps in ((2, range(2)), (1, range(2, 4)), (2, range(4, 6))):
        state = on_ranks(count, part(state, steps))[0]
        metrics += state[0]
    assert_same((metrics, *state[1:]), straight)


def test_what_one_rank_cannot_read_all_know_at_a_checkpoint(clips):
    def windows_of(ranks):
        windows = ClipWindows(clips, cache_clips=2, ranks=ranks)
        if ranks.rank == 1:
            windows.tally.add(clips[0].clip_id, "damaged")
        return windows.bad_of_all(), windows.bad

    for known in on_ranks(2, windows_of):
        assert known == ({clips[0].clip_id: "damaged"},) * 2
