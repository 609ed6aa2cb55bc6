import dataclasses

import pytest
import torch

from models.latent_actions import LatentActionModel, start_codes, start_embeddings
from pipeline.config.world import LatentActionConfig, StackConfig

STACK = StackConfig(layers=1, d_model=32, heads=2, head_dim=8)
PAIR_STACK = dataclasses.replace(STACK, temporal_attention=False, depthwise_conv="frame")
PAPER = LatentActionConfig(patch=4, num_actions=4, latent_dim=8, encoder=STACK, decoder=STACK)
PAIRS = LatentActionConfig(
    patch=4, num_actions=4, latent_dim=8, encoder=PAIR_STACK, decoder=PAIR_STACK, pooling="antisymmetric",
    normalize_latent=True, decoder_output="residual", ema_decay=0.9, pca_start=True,
)  # fmt: skip


def busy(config, height=10, width=14):
    torch.manual_seed(0)
    lam = LatentActionModel(config, height, width, context=5)
    for name, parameter in lam.named_parameters():
        if "out.weight" in name or "ffw.2" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return lam


def video(frames=5):
    torch.manual_seed(2)
    return torch.rand(2, frames, 10, 14, 3)


@pytest.mark.parametrize("config", [PAPER, PAIRS], ids=["mean", "antisymmetric"])
def test_an_action_is_the_change_from_a_frame_to_the_next(config):
    lam, frames = busy(config), video()
    before = lam.latents(frames)
    assert before.shape == (2, 4, 8)
    later, next_one = frames.clone(), frames.clone()
    later[:, 3] = 1 - later[:, 3]
    next_one[:, 2] = 1 - next_one[:, 2]
    assert torch.equal(lam.latents(later)[:, 1], before[:, 1]), "frame t + 2 says nothing about a_t"
    assert not torch.equal(lam.latents(next_one)[:, 1], before[:, 1]), "frame t + 1 does"


def test_swapped_frames_give_the_opposite_latent_and_a_still_pair_none():
    lam = busy(dataclasses.replace(PAIRS, normalize_latent=False))
    pair = video(2)
    torch.testing.assert_close(lam.latents(pair.flip(1)), -lam.latents(pair))
    still = pair[:, :1].expand(-1, 2, -1, -1, -1)
    assert lam.latents(still).abs().max() == 0


@pytest.mark.parametrize("config", [PAPER, PAIRS], ids=["mean", "antisymmetric"])
def test_an_action_changes_the_frame_it_leads_to_and_none_before(config):
    lam, frames = busy(config), video()
    actions = torch.randn(2, 4, 8)
    other = actions.clone()
    other[:, 2] += 1
    with torch.inference_mode():
        before, after = lam.decode(frames[:, :-1], actions), lam.decode(frames[:, :-1], other)
    assert before.shape == (2, 4, 10, 14, 3)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])


@pytest.mark.parametrize("output", ["residual", "sigmoid_residual"])
def test_a_fresh_residual_decoder_repeats_the_present_frame(output):
    torch.manual_seed(0)
    lam = LatentActionModel(dataclasses.replace(PAIRS, decoder_output=output), 10, 14, context=5)
    frames = video().clamp(0.05, 0.95)
    torch.testing.assert_close(lam(frames).video_BTHWC, frames[:, :-1], atol=1e-5, rtol=0)


def test_the_papers_decoder_answers_in_pixels_between_0_and_1():
    predicted = busy(PAPER)(video()).video_BTHWC.detach()
    assert 0 < float(predicted.min()) < float(predicted.max()) < 1


def test_a_continuous_bottleneck_is_not_quantized():
    lam = busy(PAIRS)
    assert lam(video(), continuous=True).quantized is None
    assert lam(video()).quantized.codes.shape == (2, 4)


def test_codes_start_at_clusters_of_latents():
    lam = busy(PAIRS)
    latents = torch.eye(8)[:4].repeat_interleave(10, 0) + 0.01 * torch.randn(40, 8)
    counts = start_codes(lam, latents, torch.Generator().manual_seed(0))
    assert counts.tolist() == [10, 10, 10, 10]
    assert sorted(lam.quantizer.nearest(torch.eye(8)[:4]).tolist()) == [0, 1, 2, 3]


def test_started_embeddings_hold_the_frames():
    lam, frames = busy(PAIRS), video()
    start_embeddings(lam, frames)
    embedded = lam.embed_decoder.weight
    assert torch.linalg.matrix_rank(embedded[:16]) == 16
    # each frame of a pair has channels of its own
    assert embedded.shape[1] * 2 == lam.embed_encoder.weight.shape[1]
    assert lam.embed_encoder.weight[:8, embedded.shape[1] :].abs().max() == 0
