"""A game of 10,000 frames takes no more memory than one of 3,000."""

import gc

import psutil
import pytest
import torch

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.play.game import Game
from models.play.tree import Node
from models.runtime.compute import Compute
from models.world.world import WorldModel
from pipeline.config import PlayConfig
from tests.tiny_world import CONFIG

MB = 1 << 20


def _tiny_world():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(CONFIG.tokenizer, 20, 30)
    codes = CONFIG.tokenizer.codebook_size
    lam = LatentActionModel(
        CONFIG.latent_actions, 20, 30, CONFIG.dynamics.context, num_codes=codes, grid=tokenizer.grid
    )
    dynamics = Dynamics(
        CONFIG.dynamics, num_codes=codes, grid=tokenizer.grid, action_dim=CONFIG.latent_actions.latent_dim
    )
    return WorldModel(tokenizer, lam, dynamics, compute=Compute(torch.device("cpu"), torch.float32, "test"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_is_flat_over_ten_thousand_frames_with_branches() -> None:
    torch.set_num_threads(1)
    world = _tiny_world()
    config = PlayConfig(maskgit_steps=1, token_temperature=1.0, past_window="ring", history=2000)
    tokens = world.encode(torch.zeros(1, 1, 20, 30, 3, dtype=torch.uint8))[0]
    game = Game(world, "held_out:0", tokens, config, seed=0, history=config.history)
    held = {}
    frames = 10_000
    for frame in range(1, frames + 1):
        game.step(frame % world.num_actions)
        if frame % 100 == 0:
            game.go(max(node.node for node in game.tree) - 40)
        if frame in (3000, frames):
            gc.collect()
            nodes = sum(type(one) is Node for one in gc.get_objects())
            held[frame] = (nodes, psutil.Process().memory_info().rss)
    assert game.tree.node(0).t == 0
    assert len(game.tree) == config.history + 1
    assert held[3000][0] == held[frames][0], "no frame that was dropped is held elsewhere"
    grown = held[frames][1] - held[3000][1]
    assert grown < 8 * MB, f"{grown / MB:.1f} MB more after {frames} frames than after 3000"
