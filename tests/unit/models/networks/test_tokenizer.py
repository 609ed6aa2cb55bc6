import dataclasses

import pytest
import torch

from models.networks.frame_cache import FrameCache
from models.networks.tokenizer import VideoTokenizer, initialize_from_patches
from pipeline.config.world import StackConfig, TokenizerConfig
from pipeline.errors import UserError
from pipeline.training_size.parameters import stack_of

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
    codes = initialize_from_patches(made, video)
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


def alive(made):
    """Give what a fresh network leaves at 0 (each part of a block adds nothing) something to say."""
    torch.manual_seed(3)
    for name, parameter in made.named_parameters():
        if ".blocks." in name and parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def reached(made, video, frame, change):
    """Return for each frame whether its latents see a change of one frame."""
    with torch.inference_mode():
        before, after = made.latents(video), made.latents(change(video, frame))
    return [not torch.equal(before[:, index], after[:, index]) for index in range(video.shape[1])]


def inverted(video, frame):
    other = video.clone()
    other[:, frame] = 255 - other[:, frame]
    return other


@pytest.mark.parametrize(
    ("architecture", "seen"),
    [
        ("st_vivit", [False, True, True, True]),
        ("c_vivit", [False, True, True, True]),
        ("vit", [False, True, False, False]),
    ],
)
def test_a_token_sees_earlier_frames_but_in_a_vit(architecture, seen):
    made = alive(tokenizer(architecture=architecture))
    assert reached(made, stripes(), 1, inverted) == seen


@pytest.mark.parametrize("architecture", ["st_vivit", "c_vivit", "vit"])
def test_every_architecture_draws_later_frames_from_earlier_tokens_or_alone(architecture):
    made = alive(tokenizer(architecture=architecture))
    tokens = torch.randint(0, 64, (2, 4, made.num_tokens))
    other = tokens.clone()
    other[:, 1] = 63 - other[:, 1]
    with torch.inference_mode():
        before, after = (made.decode_latents(made.quantizer.lookup(codes)) for codes in (tokens, other))
    seen = [not torch.equal(before[:, frame], after[:, frame]) for frame in range(4)]
    assert seen == ([False, True, False, False] if architecture == "vit" else [False, True, True, True])


CAUSAL = dataclasses.replace(STACK, depthwise_conv="causal", temporal_positions="lag_bias")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize(
    "settings",
    [{}, {"architecture": "c_vivit"}, {"architecture": "vit"}, {"decoder": CAUSAL}],
    ids=["st_vivit", "c_vivit", "vit", "convolutions and lags"],
)
def test_a_frame_drawn_alone_after_others_is_the_one_of_the_whole_window(settings, dtype, tolerance):
    made = alive(tokenizer(**settings)).to(dtype)
    latents = made.quantizer.lookup(torch.randint(0, 64, (2, 4, made.num_tokens)))
    with torch.inference_mode():
        whole, cache = made.decode_latents(latents), FrameCache(context=4)
        # two frames at once, as a prompt has them, then one by one
        parts = [made.decode_latents(part, cache) for part in latents.split([2, 1, 1], 1)]
        assert whole.dtype == dtype
        assert cache.length == 4
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=tolerance, rtol=0)
    if settings.get("architecture") != "vit":
        alone = made.decode_latents(latents[:, 3:]).detach()
        assert float((alone - whole[:, 3:]).abs().max()) > 10 * tolerance, "what came before matters"


@pytest.mark.parametrize("architecture", ["st_vivit", "c_vivit"])
def test_frames_go_on_past_the_window_in_a_ring(architecture):
    made, cache = alive(tokenizer(architecture=architecture)), FrameCache(context=4, ring=True)
    tokens = torch.randint(0, 64, (1, 11, made.num_tokens))
    with torch.inference_mode():
        frames = torch.cat([made.decode(tokens[:, frame : frame + 1], cache) for frame in range(11)], 1)
        first = made.decode(tokens[:, :4])
    assert frames.shape == (1, 11, 12, 16, 3)
    torch.testing.assert_close(frames[:, :4], first, atol=1e-4, rtol=0)
    assert bool(frames.isfinite().all())


def test_an_architecture_is_a_matter_of_attention_alone():
    for architecture, temporal, spacetime in (
        ("st_vivit", True, False),
        ("vit", False, False),
        ("c_vivit", False, True),
    ):
        stack = stack_of(dataclasses.replace(TINY, architecture=architecture), "decoder")
        assert (stack.temporal_attention, stack.spacetime_attention) == (temporal, spacetime)
        assert dataclasses.replace(stack, temporal_attention=True, spacetime_attention=False) == STACK


def test_stacks_that_contradict_the_architecture_are_refused():
    with pytest.raises(UserError, match="'vit' sees each frame alone"):
        dataclasses.replace(TINY, architecture="vit", decoder=CAUSAL)
    with pytest.raises(UserError, match="set temporal_positions = 'rotary'"):
        dataclasses.replace(TINY, architecture="c_vivit", encoder=CAUSAL)


def test_a_lattice_and_directions_serve_as_codes():
    lattice = {"quantizer": "fsq", "fsq_levels": (4, 4, 4), "latent_dim": 3, "codebook_size": 64}
    for settings in (lattice, {"cosine": True}):
        made = tokenizer(**settings)
        loss, result = made.loss(stripes())
        loss.backward()
        tokens = made.encode(stripes())
        assert torch.equal(tokens, result.quantized.codes)
        shown = result.video_BTHWC.clamp(0, 1)
        torch.testing.assert_close(made.decode(tokens), shown, atol=1e-5, rtol=0)
        assert float(made.embed.weight.grad.abs().max()) > 0, "through the codes, to the pixels"
