"""A world that goes on frame by frame draws what the whole window would give, at the cost of a frame."""

import pytest
import torch

from models.world.sampling import sample_frame
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import StackConfig

CONTEXT, WINDOW, FRAMES = 5, 3, 10
STACKS = {
    "rotary": StackConfig(layers=2, d_model=16, heads=2, head_dim=8),
    "lag bias and a convolution": StackConfig(
        layers=2, d_model=16, heads=2, head_dim=8, kv_heads=2, temporal_positions="lag_bias", depthwise_conv="causal"
    ),
}
stacks = pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)


def sampling(mode="prefill", steps=3, **more):
    return SamplingConfig(maskgit_steps=steps, token_temperature=1.0, past_window=mode, **more)


def noise(seed):
    return torch.Generator().manual_seed(seed)


def actions(count=FRAMES, seed=0, batch=2):
    return torch.randint(0, 3, (batch, count), generator=noise(seed))


@pytest.fixture(scope="module")
def world(make_world):
    return make_world(context=CONTEXT, window=WINDOW, stack=STACKS["rotary"], dtype=torch.float64)


def prompt(world, frames=1, seed=2):
    video = torch.randint(0, 255, (2, frames, 9, 14, 3), generator=noise(seed), dtype=torch.uint8)
    return world.encode(video.double() / 255)


def played(world, mode="prefill", frames=FRAMES, given=1, steps=3, seed=5):
    """Tokens and pixels of a session, frame by frame, each with noise of its own."""
    codes = actions(given - 1 + frames)
    session = world.begin(prompt(world, given), codes[:, : given - 1], sampling=sampling(mode, steps))
    tokens, pictures = [], []
    for t in range(frames):
        tokens.append(session.step(codes[:, given - 1 + t], noise(seed + t)))
        pictures.append(session.pixels())
    return torch.stack(tokens, 1), torch.stack(pictures, 1), session


@stacks
@pytest.mark.parametrize(("given", "steps"), [(1, 3), (3, 1), (9, 3)])
def test_each_frame_is_that_of_its_whole_window(make_world, stack, steps, given):
    world = make_world(context=CONTEXT, window=WINDOW, stack=stack, dtype=torch.float64)
    drawn, pictures, _ = played(world, given=given, steps=steps)
    tokens, rows = prompt(world, given), world.rows_of(actions(given - 1 + FRAMES))
    for t in range(FRAMES):
        # the window's oldest frame has no action, as in training
        start, end = max(0, given + t + 1 - CONTEXT), given + t
        window = torch.cat([tokens[:, start:], tokens[:, -1:]], 1)
        with torch.inference_mode():
            new = sample_frame(
                world.dynamics, window, rows[:, start:end], sampling=sampling(steps=steps), generator=noise(5 + t),
                recompute=True,
            )  # fmt: skip
        assert torch.equal(drawn[:, t], new), t
        tokens = torch.cat([tokens, new[:, None]], 1)
    assert torch.equal(pictures, world.decode(tokens)[:, given:])


def test_a_ring_is_the_same_until_the_window_is_full_and_drifts_afterwards(world):
    drawn, pictures, _ = played(world)
    ring, ring_pictures, _ = played(world, "ring")
    # frame 1 is given: so many more are drawn before the first of them leaves
    assert torch.equal(ring[:, : CONTEXT - 1], drawn[:, : CONTEXT - 1])
    assert not torch.equal(ring[:, CONTEXT - 1 :], drawn[:, CONTEXT - 1 :])
    assert torch.equal(ring_pictures[:, : WINDOW - 1], pictures[:, : WINDOW - 1])
    assert not torch.equal(ring_pictures[:, WINDOW - 1 : CONTEXT - 1], pictures[:, WINDOW - 1 : CONTEXT - 1])


@pytest.mark.parametrize("mode", ["prefill", "ring"])
def test_generation_and_play_are_a_session(world, mode):
    first, codes = prompt(world, 2), actions(7)
    one, two, three = noise(3), noise(3), noise(3)
    generated = world.generate(first, codes, sampling=sampling(mode), generator=one)
    session = world.begin(first, codes[:, :1], sampling=sampling(mode))
    pictures = []
    for t in range(1, 7):
        assert torch.equal(session.step(codes[:, t], two), generated[:, t + 1])
        pictures.append(session.pixels())
    shown = world.play(first, codes, sampling=sampling(mode), generator=three)
    assert torch.equal(shown, torch.stack(pictures, 1))


@pytest.mark.parametrize("mode", ["prefill", "ring"])
def test_frames_that_nobody_looked_at_change_no_later_picture(world, mode):
    _, pictures, _ = played(world, mode, frames=3)
    codes = actions(3)
    session = world.begin(prompt(world), codes[:, :0], sampling=sampling(mode))
    session.pixels()
    for t in range(3):
        session.step(codes[:, t], noise(5 + t))
    assert torch.equal(session.pixels(), pictures[:, -1])
    assert torch.equal(session.pixels(), pictures[:, -1]), "asked twice"


@pytest.mark.parametrize("mode", ["prefill", "ring"])
def test_a_frame_costs_its_steps_and_one_pass_to_keep_it(world, monkeypatch, mode):
    passes = []
    hidden, decode = world.dynamics.hidden, world.tokenizer.decode
    monkeypatch.setattr(
        world.dynamics, "hidden", lambda new, *rest, **how: passes.append(new.shape[1]) or hidden(new, *rest, **how)
    )
    monkeypatch.setattr(
        world.tokenizer, "decode", lambda new, *rest: passes.append(-new.shape[1]) or decode(new, *rest)
    )
    played(world, mode, frames=7, steps=2)
    # kept, drawn in two steps, decoded
    before, kept = [1, 1, 1, -2], [1, 1, 1, -1]
    anew = [1, 1, 1, -WINDOW]
    full = [CONTEXT - 1, 1, 1, -WINDOW]
    expected = {
        "ring": before + kept * 6,
        "prefill": before + kept + anew * 2 + full * 3,
    }
    assert passes == expected[mode]


@pytest.mark.parametrize("mode", ["prefill", "ring"])
@pytest.mark.parametrize("failing", [2, 8])
def test_a_step_that_failed_can_be_taken_again(world, monkeypatch, mode, failing):
    expected = played(world, mode)[0]
    codes, sample = actions(), world.dynamics.head.forward
    session = world.begin(prompt(world), codes[:, :0], sampling=sampling(mode))

    def fails(*args):
        raise MemoryError

    for t in range(FRAMES):
        if t == failing:
            monkeypatch.setattr(world.dynamics.head, "forward", fails)
            with pytest.raises(MemoryError):
                session.step(codes[:, t], noise(5 + t))
            monkeypatch.setattr(world.dynamics.head, "forward", sample)
        assert torch.equal(session.step(codes[:, t], noise(5 + t)), expected[:, t])


def _held(session):
    caches = [cache for cache in (session._past, session._decoder_past) if cache is not None]
    tensors = [
        tensor
        for cache in caches
        for block in cache.blocks
        for tensor in (block.keys, block.values, block.before_BPD)
        if tensor is not None
    ]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


@stacks
@pytest.mark.parametrize("injection", ["add", "prepend"])
def test_what_a_session_keeps_is_what_it_says_and_no_more(make_world, stack, injection):
    if injection == "prepend" and stack.depthwise_conv != "none":
        stack = StackConfig(layers=3, d_model=16, heads=2, head_dim=8)
    world = make_world(context=CONTEXT, window=WINDOW, stack=stack, action_injection=injection)
    frames = 2 * CONTEXT + 2
    codes = actions(frames, batch=1)
    for mode in ("prefill", "ring"):
        session = world.begin(torch.zeros(1, 1, 6, dtype=torch.int64), codes[:, :0], sampling=sampling(mode))
        for t in range(frames):
            session.step(codes[:, t], noise(t))
            session.pixels()
            assert _held(session) <= world.session_bytes
            if t == 1:
                assert _held(session) == world.session_bytes
            assert session.tokens_BTP.shape[1] <= CONTEXT
        assert session.length == frames + 1
        assert _held(session) == (0 if mode == "prefill" else world.session_bytes)


@pytest.mark.parametrize("frames", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_ring_goes_on_for_as_long_as_it_is_played_in_the_memory_of_a_window(make_world, frames):
    world = make_world(context=CONTEXT, window=WINDOW)
    session = world.begin(torch.zeros(1, 1, 6, dtype=torch.int64), actions(0, batch=1), sampling=sampling("ring", 1))
    codes, generator, seen = actions(frames, batch=1), noise(0), set()
    for t in range(frames):
        drawn = session.step(codes[:, t], generator)
        if t >= frames - 50:
            seen.add(tuple(drawn[0].tolist()))
    assert len(seen) > 10, "the world still moves"
    assert session.length == frames + 1
    for block in session._past.blocks:
        assert bool(torch.isfinite(block.keys).all())
        assert float(block.keys.norm(dim=-1).max()) < 100
    assert _held(session) <= world.session_bytes
    assert session.pixels().shape == (1, 9, 14, 3)


def test_a_session_refuses_actions_that_do_not_fit(world):
    with pytest.raises(ValueError, match="a prompt of 2 frames needs 1 latent actions between them, not 2"):
        world.begin(prompt(world, 2), actions(2), sampling=sampling())
    session = world.begin(prompt(world), actions(0), sampling=sampling())
    with pytest.raises(ValueError, match=r"must lie in 0\.\.2"):
        session.step(torch.tensor([0, 3]))
    assert session.length == 1
