import dataclasses

import pytest
import torch

from models.tokenizer import VideoTokenizer, start_from_patches
from pipeline.config.world import StackConfig, TokenizerConfig

STACK = StackConfig(layers=1, d_model=48, heads=2, head_dim=8)
TINY = TokenizerConfig(patch=4, codebook_size=64, latent_dim=16, encoder=STACK, decoder=STACK, window=4, batch=2)


def tokenizer(height=12, width=16, **changes):
    torch.manual_seed(0)
    return VideoTokenizer(dataclasses.replace(TINY, **changes), height, width)


def stripes(frames=4, height=12, width=16):
    """Frames made of few distinct patches."""
    torch.manual_seed(1)
    tiles = torch.randint(0, 255, (5, 4, 4, 3), dtype=torch.uint8)
    picks = torch.randint(0, 5, (2, frames, -(-height // 4), -(-width // 4)))
    rows, columns = picks.shape[2:]
    video = tiles[picks].permute(0, 1, 2, 4, 3, 5, 6).reshape(2, frames, rows * 4, columns * 4, 3)
    return video[:, :, :height, :width]


@pytest.mark.parametrize(("height", "width"), [(12, 16), (11, 13), (90, 160), (3, 2)])
def test_any_frame_size_comes_back_at_its_size(height, width):
    made = tokenizer(height, width)
    video = torch.randint(0, 255, (1, 2, height, width, 3), dtype=torch.uint8)
    tokens = made.encode(video)
    assert tokens.shape == (1, 2, made.num_tokens)
    decoded = made.decode(tokens).detach()
    assert decoded.shape == (1, 2, height, width, 3)
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1


def test_a_start_from_patches_rebuilds_pictures_before_any_training():
    made, video = tokenizer(), stripes()
    codes = start_from_patches(made, video)
    error = (made(video).video_BTHWC.detach() - video / 255).abs().max()
    assert codes == 5, "one code for each distinct patch"
    assert float(error) < 1e-3


def test_the_token_of_a_frame_does_not_depend_on_later_frames():
    made = tokenizer()
    torch.nn.init.normal_(made.encoder.blocks[0].temporal.out.weight)
    video = stripes()
    changed = video.clone()
    changed[:, 3] = 255 - changed[:, 3]
    before, after = made.latents(video), made.latents(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_the_loss_counts_real_pixels_only():
    made = tokenizer(11, 13, reconstruction_weight=1.0, commitment=0.0, ema_decay=0.9)
    video = stripes(height=11, width=13)
    loss, result = made.loss(video)
    assert result.video_BTHWC.shape == video.shape
    torch.testing.assert_close(loss, (result.video_BTHWC - video / 255).square().mean())
