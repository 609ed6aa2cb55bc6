"""Tokens that are kept are those that the tokenizer gives, are encoded once, and take bounded memory."""

import pytest
import torch

from models.training.token_cache import token_cache
from pipeline.shards.loader.loader import Place
from tests.numerics.small import CONTEXT, arcade_windows, in_double, make_world_training, stir

STACKS = {"st_vivit": CONTEXT, "vit": 1}


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


def stirred(windows, **changes):
    """A training whose tokenizer looks back: fresh blocks add nothing, and all its tokens are of their frame alone."""
    training = make_world_training(windows, **changes)
    stir(training.tokenizer.encoder, 0.5)
    return training


def test_codes_of_a_lam_that_learns_are_not_kept(windows):
    assert make_world_training(windows, cache_tokens=9).code_cache is None


@pytest.mark.parametrize("architecture", STACKS)
def test_a_window_is_encoded_once_and_has_the_tokens_of_the_tokenizer_wherever_it_starts(windows, architecture):
    training = stirred(windows, architecture=architecture)
    cache = token_cache(training.tokenizer, 100, CONTEXT)
    videos = {clip.clip_id: torch.from_numpy(clip.load()) for clip in windows.clips.read(0)}
    lengths = []

    def encode(entry):
        lengths.append(entry.shape[1])
        return training.tokenizer.encode(entry)

    def tokens_of(*places):
        video = torch.stack([videos[clip][start : start + CONTEXT] for clip, start in places])
        return video, cache.of(video, [Place(*place) for place in places], encode, training.parallel)

    one, other = sorted(videos)
    for places in ([(one, 0), (one, 1)], [(one, 1), (one, 1)], [(other, 1), (one, 0)]):
        video, tokens = tokens_of(*places)
        assert torch.equal(tokens, training.tokenizer.encode(video))
    frames_alone = architecture == "vit"
    assert lengths == ([1] * (CONTEXT + 1 + CONTEXT) if frames_alone else [CONTEXT] * 3)
    first, second = tokens_of((one, 0), (one, 1))[1]
    assert torch.equal(first[1:], second[:-1]) == frames_alone, "a token depends on where its window starts"


def test_a_full_cache_keeps_what_it_has_and_encodes_the_rest(windows):
    training = make_world_training(windows)
    cache = token_cache(training.tokenizer, 1, CONTEXT)
    video = windows.spread(count=2, window=CONTEXT)
    for start in (0, 0, 3):
        places = [Place("0", start), Place("1", start)]
        assert torch.equal(
            cache.of(video, places, training.tokenizer.encode, training.parallel), training.tokenizer.encode(video)
        )
    assert len(cache) == 1


@pytest.mark.parametrize("architecture", STACKS)
def test_a_training_takes_the_same_steps_with_kept_tokens(windows, architecture):
    """With a LAM that has ended learning, whose codes are kept too."""
    own = {"own_frames": 2, "own_frame_share": 0.5, "clean_prefix_share": 0.5, "architecture": architecture}
    own["lam"] = {"update_every": 0, "unquantized_steps": 1}

    def metrics(cache_tokens):
        training = stirred(windows, cache_tokens=cache_tokens, **own)
        with in_double(training.tokenizer, training.lam, training.dynamics):
            return [training.step(step) for step in range(4)], training

    plain, without = metrics(0)
    kept, training = metrics(50)
    assert without.token_cache is without.code_cache is None
    assert len(training.token_cache) > 2
    assert len(training.code_cache) > 2
    assert "lam_loss" not in kept[-1]
    for ours, theirs in zip(kept, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
