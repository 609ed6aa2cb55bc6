"""A world whose rules are known: a picture on a ring that scrolls, in two themes."""

import numpy as np
import pytest
import torch

from models.evaluation.held_out import HeldOutClip
from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute
from models.world.signals import FEATURES
from models.world.world import WorldModel
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from tests.networks import randomize

RING, HEIGHT, WIDTH, STEP = 64, 20, 30, 4
LEFT, RIGHT = 1, 2  # indices into the arcade's actions


def _pictures():
    rng = np.random.default_rng(5)
    rings = [np.kron(rng.integers(0, 200, (HEIGHT // 2, RING // 2, 3)), np.ones((2, 2, 1))) for _ in range(2)]
    columns = (np.arange(RING)[:, None] + np.arange(WIDTH)) % RING
    # (theme * RING + offset) -> frame
    return np.concatenate([ring[:, columns].transpose(1, 0, 2, 3) for ring in rings]).astype(np.uint8)


class RingWorld:
    """One token a frame: theme and offset. Codes 0 stand, 1 left, 2 right; or, for `scene`, the theme's name."""

    model_id = "ring"
    num_actions = 4
    context = 9
    decoder_window = 9

    def __init__(self, names_scene=False):
        self.names_scene = names_scene
        self.pictures = torch.from_numpy(_pictures())
        self.calls = []

    def encode(self, video):
        distance = torch.cdist(video.reshape(-1, HEIGHT * WIDTH * 3).float(), self.pictures.flatten(1).float())
        return distance.argmin(1).reshape(*video.shape[:2], 1)

    def decode(self, tokens):
        return self.pictures[tokens[..., 0]]

    def infer_actions(self, video):
        tokens = self.encode(video)[..., 0]
        if self.names_scene:
            return tokens[:, 1:] // RING
        moved = (tokens[:, 1:] - tokens[:, :-1]) % RING
        return torch.where(moved == 0, 0, torch.where(moved > RING // 2, LEFT, RIGHT))

    def generate(self, prompt, latent_actions, *, sampling, generator):
        self.calls.append((sampling.maskgit_steps, sampling.token_temperature, generator.initial_seed()))
        tokens = prompt
        for step in range(prompt.shape[1] - 1, latent_actions.shape[1]):
            theme, offset = tokens[:, -1:] // RING, tokens[:, -1:] % RING
            action = latent_actions[:, step, None, None]
            if self.names_scene:
                theme = action % 2
            else:
                offset = (offset + torch.where(action == LEFT, -STEP, torch.where(action == RIGHT, STEP, 0))) % RING
            tokens = torch.cat([tokens, theme * RING + offset], 1)
        return tokens

    def play(self, prompt, latent_actions, *, sampling, generator):
        tokens = self.generate(prompt, latent_actions, sampling=sampling, generator=generator)
        return self.decode(tokens[:, prompt.shape[1] :])

    def watch(self, prompt, latent_actions, *, sampling, generator):
        frames = self.play(prompt, latent_actions, sampling=sampling, generator=generator)
        return frames, torch.zeros(*frames.shape[:2], len(FEATURES), dtype=torch.float64)

    def begin(self, prompt, latent_actions, *, sampling):
        return RingRollout(self, prompt, sampling)


class RingRollout:
    def __init__(self, world, tokens, sampling):
        self.world, self.tokens, self.sampling = world, tokens, sampling

    def step(self, actions, generator):
        last = self.tokens[:, -1:]
        self.tokens = self.world.generate(last, actions[:, None], sampling=self.sampling, generator=generator)
        return self.tokens[:, -1]

    def pixels(self):
        return self.world.decode(self.tokens)[:, -1]


def ring_clip(source, clip, num_frames=41):
    """A clip that runs left and right at random; the theme is the source's parity."""
    rng = np.random.default_rng((source, clip))
    actions = rng.choice([0, LEFT, RIGHT], num_frames - 1)
    steps = np.where(actions == LEFT, -STEP, np.where(actions == RIGHT, STEP, 0))
    offsets = (rng.integers(0, RING) + np.concatenate([[0], np.cumsum(steps)])) % RING
    frames = _pictures()[source % 2 * RING + offsets]
    return HeldOutClip(f"v{source}-{clip}", f"v{source}", clip * 16000, frames, actions)


def _make_world(*, pooling="antisymmetric", context=4, window=4, stack=None, dtype=torch.float32, **dynamics):
    """A world of random networks that look at everything they may: 9 x 14 pixels, 6 tokens, 3 actions."""
    torch.manual_seed(0)
    stack = stack or StackConfig(layers=1, d_model=16, heads=2, head_dim=8)
    lam_stack = StackConfig(
        layers=1, d_model=16, heads=2, head_dim=8, temporal_attention=pooling != "antisymmetric"
    )  # fmt: skip
    tokenizer = VideoTokenizer(
        TokenizerConfig(patch=5, codebook_size=20, latent_dim=4, encoder=stack, decoder=stack, window=window), 9, 14
    )
    lam = LatentActionModel(
        LatentActionConfig(
            patch=5, num_actions=3, latent_dim=4, encoder=lam_stack, decoder=lam_stack, pooling=pooling
        ),
        9, 14, context=context,
    )  # fmt: skip
    made = Dynamics(
        DynamicsConfig(stack=stack, context=context, **dynamics), num_codes=20, grid=tokenizer.grid, action_dim=4
    )
    for network in (tokenizer, lam, made):
        randomize(network, std=0.5, also=("embed",))
        network.to(dtype)
    return WorldModel(tokenizer, lam, made, compute=Compute(torch.device("cpu"), torch.float32, "test"))


@pytest.fixture(scope="session")
def make_world():
    return _make_world


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small run ten times slower on two busy cores than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_ring_world():
    return RingWorld


@pytest.fixture
def ring_world():
    return RingWorld()


@pytest.fixture
def scene_world():
    return RingWorld(names_scene=True)


@pytest.fixture(scope="session")
def ring_clips():
    return [ring_clip(source, 0) for source in range(9)]


@pytest.fixture(scope="session")
def ring_lessons():
    """Clips of other sources, with both themes at every offset: from fewer, a network guesses at the rest."""
    return [ring_clip(source, 1) for source in range(9, 41)]
