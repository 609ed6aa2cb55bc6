import dataclasses

import pytest
import torch

from models.networks.dynamics import (
    Dynamics,
    change_weights,
    draw_mask,
    draw_noise,
    initialize_from_codebook,
    loss_rows,
    self_predicted_tokens,
)
from models.networks.frame_cache import FrameCache
from models.networks.logits import likeliest
from models.networks.quantizer import PARKED
from pipeline.config.world import DynamicsConfig, StackConfig
from pipeline.errors import UserError
from tests.networks import randomize

STACK = StackConfig(layers=2, d_model=16, heads=2, head_dim=8, qk_norm=True, depthwise_conv="causal")
TINY = DynamicsConfig(stack=STACK, context=4)
CODES = 10


def busy(config=TINY):
    torch.manual_seed(0)
    made = Dynamics(config, num_codes=CODES, grid=(2, 3), action_dim=4)
    randomize(made, std=0.3)
    return made.eval()


def window():
    torch.manual_seed(1)
    return torch.randint(0, CODES, (2, 4, 6)), torch.randn(2, 3, 4)


PLAIN = dataclasses.replace(STACK, depthwise_conv="none")
INJECTIONS = {
    "add": TINY,
    "prepend": DynamicsConfig(stack=PLAIN, context=4, action_injection="prepend"),
    "film": dataclasses.replace(TINY, action_injection="film"),
}
injections = pytest.mark.parametrize("config", INJECTIONS.values(), ids=INJECTIONS)


def led(config):
    """A dynamics whose actions matter, in whatever way they come in."""
    made = busy(config)
    torch.nn.init.normal_(made.embed_action.weight, std=0.5)
    return made


@injections
def test_an_action_changes_the_frame_it_leads_to_and_none_before(config):
    made, (tokens, actions) = led(config), window()
    other = actions.clone()
    other[:, 1] += 1  # a_2: from frame 2 to frame 3
    with torch.inference_mode():
        before, after = made(tokens, actions), made(tokens, other)
    assert before.shape == (2, 4, 6, CODES)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])


@injections
def test_the_dynamics_learns_to_read_actions_and_no_gradient_of_it_reaches_them(config):
    made, (tokens, actions) = busy(config), window()
    actions.requires_grad_()
    mask = torch.ones_like(tokens, dtype=torch.bool)
    loss = made.loss(tokens, actions, mask)
    loss.backward()
    assert actions.grad is None
    assert float(made.embed_action.weight.grad.abs().min(1).values.max()) > 0


@injections
def test_a_frame_alone_after_kept_frames_is_the_frame_of_the_whole_window_however_actions_come_in(config):
    made, (tokens, actions) = led(config).double(), window()
    actions = actions.double()
    cache = FrameCache(4)
    parts = [made.hidden(tokens[:, :2], actions[:, :1], cache, keep=True)]
    parts += [made.hidden(tokens[:, t : t + 1], actions[:, t - 1 : t], cache, keep=True) for t in (2, 3)]
    assert torch.cat(parts, 1).shape == (2, 4, 6, STACK.d_model)
    torch.testing.assert_close(torch.cat(parts, 1), made.hidden(tokens, actions), rtol=0, atol=1e-12)


def test_an_action_that_scales_and_shifts_scales_nothing_at_the_start():
    made, (tokens, actions) = busy(INJECTIONS["film"]), window()
    embedded, shifts = made.embed(tokens), made.embed_action(actions)[..., made.config.stack.d_model :]
    moved = made.conditioned(embedded, made.embedded_actions(actions, first=True))
    torch.testing.assert_close(moved[:, 1:], embedded[:, 1:] + shifts[:, :, None])
    assert bool(shifts.any())
    torch.nn.init.ones_(made.embed_action.bias)
    moved = made.conditioned(made.embed(tokens), made.embedded_actions(torch.zeros_like(actions), first=True))
    embedded = made.embed(tokens)
    assert torch.equal(moved[:, 0], embedded[:, 0]), "no action leads to frame 1"
    torch.testing.assert_close(moved[:, 1:], 2 * embedded[:, 1:] + 1)


def test_the_first_frame_has_a_learned_token_where_others_have_their_action():
    made, (tokens, actions) = led(INJECTIONS["prepend"]), window()
    before = made(tokens, actions)
    with torch.no_grad():
        made.no_action += 1
    after = made(tokens, actions)
    assert before.shape == (2, 4, 6, CODES), "nothing is predicted for the action's place"
    assert not torch.equal(before[:, 0], after[:, 0])
    # its place has a position of its own
    assert made.transformer.positions.shape == (7, STACK.d_model)


def test_an_action_in_front_of_the_frame_refuses_a_convolution_over_it():
    with pytest.raises(UserError, match=r"stack\.depthwise_conv = 'none'"):
        DynamicsConfig(stack=STACK, action_injection="prepend")


def test_other_ways_for_actions_draw_no_other_weights_for_the_default():
    weights = {name: busy(config).state_dict() for name, config in INJECTIONS.items()}
    assert set(weights["prepend"]) - set(weights["add"]) == {"no_action"}
    assert set(weights["film"]) == set(weights["add"])
    assert "no_action" not in weights["add"]


def test_noise_replaces_visible_tokens_alone_and_asks_for_nothing_more():
    config = dataclasses.replace(TINY, token_noise=0.4)
    tokens = torch.randint(0, CODES, (500, 4, 30), generator=torch.Generator().manual_seed(1))
    mask = draw_mask(TINY, tuple(tokens.shape), torch.Generator().manual_seed(2))
    seen = draw_noise(config, tokens, mask, CODES, torch.Generator().manual_seed(3))
    assert torch.equal(seen[mask], tokens[mask])
    assert int(seen.min()) >= 0
    assert int(seen.max()) < CODES, "never the mask"
    # a tenth of the random codes is the true one by chance
    shares = ((seen != tokens) & ~mask).sum((1, 2)) / (~mask).sum((1, 2)) / (1 - 1 / CODES)
    assert float(shares.mean()) == pytest.approx(0.2, abs=0.02), "rates are even between 0 and 0.4"
    assert float(shares.std()) == pytest.approx(0.4 / 12**0.5, abs=0.04), "each sample has its own"
    assert bool((seen[:, 0] != tokens[:, 0]).any()), "frame 1 too"
    without = draw_noise(TINY, tokens, mask, CODES, torch.Generator().manual_seed(3))
    assert torch.equal(without, tokens)


def test_tokens_that_noise_replaced_are_read_but_the_true_ones_are_asked_for():
    made, (tokens, actions) = busy(), window()
    config = dataclasses.replace(TINY, token_noise=1.0)
    mask = draw_mask(TINY, tuple(tokens.shape), torch.Generator().manual_seed(0))
    seen = draw_noise(config, tokens, mask, CODES, torch.Generator().manual_seed(1))
    assert not torch.equal(seen, tokens)
    torch.testing.assert_close(made.loss(tokens, actions, mask, seen), by_definition(made, tokens, actions, mask, seen))


def by_definition(made, tokens, actions, mask, seen):
    """The mean over masked places of the negative log-probability of the true token."""
    logits = made(seen.masked_fill(mask, made.mask_id), actions)
    return -logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0][mask].mean()


def test_loss_and_gradients_are_those_of_the_true_tokens_at_the_masked_places():
    made, (tokens, actions) = busy(), window()
    mask = draw_mask(TINY, tuple(tokens.shape), torch.Generator().manual_seed(0))
    losses = made.loss(tokens, actions, mask), by_definition(made, tokens, actions, mask, tokens)
    torch.testing.assert_close(*losses)
    found, expected = (torch.autograd.grad(loss, list(made.parameters())) for loss in losses)
    for ours, its in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, its)


def test_masked_tokens_are_hidden_from_the_network():
    made, (tokens, actions) = busy(), window()
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, -1] = True
    other = torch.where(mask, (tokens + 1) % CODES, tokens)
    assert torch.equal(
        made.hidden(tokens.masked_fill(mask, made.mask_id), actions),
        made.hidden(other.masked_fill(mask, made.mask_id), actions),
    )


def test_the_first_frame_is_never_masked_and_rates_lie_above_a_half():
    mask = draw_mask(TINY, (400, 4, 150), torch.Generator().manual_seed(0))
    assert not mask[:, 0].any()
    rates = mask[:, 1:].float().mean((1, 2))
    assert 0.45 < float(rates.min()) < 0.55
    assert float(rates.max()) > 0.95
    assert float(rates.mean()) == pytest.approx(0.75, abs=0.02)


def test_shares_of_samples_are_masked_wholly_or_after_a_clean_prefix():
    config = dataclasses.replace(TINY, full_mask_share=0.3, clean_prefix_share=0.5)
    mask = draw_mask(config, (2000, 4, 60), torch.Generator().manual_seed(0))
    last = mask[:, -1].float().mean(1)
    assert float((last == 1).float().mean()) == pytest.approx(0.3, abs=0.04)
    whole = ~mask.any(2)
    # prefixes of 1, 2 and 3 frames, a third each of the half that has one
    assert float(whole[:, 1].float().mean()) == pytest.approx(1 / 3, abs=0.04)
    assert float(whole[:, 2].float().mean()) == pytest.approx(1 / 6, abs=0.04)
    assert mask[:, -1].any(1).all(), "the last frame always has something to learn from"


def test_masks_are_the_same_for_the_same_seed():
    first, again = (draw_mask(TINY, (3, 4, 6), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)


def test_embeddings_start_at_the_codes_without_the_parked_ones():
    made = busy()
    codebook = torch.randn(CODES, 3)
    codebook[7:] = PARKED
    initialize_from_codebook(made, codebook)
    torch.testing.assert_close(made.embed.weight[:7, :3], codebook[:7])
    assert made.embed.weight[7:, :3].abs().max() == 0, "parked codes and the mask"


def test_the_last_visible_frame_may_be_the_networks_own_guess():
    made, (tokens, actions) = busy(), window()
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[0, 3] = True  # three visible frames
    mask[1, 1:, :4] = True  # one: frame 1 stays true
    seen = self_predicted_tokens(made, tokens, actions, mask)
    assert torch.equal(seen[1], tokens[1])
    assert torch.equal(seen[0, [0, 1, 3]], tokens[0, [0, 1, 3]])
    hidden = tokens[:1].clone()
    hidden[0, 2] = made.mask_id
    assert torch.equal(seen[0, 2], made(hidden, actions[:1])[0, 2].argmax(-1))
    torch.testing.assert_close(made.loss(tokens, actions, mask, seen), by_definition(made, tokens, actions, mask, seen))


def test_a_token_that_changes_may_weigh_more_in_the_loss():
    made, (tokens, actions) = busy(), window()
    tokens[:, 2] = tokens[:, 1]
    tokens[0, 2, 0] = (tokens[0, 1, 0] + 1) % CODES
    weights = change_weights(dataclasses.replace(TINY, changed_weight=3.0), tokens)
    assert weights[:, 0].unique().tolist() == [1.0], "the first frame has none before it"
    assert weights[0, 2].tolist() == [3.0] + [1.0] * 5
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[0, 2] = True

    def loss(mask, weights=None):
        return made.loss(tokens, actions, mask, None, weights).item()

    odds = made(tokens.masked_fill(mask, made.mask_id), actions).log_softmax(-1)
    losses = -odds.gather(-1, tokens[..., None])[0, 2, :, 0]
    assert loss(mask, weights) == pytest.approx(((3 * losses[0] + losses[1:].sum()) / 8).item())
    assert loss(mask, torch.ones_like(weights)) == pytest.approx(loss(mask))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_batch_has_the_loss_and_gradients_of_a_small_one_with_few_logits_at_a_time(monkeypatch, weighted):
    made, (tokens, actions) = busy(), window()
    mask = torch.arange(48).view(2, 4, 6) % 3 > 0
    weights = torch.rand(2, 4, 6) if weighted else None
    sizes, head = [], made.head.forward
    monkeypatch.setattr(made.head, "forward", lambda x: sizes.append(len(x)) or head(x))

    def loss_and_gradients():
        loss = made.loss(tokens, actions, mask, None, weights)
        return loss, *torch.autograd.grad(loss, list(made.parameters()))

    whole = loss_and_gradients()
    assert sizes == [36]
    monkeypatch.setattr("models.networks.logits.LOGITS_AT_ONCE", 5 * CODES)
    parts = loss_and_gradients()
    # masked positions fill up whole parts, each of which is computed once more in the backward pass
    assert int(mask.sum()) == 32
    assert sizes[1:] == [5] * 14
    torch.testing.assert_close(parts, whole)
    whole_guess = made(tokens, actions).argmax(-1)
    assert torch.equal(likeliest(made.head, made.hidden(tokens, actions), CODES), whole_guess)
    assert max(sizes[-10:]) == 5


def test_logits_are_computed_where_tokens_are_masked_in_products_of_few_sizes(monkeypatch):
    made, (tokens, actions) = busy(), window()
    sizes, head = [], made.head.forward
    monkeypatch.setattr(made.head, "forward", lambda x: sizes.append(len(x)) or head(x))
    for masked in (1, 5, 6, 7, 24, 47, 48):
        mask = torch.arange(48).view(2, 4, 6) < masked
        rows = loss_rows(mask.flip(0), CODES)
        assert bool(mask.flip(0).flatten()[rows[:masked]].all()), "the masked ones first"
        assert len(rows.unique()) == len(rows)
        found = made.loss(tokens, actions, mask)
        torch.testing.assert_close(found, by_definition(made, tokens, actions, mask, tokens))
    assert sizes[::2] == [6, 6, 6, 12, 24, 48, 48], "the others are of the definition"
    assert len(loss_rows(torch.zeros(2, 4, 6, dtype=torch.bool), CODES)) == 6
