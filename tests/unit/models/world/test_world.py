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


def as_float(frames):
    return video(frames).float() / 255


WRONG = {
    "one frame": (lambda: video(2)[0, 0], r"not a tensor of 3 dimensions \(9, 14, 3\)"),
    "no batch": (lambda: video(2)[0], r"not a tensor of 4 dimensions"),
    "no frames": (lambda: video(2)[:, :0], "of at least one frame"),
    "no videos": (lambda: video(2)[:0], "of at least one frame"),
    "channels first": (lambda: video(2).permute(0, 1, 4, 2, 3), r"put the channels last, `video.permute"),
    "with alpha": (lambda: torch.cat([video(2), video(2)[..., :1]], -1), "not 4 channels"),
    "grey": (lambda: video(2)[..., :1], "not 1 channels"),
    "too wide": (lambda: torch.cat([video(2), video(2)], 3), "not frames of 28x9 pixels: resize them to 14x9"),
    "turned": (lambda: video(2).transpose(2, 3), "not frames of 9x14 pixels"),
    "int64": (lambda: video(2).long(), r"not as torch\.int64"),
    "bool": (lambda: video(2) > 9, r"not as torch\.bool"),
    "0 to 255": (lambda: video(2).float(), r"not with values from 0 to 254"),
    "-1 to 1": (lambda: as_float(2) * 2 - 1, r"not with values from -1 to 0\.99"),
    "nan": (lambda: torch.where(video(2) == 7, torch.nan, as_float(2)), "not with values that are not finite"),
    "inf": (lambda: torch.where(video(2) == 7, torch.inf, as_float(2)), "from 0 to inf"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_video_that_the_world_was_not_made_for_is_refused_with_what_it_takes(world, name):
    make, why = WRONG[name]
    for use in (world.encode, world.infer_actions):
        with pytest.raises(ValueError, match=rf"^this world takes videos \(B, T, 9, 14, 3\).*{why}"):
            use(make())


def test_channels_put_last_and_values_divided_as_the_error_says_are_taken(world):
    expected = world.encode(video(3))
    assert torch.equal(world.encode(video(3).permute(0, 1, 4, 2, 3).permute(0, 1, 3, 4, 2)), expected)
    assert torch.equal(world.encode(as_float(3)), expected)
    assert torch.equal(world.encode(as_float(3).double()), expected)


def test_one_frame_has_no_latent_action(world):
    with pytest.raises(ValueError, match="the video has only one frame"):
        world.infer_actions(video(1))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda tokens: tokens[0], r"not a tensor \(2, 6\)"),
        (lambda tokens: tokens[:, :, :5], r"not a tensor \(2, 2, 5\)"),
        (lambda tokens: tokens[:, :0], r"not a tensor \(2, 0, 6\)"),
        (lambda tokens: tokens.float(), r"not torch\.float32"),
        (lambda tokens: tokens.clamp(min=20), "not from 20 to 20"),
        (lambda tokens: tokens - 20, "not from -"),
    ],
)
def test_tokens_of_another_world_are_refused(world, make, why):
    tokens = make(world.encode(video(2)))
    for use in (world.decode, lambda prompt: world.begin(prompt, torch.zeros(2, 1).long(), sampling=sampling(1, 0))):
        with pytest.raises(ValueError, match=rf"^this world takes tokens \(B, T, 6\), int64, from 0 to 19, {why}"):
            use(tokens)
