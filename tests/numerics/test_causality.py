"""Every path through time, with the paper's blocks: nothing depends on what comes later, to the bit."""

import pytest
import torch

from tests.numerics.small import make_dynamics, make_lam, make_tokenizer

FRAMES = 4


def video(seed=0):
    return torch.rand(2, FRAMES, 30, 44, 3, generator=torch.Generator().manual_seed(seed))


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tokens(seed=0):
    return torch.randint(0, 64, (2, FRAMES, 15), generator=torch.Generator().manual_seed(seed))


def tokenizer_encoder(architecture):
    made = make_tokenizer(architecture=architecture)
    return made.latents, video


def tokenizer_decoder(architecture):
    made = make_tokenizer(architecture=architecture)
    return made.decode_latents, lambda seed: random(2, FRAMES, made.num_tokens, 32, seed=seed)


def lam_decoder_by_frames():
    made, actions = make_lam(), random(2, FRAMES - 1, 32)
    return lambda frames: made.decode(frames, actions), lambda seed: video(seed)[:, :-1]


def lam_decoder_by_actions():
    made = make_lam()
    return lambda actions: made.decode(video()[:, :-1], actions), lambda seed: random(2, FRAMES - 1, 32, seed=seed)


def dynamics_by_tokens(injection):
    made, actions = make_dynamics(action_injection=injection), random(2, FRAMES - 1, 32)
    return lambda seen: made(seen, actions), tokens


PATHS = {
    "tokenizer encoder, st_vivit": lambda: tokenizer_encoder("st_vivit"),
    "tokenizer encoder, c_vivit": lambda: tokenizer_encoder("c_vivit"),
    "tokenizer decoder, st_vivit": lambda: tokenizer_decoder("st_vivit"),
    "tokenizer decoder, c_vivit": lambda: tokenizer_decoder("c_vivit"),
    "LAM decoder, by its frames": lam_decoder_by_frames,
    "LAM decoder, by its actions": lam_decoder_by_actions,
    "dynamics, actions added": lambda: dynamics_by_tokens("add"),
    "dynamics, actions prepended": lambda: dynamics_by_tokens("prepend"),
    "dynamics, actions scale": lambda: dynamics_by_tokens("film"),
}


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_frame_changes_itself_and_later_ones_and_none_before(path, autocast):
    function, draw = path()
    before, other = draw(0), draw(1)
    changed = before.clone()
    changed[:, 1] = other[:, 1]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        old, new = function(before), function(changed)
    assert old.shape[1] == before.shape[1]
    assert torch.equal(old[:, 0], new[:, 0])
    assert not torch.equal(old[:, 1], new[:, 1])
    assert not torch.equal(old[:, 2], new[:, 2]), "the past is seen"


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("pooling", ["mean", "difference"])
def test_a_latent_action_sees_its_two_frames_and_those_before(pooling, autocast):
    """a_2 leads from frame 2 to frame 3: frame 4 says nothing about it, frames 3 and 1 do."""
    lam, before, other = make_lam(pooling=pooling), video(0), video(1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        old, new = lam.latents(before), []
        for frame in range(FRAMES):
            changed = before.clone()
            changed[:, frame] = other[:, frame]
            new.append(lam.latents(changed))
    assert old.shape == (2, FRAMES - 1, 32)
    a_2 = old[:, 1]
    assert torch.equal(new[3][:, 1], a_2)
    assert not torch.equal(new[2][:, 1], a_2)
    assert not torch.equal(new[0][:, 1], a_2)


@pytest.mark.parametrize("injection", ["add", "prepend", "film"])
def test_an_action_changes_the_frame_it_leads_to_and_later_ones_and_none_before(injection):
    dynamics, actions = make_dynamics(action_injection=injection), random(2, FRAMES - 1, 32)
    changed = actions.clone()
    changed[:, 1] += 1  # a_2: from frame 2 to frame 3
    with torch.inference_mode():
        old, new = dynamics(tokens(), actions), dynamics(tokens(), changed)
    assert torch.equal(old[:, :2], new[:, :2])
    assert not torch.equal(old[:, 2], new[:, 2])
    assert not torch.equal(old[:, 3], new[:, 3])
