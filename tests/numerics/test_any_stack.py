"""Stacks of any size: frames computed one by one are those of the whole window, and none sees a later one."""

import dataclasses

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks.frame_cache import FrameCache
from models.networks.transformer import STTransformer
from pipeline.config.world import StackConfig
from tests.numerics.small import in_double, stir


@st.composite
def stacks(draw):
    heads = draw(st.sampled_from([1, 2, 3, 4]))
    spacetime = draw(st.booleans())
    return StackConfig(
        layers=draw(st.integers(1, 3)),
        d_model=draw(st.sampled_from([4, 8, 10])),
        heads=heads,
        head_dim=draw(st.sampled_from([2, 4, 6])),
        kv_heads=draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0])),
        ffw_multiple=draw(st.sampled_from([0.5, 2.0, 3.0])),
        qk_norm=draw(st.booleans()),
        spacetime_attention=spacetime,
        temporal_attention=not spacetime and draw(st.booleans()),
        temporal_positions="rotary" if spacetime else draw(st.sampled_from(["rotary", "lag_bias"])),
        depthwise_conv=draw(st.sampled_from(["none", "frame", "causal"])),
    )


windows = st.tuples(st.integers(1, 3), st.integers(2, 5), st.integers(1, 3), st.integers(1, 3))
"""Batch, frames, rows, columns."""


def network_and_input(config, size, dtype=torch.float32):
    batch, frames, rows, columns = size
    torch.manual_seed(0)
    network = stir(STTransformer(config, (rows, columns), frames)).eval()
    return network, torch.randn(batch, frames, rows * columns, config.d_model, dtype=dtype)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(stacks(), windows, st.data())
def test_frames_one_by_one_are_those_of_the_whole_window_in_fp64(config, size, data):
    network, x = network_and_input(config, size, torch.float64)
    with in_double(network), torch.inference_mode():
        frames, cache, parts, start = x.shape[1], FrameCache(x.shape[1]), [], 0
        while start < frames:
            count = data.draw(st.integers(1, frames - start), label="frames at once")
            if data.draw(st.booleans(), label="a guess first"):
                network(torch.randn_like(x[:, :1]), cache)
            parts.append(network(x[:, start : start + count], cache, keep=True))
            start += count
        assert cache.length == frames
        assert float((torch.cat(parts, 1) - network(x)).abs().max()) <= 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(stacks(), windows, st.data())
def test_no_frame_depends_on_a_later_one_to_the_bit(config, size, data):
    network, x = network_and_input(config, size)
    place = data.draw(st.integers(1, x.shape[1] - 1), label="changed frame")
    changed = x.clone()
    changed[:, place] += 1 + torch.rand_like(x[:, place])
    with torch.inference_mode():
        before, after = network(x), network(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.equal(before[:, place], after[:, place])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(stacks(), windows, st.integers(1, 15))
def test_a_ring_of_one_block_is_the_window_that_ends_with_the_frame_in_fp64(config, size, beyond):
    """Keys of a first block know nothing of the past, so a frame that left is forgotten; deeper blocks drift."""
    config = dataclasses.replace(
        config, layers=1, depthwise_conv="frame" if config.depthwise_conv == "causal" else config.depthwise_conv
    )
    network, x = network_and_input(config, size, torch.float64)
    with in_double(network), torch.inference_mode():
        context = x.shape[1]
        world = torch.cat([x, torch.randn(len(x), beyond, *x.shape[2:], dtype=x.dtype)], 1)
        ring = FrameCache(context, ring=True)
        for end in range(1, world.shape[1] + 1):
            alone = network(world[:, end - 1 : end], ring, keep=True)
            window = network(world[:, max(0, end - context) : end])
            assert float((alone[:, 0] - window[:, -1]).abs().max()) <= 1e-9, end
