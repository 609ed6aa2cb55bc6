import pytest
import torch

from pipeline.config.evaluation import SamplingConfig

CONTEXT = 4


@pytest.fixture(scope="module")
def world(make_world):
    return make_world()


def sampling(steps, temperature):
    return SamplingConfig(maskgit_steps=steps, token_temperature=temperature)


def video(frames):
    return torch.randint(0, 255, (2, frames, 9, 14, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 11])
def test_videos_of_any_length_are_encoded_and_decoded(world, frames):
    tokens = world.encode(video(frames))
    assert tokens.shape == (2, frames, 6)
    assert tokens.dtype == torch.int64
    pixels = world.decode(tokens)
    assert pixels.shape == (2, frames, 9, 14, 3)
    assert pixels.dtype == torch.uint8


def test_a_late_frame_is_seen_with_as_many_before_it_as_a_window_holds(world):
    frames = video(9)
    tokens = world.encode(frames)
    assert torch.equal(tokens[:, 7], world.encode(frames[:, 4:8])[:, -1])
    assert torch.equal(tokens[:, :4], world.encode(frames[:, :4]))
    pixels = world.decode(tokens)
    assert torch.equal(pixels[:, 7], world.decode(tokens[:, 4:8])[:, -1])


@pytest.mark.parametrize("pooling", ["mean", "antisymmetric"])
@pytest.mark.parametrize("frames", [2, 4, 5, 11])
def test_every_transition_gets_its_action(make_world, pooling, frames):
    world = make_world(pooling=pooling)
    clip = video(frames)
    actions = world.infer_actions(clip)
    assert actions.shape == (2, frames - 1)
    window = clip[:, max(0, frames - (2 if pooling == "antisymmetric" else CONTEXT)) :]
    assert torch.equal(actions[:, -1], world.infer_actions(window)[:, -1])


def test_generation_keeps_the_prompt_and_adds_a_frame_an_action(world):
    prompt = world.encode(video(2))
    tokens = world.generate(prompt, torch.zeros(2, 6, dtype=torch.int64), sampling=sampling(2, 0))
    assert tokens.shape == (2, 7, 6)
    assert torch.equal(tokens[:, :2], prompt)
    assert int(tokens.max()) < 20


def test_an_action_changes_its_frame_and_nothing_before_it(world):
    prompt, actions = world.encode(video(1)), torch.zeros(2, 7, dtype=torch.int64)
    other = actions.clone()
    other[:, 3] = 2
    before, after = (world.generate(prompt, codes, sampling=sampling(1, 0)) for codes in (actions, other))
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


def test_only_the_last_frames_of_the_context_matter(world):
    tokens = world.encode(video(8))
    forgotten = tokens.clone()
    forgotten[:, :5] = 0
    actions = torch.ones(2, 8, dtype=torch.int64)
    first, again = (world.generate(t, actions, sampling=sampling(1, 0))[:, -1] for t in (tokens, forgotten))
    assert torch.equal(first, again)


def test_the_same_noise_gives_the_same_frames(world):
    prompt, actions = world.encode(video(1)), torch.zeros(2, 3, dtype=torch.int64)

    def play(seed):
        noise = torch.Generator().manual_seed(seed)
        return world.generate(prompt, actions, sampling=sampling(3, 2.0), generator=noise)

    assert torch.equal(play(1), play(1))
    assert not torch.equal(play(1), play(2))


def test_wrong_actions_are_named(world):
    prompt = world.encode(video(2))
    with pytest.raises(ValueError, match=r"must lie in 0\.\.2"):
        world.generate(prompt, torch.full((2, 2), 3), sampling=sampling(1, 0))
    with pytest.raises(ValueError, match="1 latent actions lead to no new frame after a prompt of 2"):
        world.generate(prompt, torch.zeros(2, 1, dtype=torch.int64), sampling=sampling(1, 0))
