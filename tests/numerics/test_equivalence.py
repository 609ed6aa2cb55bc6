"""What must not matter does not: the batch, the padding, the precision (within stated bounds)."""

from contextlib import nullcontext

import pytest
import torch

from models.networks.patches import grid_of, to_patches
from models.training.tokenizer_training import mean_psnr
from tests.numerics.small import in_double, make_dynamics, make_lam, make_tokenizer

ODD = (17, 23)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def video(batch, height=ODD[0], width=ODD[1]):
    return torch.rand(batch, 4, height, width, 3, generator=noise())


def paths(batch, dtype):
    """Name -> (network, function of it, inputs that have the batch in front)."""
    tokenizer, spacetime = make_tokenizer(*ODD), make_tokenizer(*ODD, architecture="c_vivit")
    lam, dynamics = make_lam(*ODD), make_dynamics()
    pixels = video(batch).to(dtype)
    codes = torch.randint(0, 64, (batch, 4, tokenizer.num_tokens), generator=noise())
    tokens = torch.randint(0, 64, (batch, 4, 15), generator=noise())
    actions = torch.randn(batch, 3, 32, generator=noise()).to(dtype)
    return {
        "tokenizer latents": (tokenizer, tokenizer.latents, (pixels,)),
        "tokenizer latents, c_vivit": (spacetime, spacetime.latents, (pixels,)),
        "tokenizer pixels": (tokenizer, lambda c: tokenizer.decode_latents(tokenizer.quantizer.lookup(c)), (codes,)),
        "LAM latents": (lam, lam.latents, (pixels,)),
        "LAM pixels": (lam, lam.decode, (pixels[:, :-1], actions)),
        "dynamics logits": (dynamics, dynamics, (tokens, actions)),
    }


NAMES = list(paths(1, torch.float32))


def one_by_one(name, dtype):
    """Largest difference between a batch of five and its samples alone."""
    network, function, inputs = paths(5, dtype)[name]
    with in_double(network) if dtype == torch.float64 else nullcontext(), torch.inference_mode():
        whole = function(*inputs)
        alone = torch.cat([function(*(x[i : i + 1] for x in inputs)) for i in range(5)])
    assert whole.dtype == dtype
    assert not torch.equal(whole[0], whole[1]), "samples differ"
    return float((whole - alone).abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_alone_is_the_sample_in_a_batch_within_1e_4(name):
    assert one_by_one(name, torch.float32) <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_alone_is_the_sample_in_a_batch_within_1e_9_in_fp64(name):
    assert one_by_one(name, torch.float64) <= 1e-9


def test_codes_and_latent_actions_do_not_depend_on_the_batch():
    tokenizer, lam, pixels = make_tokenizer(*ODD), make_lam(*ODD), video(5)
    lam.quantizer.codebook.data = lam.latents(pixels)[:, 0].detach()
    with in_double(tokenizer, lam):
        for encode in (tokenizer.encode, lam.encode):
            whole = encode(pixels.double())
            assert len(whole.unique()) > 1
            assert torch.equal(whole, torch.cat([encode(one.double()[None]) for one in pixels]))


# largest difference over the standard deviation of the output: as measured, with and without AVX-512, and its bound
BF16_BOUNDS = {
    "tokenizer latents": 0.08,  # 0.039
    "tokenizer latents, c_vivit": 0.08,  # 0.026
    "tokenizer pixels": 0.08,  # 0.042
    "LAM latents": 0.04,  # 0.020
    "LAM pixels": 0.2,  # 0.100
    "dynamics logits": 0.08,  # 0.031
}


@pytest.mark.parametrize("name", NAMES)
def test_bf16_stays_within_a_stated_bound_of_fp32(name):
    _, function, inputs = paths(5, torch.float32)[name]
    with torch.inference_mode():
        exact = function(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            rough = function(*inputs).float()
    error = float((rough - exact).abs().max() / exact.std())
    assert 0 < error <= BF16_BOUNDS[name]


# -- padding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [ODD, (90, 160), (16, 16), (3, 2)])
def test_a_lam_predicts_frames_of_any_size_at_that_size(height, width):
    lam = make_lam(height, width)
    rows, columns = grid_of(height, width, 16)
    assert lam.encoder.positions.shape[0] == rows * columns
    prediction = lam(torch.randint(0, 256, (1, 3, height, width, 3), dtype=torch.uint8))
    assert prediction.next_frames.shape == (1, 2, height, width, 3)
    assert prediction.latents_BTL.shape == (1, 2, 32)


def padding(height, width, patch):
    """Which values (P, X) of the patches lie outside the frame."""
    rows, columns = grid_of(height, width, patch)
    outside = torch.ones(1, 1, rows * patch, columns * patch, 3)
    outside[:, :, :height, :width] = 0
    return to_patches(outside, patch)[0, 0].bool()


@pytest.mark.parametrize(("make", "patch"), [(make_tokenizer, 4), (make_lam, 16)], ids=["tokenizer", "LAM"])
@pytest.mark.parametrize(("height", "width"), [ODD, (90, 160)])
def test_what_is_drawn_in_the_padding_is_in_no_loss_and_no_psnr(make, patch, height, width):
    network, pixels = make(height, width), video(1, height, width)[:, :3]
    outside = padding(height, width, patch)
    assert outside.any()

    def loss_and_psnr(where):
        handle = network.out.register_forward_hook(lambda module, args, drawn: drawn + 3.0 * where)
        loss, result = network.loss(pixels)
        handle.remove()
        drawn = result[0]
        return loss, mean_psnr(drawn, pixels[:, -drawn.shape[1] :])

    plain, padded, inside = (loss_and_psnr(where) for where in (outside & False, outside, ~outside))
    assert torch.equal(plain[0], padded[0])
    assert plain[1] == padded[1]
    assert not torch.equal(plain[0], inside[0])
    assert plain[1] != inside[1]
