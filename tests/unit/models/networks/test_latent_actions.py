import dataclasses
import math

import pytest
import torch

from models.networks.latent_actions import LatentActionModel, initialize_codes, initialize_embeddings
from models.training.code_metrics import code_metrics
from pipeline.config.world import LatentActionConfig, StackConfig
from pipeline.errors import UserError
from tests.networks import randomize

STACK = StackConfig(layers=1, d_model=32, heads=2, head_dim=8)
PAIR_STACK = dataclasses.replace(STACK, temporal_attention=False, depthwise_conv="frame")
PAPER = LatentActionConfig(patch=4, num_actions=4, latent_dim=8, encoder=STACK, decoder=STACK)
PAIRS = LatentActionConfig(
    patch=4, num_actions=4, latent_dim=8, encoder=PAIR_STACK, decoder=PAIR_STACK, pooling="antisymmetric",
    normalize_latent=True, decoder_output="residual", ema_decay=0.9, pca_start=True,
)  # fmt: skip
DIFFERENCE = dataclasses.replace(PAPER, pooling="difference")
WINDOW = dataclasses.replace(PAPER, window=3)
COSINE = dataclasses.replace(PAPER, cosine=True)
TOKENS = dataclasses.replace(PAPER, input="tokens")
ALL = {
    "mean": PAPER, "antisymmetric": PAIRS, "difference": DIFFERENCE, "window": WINDOW, "cosine": COSINE,
    "tokens": TOKENS, "tokens-window": dataclasses.replace(TOKENS, window=3, pooling="difference"),
}  # fmt: skip
every_variant = pytest.mark.parametrize("config", ALL.values(), ids=ALL)


def busy(config, height=10, width=14, context=5):
    torch.manual_seed(0)
    lam = LatentActionModel(config, height, width, context=context, num_codes=20, grid=(2, 3))
    randomize(lam, std=0.2)
    return lam


def video(frames=5):
    torch.manual_seed(2)
    return torch.rand(2, frames, 10, 14, 3)


def input_of(config, frames=5):
    """Pixels, or tokens of a tokenizer of 20 codes and 2x3 patches."""
    if config.input == "pixels":
        return video(frames)
    return torch.randint(0, 20, (2, frames, 6), generator=torch.Generator().manual_seed(2))


def changed(frames, at):
    other = frames.clone()
    other[:, at] = 19 - other[:, at] if frames.dim() == 3 else 1 - other[:, at]
    return other


@every_variant
def test_an_action_is_the_change_from_a_frame_to_the_next(config):
    lam, frames = busy(config), input_of(config)
    before = lam.latents(frames)
    assert before.shape == (2, 4, 8)
    later, next_one = changed(frames, 3), changed(frames, 2)
    assert torch.equal(lam.latents(later)[:, 1], before[:, 1]), "frame t + 2 says nothing about a_t"
    assert not torch.equal(lam.latents(next_one)[:, 1], before[:, 1]), "frame t + 1 does"


def test_swapped_frames_give_the_opposite_latent_and_a_still_pair_none():
    lam = busy(dataclasses.replace(PAIRS, normalize_latent=False))
    pair = video(2)
    torch.testing.assert_close(lam.latents(pair.flip(1)), -lam.latents(pair))
    still = pair[:, :1].expand(-1, 2, -1, -1, -1)
    assert lam.latents(still).abs().max() == 0


@every_variant
def test_an_action_changes_the_frame_it_leads_to_and_none_before(config):
    lam, frames = busy(config), input_of(config)
    actions = torch.randn(2, 4, 8)
    other = actions.clone()
    other[:, 2] += 1
    with torch.inference_mode():
        before, after = lam.decode(frames[:, :-1], actions), lam.decode(frames[:, :-1], other)
    assert before.shape == ((2, 4, 6, 20) if lam.reads_tokens else (2, 4, 10, 14, 3))
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])


@pytest.mark.parametrize("output", ["residual", "sigmoid_residual"])
def test_a_fresh_residual_decoder_repeats_the_present_frame(output):
    torch.manual_seed(0)
    lam = LatentActionModel(dataclasses.replace(PAIRS, decoder_output=output), 10, 14, context=5)
    frames = video().clamp(0.05, 0.95)
    torch.testing.assert_close(lam(frames).next_frames, frames[:, :-1], atol=1e-5, rtol=0)


def test_the_papers_decoder_answers_in_pixels_between_0_and_1():
    predicted = busy(PAPER)(video()).next_frames.detach()
    assert 0 < float(predicted.min()) < float(predicted.max()) < 1


def test_a_continuous_bottleneck_is_not_quantized():
    lam = busy(PAIRS)
    assert lam(video(), continuous=True).quantized is None
    assert lam(video()).quantized.codes.shape == (2, 4)


def test_codes_start_at_clusters_of_latents():
    lam = busy(PAIRS)
    latents = torch.eye(8)[:4].repeat_interleave(10, 0) + 0.01 * torch.randn(40, 8)
    counts = initialize_codes(lam, latents, torch.Generator().manual_seed(0))
    assert counts.tolist() == [10, 10, 10, 10]
    assert sorted(lam.quantizer.nearest(torch.eye(8)[:4]).tolist()) == [0, 1, 2, 3]


def test_of_the_codes_that_tries_end_at_those_of_the_least_error_stay():
    lam, asked = busy(PAIRS), []
    # more clusters than codes: some of them share one, and which ones is up to a try
    places = torch.eye(8)[:6]

    def error(share):
        codes = lam.quantizer.nearest(places).tolist()
        asked.append(share)
        return float(codes[0] != codes[5])

    initialize_codes(lam, places.repeat_interleave(10, 0), torch.Generator().manual_seed(0), error)
    codes = lam.quantizer.nearest(places).tolist()
    assert codes[0] == codes[5], "the clusters that one code may tell"
    first = len(asked) - 13
    assert asked == [0.1] * first + [0.4] * 10 + [1] * 3, "a part of the transitions tells which ones are worth more"
    assert 10 <= first < 32, "tries that end at the same codes are judged once"


def test_started_embeddings_hold_the_frames():
    lam, frames = busy(PAIRS), video()
    initialize_embeddings(lam, frames)
    embedded = lam.embed_decoder.weight
    assert torch.linalg.matrix_rank(embedded[:16]) == 16
    # each frame of a pair has channels of its own
    assert embedded.shape[1] * 2 == lam.embed_encoder.weight.shape[1]
    assert lam.embed_encoder.weight[:8, embedded.shape[1] :].abs().max() == 0


@every_variant
def test_every_part_of_a_variant_learns(config):
    lam = busy(dataclasses.replace(config, ema_decay=0.0))
    loss, result = lam.loss(input_of(config))
    loss.backward()
    assert result.quantized.codes.shape == (2, 4)
    lost = [name for name, parameter in lam.named_parameters() if parameter.grad is None]
    assert not lost
    assert float(lam.embed_encoder.weight.grad.abs().max()) > 0, "through the code, to what the encoder read"


def test_a_still_clip_has_no_difference():
    lam = busy(dataclasses.replace(DIFFERENCE, encoder=dataclasses.replace(STACK, temporal_attention=False)))
    still = video(1).expand(-1, 5, -1, -1, -1)
    torch.testing.assert_close(lam.latents(still), lam.pre.bias.expand(2, 4, -1), atol=1e-5, rtol=0)


def test_windows_are_read_as_if_nothing_came_before_them():
    lam, frames = busy(WINDOW), video()
    whole = lam(frames)
    for start in (0, 2):
        own = lam(frames[:, start : start + 3])
        torch.testing.assert_close(whole.latents_BTL[:, start : start + 2], own.latents_BTL)
        torch.testing.assert_close(whole.next_frames[:, start : start + 2], own.next_frames)
        assert torch.equal(whole.quantized.codes[:, start : start + 2], own.quantized.codes)
    before = lam.latents(frames)[:, 2:]
    assert torch.equal(lam.latents(changed(frames, 1))[:, 2:], before), "frame 1 is not in the second window"
    assert not torch.equal(lam.latents(changed(frames, 2))[:, 2:], before), "frame 2 is in both"


def test_windows_that_do_not_fill_the_context_are_refused():
    with pytest.raises(UserError, match=r"latent_actions\.window = 4: .* so 4 must be a multiple of 3"):
        LatentActionModel(dataclasses.replace(WINDOW, window=4), 10, 14, context=5)
    with pytest.raises(UserError, match=r"latent_actions\.window = 9"):
        LatentActionModel(dataclasses.replace(WINDOW, window=9), 10, 14, context=5)
    with pytest.raises(ValueError, match="3 latent actions are no whole number of windows of 2"):
        busy(WINDOW).latents(video(4))
    with pytest.raises(ValueError, match="9 frames exceed the context of 5"):
        busy(PAPER).latents(video(9))


def test_frames_that_an_action_is_read_from_are_known():
    assert [busy(config).window for config in (PAPER, PAIRS, WINDOW)] == [5, 2, 3]


def test_the_loss_of_a_lam_on_tokens_is_the_cross_entropy_of_the_next_frame():
    lam, tokens = busy(dataclasses.replace(TOKENS, commitment=0.0, ema_decay=0.9)), input_of(TOKENS)
    loss, result = lam.loss(tokens)
    surprise = -result.next_frames.log_softmax(-1).gather(-1, tokens[:, 1:, :, None])
    torch.testing.assert_close(loss, surprise.mean())
    assert lam.metric == "lam_accuracy"


def test_a_lam_on_tokens_must_know_the_tokenizer():
    with pytest.raises(ValueError, match="num_codes and grid"):
        LatentActionModel(TOKENS, 10, 14, context=5)


def test_a_direction_alone_chooses_an_action():
    lam = busy(COSINE)
    latents = lam.latents(video())
    assert torch.equal(lam.quantizer.nearest(latents * 7), lam.quantizer.nearest(latents))
    torch.testing.assert_close(lam(video()).quantized.straight.norm(dim=-1), torch.ones(2, 4))


def test_codes_that_name_the_scene_or_count_the_frames_show():
    scene = torch.tensor([[1, 1, 1, 1], [2, 2, 2, 2]])
    assert code_metrics(scene, 8) == {
        "lam_codes_used": 2,
        "lam_perplexity": pytest.approx(2),
        "lam_entropy_in_clip": 0,
        "lam_entropy_at_time": pytest.approx(math.log(2)),
    }
    time = torch.arange(4).expand(3, 4)
    assert code_metrics(time, 8) == {
        "lam_codes_used": 4,
        "lam_perplexity": pytest.approx(4),
        "lam_entropy_in_clip": pytest.approx(math.log(4)),
        "lam_entropy_at_time": 0,
    }


def test_a_pair_has_no_frame_before_it_to_look_at():
    alone = StackConfig(layers=1, d_model=16, heads=2, head_dim=8, temporal_attention=False)
    with pytest.raises(UserError, match=r"depthwise_conv = 'causal'.*set it to 'frame'"):
        LatentActionConfig(
            pooling="antisymmetric", encoder=dataclasses.replace(alone, depthwise_conv="causal"), decoder=alone
        )


def error_of(guess, frames, **changes):
    lam = busy(dataclasses.replace(PAIRS, **changes))
    return lam._pixel_error(guess, frames).item()


def test_pixels_that_move_may_weigh_more_and_a_small_thing_then_counts_as_much_as_a_scroll():
    still = torch.full((1, 2, 10, 14, 3), 0.5)
    small, scroll = still.clone(), still.clone()
    small[:, 1, 4:6, 4:6] = 0.9
    scroll[:, 1] = 0.9
    plain = [error_of(still[:, :1], frames) for frames in (small, scroll)]
    assert plain[0] == pytest.approx(plain[1] * 4 / 140)
    far = [error_of(still[:, :1], frames, motion_weight=1e6) for frames in (small, scroll)]
    assert far[0] == pytest.approx(far[1], rel=1e-3)
    assert far[1] == pytest.approx(plain[1])
    noise = still.clone()
    noise[:, 1] += 0.02
    assert error_of(still[:, :1], noise, motion_weight=9.0) == pytest.approx(error_of(still[:, :1], noise))


def test_a_weighed_error_of_a_batch_is_the_mean_of_those_of_its_windows():
    frames, guess = video(), torch.rand(2, 4, 10, 14, 3)
    each = [error_of(guess[one : one + 1], frames[one : one + 1], motion_weight=5.0) for one in range(2)]
    assert error_of(guess, frames, motion_weight=5.0) == pytest.approx(sum(each) / 2)


def test_the_loss_may_leave_out_what_enters_at_the_sides():
    frames, guess = video(), torch.rand(2, 4, 10, 14, 3)
    lam = busy(dataclasses.replace(PAIRS, loss_margin=4))
    expected = (guess - frames[:, 1:])[:, :, :, 4:-4].square().mean().item()
    assert lam._pixel_error(guess, frames).item() == pytest.approx(expected)
    loss, result = lam.loss(frames)
    assert loss.item() == pytest.approx((lam._pixel_error(result.next_frames, frames) + result.quantized.loss).item())
    with pytest.raises(
        UserError, match="loss_margin = 7: leaves nothing of frames of 14 pixels; set it to less than 7"
    ):
        busy(dataclasses.replace(PAIRS, loss_margin=7))
    busy(dataclasses.replace(PAIRS, loss_margin=6))


@pytest.mark.parametrize("changes", [{"motion_weight": 2.0}, {"loss_margin": 1}])
def test_a_lam_that_reads_tokens_has_no_pixels_to_weigh(changes):
    with pytest.raises(UserError, match="set motion_weight = 1 and loss_margin = 0"):
        dataclasses.replace(TOKENS, **changes)
