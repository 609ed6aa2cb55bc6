import itertools
import math

import pytest
import torch

from models.networks.dynamics import Dynamics
from models.networks.frame_cache import FrameCache
from models.world.sampling import draw_tokens, halton_order, keep_counts, maskgit_step, sample_frame
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import DynamicsConfig, StackConfig
from tests.networks import randomize

CODES = 10


@pytest.fixture(scope="module")
def dynamics():
    torch.manual_seed(0)
    stack = StackConfig(layers=2, d_model=16, heads=2, head_dim=8)
    made = Dynamics(DynamicsConfig(stack=stack, context=4), num_codes=CODES, grid=(3, 4), action_dim=4)
    randomize(made, std=0.5, also=("embed",))
    return made.eval()


@pytest.fixture
def window():
    torch.manual_seed(1)
    return torch.randint(0, CODES, (2, 4, 12)), torch.randn(2, 3, 4)


ORDERS = ("confidence", "random", "halton")
orders = pytest.mark.parametrize("order", ORDERS)


def how(steps, temperature, **more):
    return SamplingConfig(maskgit_steps=steps, token_temperature=temperature, **more)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_schedule_keeps_more_each_step_and_all_in_the_end():
    counts = keep_counts(144, 25)
    assert len(counts) == 25
    assert counts == sorted(counts)
    assert counts[-1] == 144
    assert counts[0] <= 1
    assert keep_counts(144, 1) == [144]


def test_the_geometric_schedule_leaves_a_few_tokens_to_the_last_step():
    assert keep_counts(144, 4, "geometric") == [105, 133, 141, 144]
    assert keep_counts(144, 1, "geometric") == [144]
    assert keep_counts(920, 25, "geometric")[-2:] == [902, 920]


@orders
def test_one_step_is_the_training_forward(dynamics, window, order):
    tokens, actions = window
    masked = tokens.clone()
    masked[:, -1] = dynamics.mask_id
    expected = dynamics(masked, actions)[:, -1].argmax(-1)
    assert torch.equal(sample_frame(dynamics, tokens, actions, sampling=how(1, 0, unmask_order=order)), expected)


@orders
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_given_tokens_come_back_unchanged(dynamics, window, steps, order):
    tokens, actions = window
    known = torch.ones(2, 12, dtype=torch.bool)
    known[:, [2, 7, 9]] = False
    drawn = sample_frame(
        dynamics, tokens, actions, sampling=how(steps, 1, unmask_order=order), known_BP=known,
        generator=noise(),
    )  # fmt: skip
    assert torch.equal(drawn[known], tokens[:, -1][known])


@orders
@pytest.mark.parametrize("top_k", [0, 3])
@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_the_mask_is_never_written(dynamics, window, steps, top_k, order):
    tokens, actions = window
    drawn = sample_frame(
        dynamics, tokens, actions, sampling=how(steps, 2, top_k=top_k, unmask_order=order), generator=noise()
    )
    assert drawn.shape == (2, 12)
    assert int(drawn.max()) < dynamics.mask_id


def test_the_last_frame_given_does_not_matter_unless_known(dynamics, window):
    tokens, actions = window
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 3) % CODES
    first, again = (sample_frame(dynamics, t, actions, sampling=how(3, 0)) for t in (tokens, other))
    assert torch.equal(first, again)


@orders
def test_as_many_steps_as_asked_are_run(dynamics, window, order):
    passes = []
    handle = dynamics.head.register_forward_hook(lambda *_: passes.append(1))
    sample_frame(dynamics, *window, sampling=how(7, 0, unmask_order=order))
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


# -- the order in which tokens are fixed ----------------------------------------------------------------------------


def frames_of_each_step(order, steps=5, seed=0, known=None, grid=(4, 6), logits=None, temperature=1):
    """What the network is shown at each step, and the result, of a fake that answers every frame alike."""
    p = grid[0] * grid[1]
    logits = torch.randn(2, p, CODES, generator=noise(9)) if logits is None else logits
    shown = []

    def logits_of(frame):
        shown.append(frame)
        return logits

    known = torch.zeros(2, p, dtype=torch.bool) if known is None else known
    drawn = draw_tokens(
        logits_of, torch.full((2, p), 3), known, grid=grid, num_codes=CODES,
        sampling=how(steps, temperature, unmask_order=order), generator=noise(seed),
    )  # fmt: skip
    return [*shown, drawn]


@orders
def test_every_order_fixes_exactly_as_many_tokens_as_the_schedule_says(order):
    shown = frames_of_each_step(order)
    fixed = [(frame != CODES).sum(1).tolist() for frame in shown]
    shares = [1 - math.cos(math.pi / 2 * step / 5) for step in range(6)]
    assert fixed == [[math.ceil(24 * share - 1e-4)] * 2 for share in shares]
    for before, after in itertools.pairwise(shown):
        kept = before != CODES
        assert torch.equal(before[kept], after[kept]), "what is fixed stays"


@orders
def test_given_tokens_are_no_part_of_the_schedule(order):
    known = torch.zeros(2, 24, dtype=torch.bool)
    known[0, 5:15], known[1, 3] = True, True
    shown = frames_of_each_step(order, known=known)
    first = [(frame != CODES).sum(1).tolist() for frame in shown]
    assert first[0] == [10, 1]
    assert first[1] == [10 + 1, 1 + 2], "of 14 and of 23 unknown ones 4.9 %, rounded up"
    assert first[-1] == [24, 24]
    assert bool((shown[-1][known] == 3).all())


def test_the_surest_tokens_are_fixed_first_and_the_other_orders_do_not_look():
    logits = torch.zeros(2, 24, CODES)
    logits[:, :, 0] = torch.arange(24) * 0.4  # the later, the surer
    fixed = {}
    for order in ORDERS:
        frame = frames_of_each_step(order, logits=logits, temperature=0)[2]
        fixed[order] = (frame[0] != CODES).nonzero().flatten().tolist()
    assert fixed["confidence"] == [19, 20, 21, 22, 23]
    assert fixed["halton"] == sorted(halton_order(4, 6)[:5])
    assert len(fixed["random"]) == 5
    assert len(set(map(tuple, fixed.values()))) == 3


def test_the_halton_order_is_one_permutation_that_each_frame_follows():
    order = halton_order(4, 6)
    assert sorted(order) == list(range(24))
    assert halton_order(4, 6) == order
    # 1 is 1/2 and 1/3, 2 is 1/4 and 2/3, 3 is 3/4 and 1/9
    assert order[:3] == [2 * 6 + 2, 1 * 6 + 4, 3 * 6 + 0]
    for seed in (0, 1):
        for frame in frames_of_each_step("halton", seed=seed):
            for row in frame:
                fixed = set((row != CODES).nonzero().flatten().tolist())
                assert fixed == set(order[: len(fixed)])


@pytest.mark.parametrize("side", [8, 12, 16])
def test_the_halton_order_spreads_over_the_frame(side):
    first = halton_order(side, side)[: side * side // 4]
    corners = [(place // side >= side / 2, place % side >= side / 2) for place in first]
    for corner in set(corners):
        assert abs(corners.count(corner) - len(first) / 4) <= 1
    assert len(set(corners)) == 4


def test_a_random_order_is_another_one_for_each_seed_and_sample():
    first, again, other = (frames_of_each_step("random", seed=seed)[3] != CODES for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


# -- tokens ---------------------------------------------------------------------------------------------------------


def test_of_the_likeliest_one_is_greedy(dynamics, window):
    tokens, actions = window
    greedy = sample_frame(dynamics, tokens, actions, sampling=how(1, 0))
    one = sample_frame(dynamics, tokens, actions, sampling=how(1, 3, top_k=1), generator=noise())
    assert torch.equal(one, greedy)


def test_a_token_is_drawn_from_the_likeliest_and_each_of_them_comes(dynamics, window):
    tokens, actions = window
    masked = tokens.clone()
    masked[:, -1] = dynamics.mask_id
    likeliest = dynamics(masked, actions)[:, -1].topk(3).indices
    drawn = torch.stack([
        sample_frame(dynamics, tokens, actions, sampling=how(1, 5, top_k=3), generator=noise(seed))
        for seed in range(60)
    ])  # fmt: skip
    hits = drawn[..., None] == likeliest
    assert bool(hits.any(-1).all())
    assert bool(hits.any(0).all()), "hot enough, all three come"


def test_more_than_there_are_is_all(dynamics, window):
    drawn = [
        sample_frame(dynamics, *window, sampling=how(1, 1, top_k=top_k), generator=noise(seed))
        for top_k in (0, CODES, 10 * CODES) for seed in range(20)
    ]  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(drawn[20:40], drawn[40:], strict=True))
    assert len({tuple(d.flatten().tolist()) for d in drawn}) > 20


# -- one step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top_k", [0, 3])
@orders
def test_a_step_is_one_graph_without_a_break_and_takes_any_count(order, top_k):
    sampling = how(4, 1, unmask_order=order, top_k=top_k)
    compiled = torch.compile(maskgit_step, backend="eager", fullgraph=True)
    frame, fixed = torch.full((2, 12), CODES), torch.zeros(2, 12, dtype=torch.bool)
    for keep in (2, 7, 12):
        logits, priority = torch.randn(2, 12, CODES), torch.rand(2, 12)
        tensors = frame, fixed, logits, torch.tensor([keep, keep]), priority, torch.randn(2, 12, top_k or CODES)
        expected = maskgit_step(*tensors, mask_id=CODES, sampling=sampling)
        found = compiled(*tensors, mask_id=CODES, sampling=sampling)
        assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
        frame, fixed = found
        assert fixed.sum(1).tolist() == [keep, keep]
    assert int(frame.max()) < CODES


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
    randomize(made, std=0.3, also=("embed", "lag_bias"))
    return made.to(dtype).eval()


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_a_frame_alone_after_kept_frames_is_the_frame_of_the_whole_window(stack):
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        dynamics = random_dynamics(dtype, **stack)
        tokens, actions = torch.randint(0, CODES, (2, 5, 12)), torch.randn(2, 4, 4, dtype=dtype)
        whole = dynamics(tokens, actions)
        cache = FrameCache(5)
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
        cache = FrameCache(5)
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
    cache = FrameCache(5)
    for frames in (2, 3, 4, 5):
        window = tokens[:, cache.length : frames]
        its_actions = actions[:, max(cache.length - 1, 0) : frames - 1]
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
