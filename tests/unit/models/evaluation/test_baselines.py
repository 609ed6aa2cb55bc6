"""Baselines on videos whose answer is known."""

import numpy as np
import pytest
import torch

from models.evaluation.baselines import (
    first_frame,
    fit_patch_codebook,
    frames_of,
    mean_frame,
    patches_of,
    previous_frame,
)
from models.metrics import psnr


@pytest.fixture
def video():
    return np.random.default_rng(0).integers(0, 256, (2, 4, 18, 20, 3), dtype=np.uint8)


def test_copies_are_what_their_names_say(video):
    assert np.array_equal(previous_frame(video)[:, 1:], video[:, :-1])
    assert np.array_equal(previous_frame(video)[:, 0], video[:, 0])
    assert np.array_equal(first_frame(video)[:, 3], video[:, 0])
    assert np.array_equal(mean_frame(video)[1, 2], np.rint(video[1].mean(0)).astype(np.uint8))


def test_the_mean_is_the_best_still_picture(video):
    assert psnr(video, mean_frame(video)).mean() > psnr(video, first_frame(video))[:, 1:].mean()


@pytest.mark.parametrize("patch", [4, 5, 10])
def test_patches_and_back_is_the_identity_also_where_the_size_is_no_multiple(video, patch):
    frames = video[0]
    assert np.array_equal(frames_of(patches_of(frames, patch), patch, 18, 20), frames)


def test_patches_keep_their_place():
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[0, :4, 4:] = 255
    assert patches_of(frames, 4).mean(1).tolist() == [0, 1, 0, 0]


def test_a_codebook_as_large_as_the_video_is_exact():
    tiles = np.random.default_rng(1).integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)
    index = np.random.default_rng(2).integers(0, 6, (10, 4, 4))
    frames = tiles[index].transpose(0, 1, 3, 2, 4, 5).reshape(10, 20, 20, 3)
    codebook = fit_patch_codebook(frames, patch=5, num_codes=6)
    assert len(codebook.centres) == 6
    assert np.array_equal(codebook.reconstruct(frames[None]), frames[None])


def test_more_codes_are_better_and_rare_patches_are_kept():
    rng = np.random.default_rng(3)
    frames = (rng.integers(0, 8, (40, 20, 20, 1)) * np.ones(3) * 30).astype(np.uint8)
    frames = frames.repeat(2, 1).repeat(2, 2)
    frames[0, :4, :4] = (255, 0, 0)  # one red patch of 4,000
    few = fit_patch_codebook(frames, patch=4, num_codes=8)
    many = fit_patch_codebook(frames, patch=4, num_codes=256)
    assert psnr(frames, many.reconstruct(frames)).mean() > psnr(frames, few.reconstruct(frames)).mean() + 1
    red = many.reconstruct(frames[:1])[0, 1, 1].astype(int)
    assert red[0] - red[1] > 100


def test_the_same_seed_gives_the_same_codebook(video):
    first, second = (
        fit_patch_codebook(video.reshape(-1, 18, 20, 3), patch=4, num_codes=16, max_patches=100) for _ in range(2)
    )
    assert torch.equal(first.centres, second.centres)
