import pytest
import torch

from models.dynamics import Dynamics
from models.sampling import keep_counts, sample_frame
from models.transformer import FrameCache
from pipeline.config.world import DynamicsConfig, SamplingConfig, StackConfig

CODES = 10


@pytest.fixture(scope="module")
def dynamics():
    torch.manual_seed(0)
    stack = StackConfig(layers=2, d_model=16, heads=2, head_dim=8)
    made = Dynamics(DynamicsConfig(stack=stack, context=4), num_codes=CODES, grid=(3, 4), action_dim=4)
    for name, parameter in made.named_parameters():
        if "out.weight" in name or "ffw.2" in name or "embed" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return made.eval()


@pytest.fixture
def window():
    torch.manual_seed(1)
    return torch.randint(0, CODES, (2, 4, 12)), torch.randn(2, 3, 4)


def how(steps, temperature):
    return SamplingConfig(maskgit_steps=steps, token_temperature=temperature)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_schedule_keeps_more_each_step_and_all_in_the_end():
    counts = keep_counts(144, 25)
    assert len(counts) == 25
    assert counts == sorted(counts)
    assert counts[-1] == 144
    assert counts[0] <= 1
    assert keep_counts(144, 1) == [144]


def test_one_step_is_the_training_forward(dynamics, window):
    tokens, actions = window
    masked = tokens.clone()
    masked[:, -1] = dynamics.mask_id
    expected = dynamics(masked, actions)[:, -1].argmax(-1)
    assert torch.equal(sample_frame(dynamics, tokens, actions, sampling=how(1, 0)), expected)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_given_tokens_come_back_unchanged(dynamics, window, steps):
    tokens, actions = window
    known = torch.ones(2, 12, dtype=torch.bool)
    known[:, [2, 7, 9]] = False
    drawn = sample_frame(
        dynamics, tokens, actions, sampling=how(steps, 1), known_BP=known,
        generator=noise(),
    )  # fmt: skip
    assert torch.equal(drawn[known], tokens[:, -1][known])


@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_the_mask_is_never_written(dynamics, window, steps):
    tokens, actions = window
    drawn = sample_frame(dynamics, tokens, actions, sampling=how(steps, 2), generator=noise())
    assert drawn.shape == (2, 12)
    assert int(drawn.max()) < dynamics.mask_id


def test_the_last_frame_given_does_not_matter_unless_known(dynamics, window):
    tokens, actions = window
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 3) % CODES
    first, again = (sample_frame(dynamics, t, actions, sampling=how(3, 0)) for t in (tokens, other))
    assert torch.equal(first, again)


def test_as_many_steps_as_asked_are_run(dynamics, window):
    passes = []
    handle = dynamics.head.register_forward_hook(lambda *_: passes.append(1))
    sample_frame(dynamics, *window, sampling=how(7, 0))
    handle.remove()
    assert len(passes) == 7


def test_temperature_spreads_the_draws_and_zero_is_greedy(dynamics, window):
    tokens, actions = window

    def draws(temperature):
        return torch.stack(
            [
                sample_frame(dynamics, tokens, actions, sampling=how(1, temperature), generator=noise(seed))
                for seed in range(30)
            ]
        )

    greedy, cold, hot = draws(0), draws(0.5), draws(5)
    assert (greedy == greedy[0]).all()
    agree_cold, agree_hot = ((d == greedy[0]).float().mean() for d in (cold, hot))
    assert agree_cold > agree_hot + 0.1
    assert float(agree_hot) < 0.6


def test_the_same_seed_draws_the_same_frame(dynamics, window):
    first, again, other = (
        sample_frame(
            dynamics, *window, sampling=how(4, 1), generator=noise(seed)
        )
        for seed in (3, 3, 4)
    )  # fmt: skip
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# -- frames that are computed once ----------------------------------------------------------------------------------

STACKS = {
    "rotary": {},
    "lag bias": {"temporal_positions": "lag_bias"},
    "several heads of keys": {"kv_heads": 2, "qk_norm": True},
    "a convolution over two frames": {"depthwise_conv": "causal"},
    "a convolution over one": {"depthwise_conv": "frame"},
    "no look back": {"temporal_attention": False, "depthwise_conv": "causal"},
}


def random_dynamics(dtype=torch.float32, context=5, **stack):
    torch.manual_seed(0)
    config = StackConfig(**{"layers": 2, "d_model": 32, "heads": 4, "head_dim": 8, **stack})
    made = Dynamics(DynamicsConfig(stack=config, context=context), num_codes=CODES, grid=(3, 4), action_dim=4)
    for name, parameter in made.named_parameters():
        if "out.weight" in name or "ffw.2" in name or "embed" in name or "lag_bias" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return made.to(dtype).eval()


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_a_frame_alone_after_kept_frames_is_the_frame_of_the_whole_window(stack):
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        dynamics = random_dynamics(dtype, **stack)
        tokens, actions = torch.randint(0, CODES, (2, 5, 12)), torch.randn(2, 4, 4, dtype=dtype)
        whole = dynamics(tokens, actions)
        cache = FrameCache()
        parts = [dynamics.hidden(tokens[:, :2], actions[:, :1], cache, keep=True)]
        # a guess that is not kept leaves no trace
        dynamics.hidden(tokens[:, :1], actions[:, 1:2], cache)
        parts += [dynamics.hidden(tokens[:, t : t + 1], actions[:, t - 1 : t], cache, keep=True) for t in (2, 3, 4)]
        assert cache.length == 5
        assert (dynamics.head(torch.cat(parts, 1)) - whole).abs().max() <= bound


def test_in_bf16_the_logits_stay_within_a_stated_bound():
    dynamics = random_dynamics(qk_norm=True)
    tokens, actions = torch.randint(0, CODES, (2, 5, 12)), torch.randn(2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        whole = dynamics(tokens, actions)[:, -1].float()
        cache = FrameCache()
        dynamics.hidden(tokens[:, :4], actions[:, :3], cache, keep=True)
        alone = dynamics.head(dynamics.hidden(tokens[:, 4:], actions[:, 3:], cache))[:, -1].float()
    assert (whole - alone).abs().max() <= 5e-2


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_frames_drawn_with_a_cache_are_those_of_the_full_recompute(stack):
    dynamics = random_dynamics(torch.float64, **stack)
    tokens, actions = torch.randint(0, CODES, (3, 5, 12)), torch.randn(3, 4, 4, dtype=torch.float64)
    sampling = how(6, 1)
    expected = sample_frame(dynamics, tokens, actions, sampling=sampling, generator=noise(7), recompute=True)
    assert torch.equal(sample_frame(dynamics, tokens, actions, sampling=sampling, generator=noise(7)), expected)
    # and with one that grew frame by frame
    cache = FrameCache()
    for frames in (2, 3, 4, 5):
        window, its_actions = tokens[:, :frames], actions[:, : frames - 1]
        drawn = sample_frame(dynamics, window, its_actions, sampling=sampling, generator=noise(7), cache=cache)
        assert cache.length == frames - 1
    assert torch.equal(drawn, expected)


def test_each_step_computes_one_frame(monkeypatch):
    dynamics = random_dynamics()
    computed = []
    hidden = dynamics.hidden
    monkeypatch.setattr(
        dynamics, "hidden", lambda new, *rest, **how: computed.append(new.shape[1]) or hidden(new, *rest, **how)
    )
    sample_frame(dynamics, torch.zeros(1, 5, 12, dtype=torch.int64), torch.zeros(1, 4, 4), sampling=how(6, 0))
    assert computed == [4, 1, 1, 1, 1, 1, 1]
