import dataclasses

import pytest
import torch

from models.networks.frame_cache import FrameCache
from models.networks.transformer import STTransformer
from pipeline.config.world import StackConfig
from tests.networks import randomize

CONTEXT, GRID = 4, (2, 3)
BASE = StackConfig(layers=2, d_model=16, heads=4, head_dim=8, kv_heads=2, qk_norm=True)
STACKS = {
    "rotary": BASE,
    "lag bias": dataclasses.replace(BASE, temporal_positions="lag_bias"),
    "a look at the frame before": dataclasses.replace(BASE, depthwise_conv="causal"),
    "attention over space and time": dataclasses.replace(BASE, temporal_attention=False, spacetime_attention=True),
}
stacks = pytest.mark.parametrize("config", STACKS.values(), ids=STACKS)


def busy(config):
    """A network in fp64 whose parts all add something: fresh ones add zero."""
    torch.manual_seed(0)
    network = STTransformer(config, GRID, CONTEXT).double().eval()
    randomize(network, std=0.3, also=("lag_bias",))
    return network


def frames(count):
    torch.manual_seed(1)
    return torch.randn(2, count, 6, 16, dtype=torch.float64)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@stacks
def test_a_window_is_the_same_frame_by_frame(config):
    network, x = busy(config), frames(CONTEXT)
    cache = FrameCache(CONTEXT)
    parts = [network(x[:, t : t + 1], cache, keep=True) for t in range(CONTEXT)]
    torch.testing.assert_close(torch.cat(parts, 1), network(x), rtol=0, atol=1e-12)


def test_a_window_holds_no_more_than_its_context():
    network, x = busy(BASE), frames(CONTEXT + 1)
    cache = FrameCache(CONTEXT)
    network(x[:, :CONTEXT], cache, keep=True)
    assert cache.full
    with pytest.raises(ValueError, match="4 kept and 1 new frames exceed the context of 4"):
        network(x[:, CONTEXT:], cache)


def one_block(config):
    """With one block a frame knows of the others by their inputs alone: what left a ring leaves no trace."""
    return busy(dataclasses.replace(config, layers=1))


@stacks
def test_a_ring_of_one_block_shows_each_frame_the_ones_before_it(config):
    network, x = one_block(config), frames(3 * CONTEXT + 2)
    cache, parts = FrameCache(CONTEXT, ring=True), []
    for t in range(x.shape[1]):
        network(torch.randn_like(x[:, :1]), cache)  # a guess that is not kept leaves no trace
        parts.append(network(x[:, t : t + 1], cache, keep=True))
    for t, part in enumerate(parts):
        window = x[:, max(0, t + 1 - CONTEXT) : t + 1]
        alone = FrameCache(CONTEXT)
        if config.depthwise_conv == "causal" and t >= CONTEXT:
            continue  # its past knows of the frame before the window by the convolution
        torch.testing.assert_close(part[:, 0], network(window, alone)[:, -1], rtol=0, atol=1e-9)


def test_a_ring_of_several_blocks_remembers_what_its_frames_were_with_the_ones_that_left():
    network, x = busy(BASE), frames(CONTEXT + 1)
    cache = FrameCache(CONTEXT, ring=True)
    for t in range(CONTEXT + 1):
        last = network(x[:, t : t + 1], cache, keep=True)
    assert (last[:, 0] - network(x[:, 1:])[:, -1]).abs().max() > 1e-6


def test_a_rings_places_stay_small_in_a_world_without_end():
    network, x = one_block(BASE), frames(CONTEXT)
    cache = FrameCache(CONTEXT, ring=True)
    for t in range(600):
        last = network(x[:, t % CONTEXT, None], cache, keep=True)
        assert int(cache._place) < 2 * CONTEXT
    window = torch.stack([x[:, t % CONTEXT] for t in range(596, 600)], 1)
    torch.testing.assert_close(last[:, 0], network(window)[:, -1], rtol=0, atol=1e-9)


@stacks
def test_every_shape_and_address_stays_from_frame_to_frame(config):
    network, x = busy(config), frames(CONTEXT)
    cache, seen = FrameCache(CONTEXT, ring=True), set()
    for t in range(3 * CONTEXT):
        network(x[:, t % CONTEXT, None], cache, keep=True)
        seen.add(tuple((block.keys.data_ptr(), block.keys.shape, block.values.data_ptr()) for block in cache.blocks))
    assert len(seen) == 1
