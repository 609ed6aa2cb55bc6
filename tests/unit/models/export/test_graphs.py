"""The exported graphs compute what the networks compute, frame after frame, past the end of the window."""

import numpy as np
import pytest
import torch

from models.export.graphs import decoder_graph, dynamics_graph
from models.networks.frame_cache import FrameCache
from pipeline.config.world import StackConfig

onnxruntime = pytest.importorskip("onnxruntime", reason="the graphs are run by onnxruntime, of the dev extra")
pytestmark = pytest.mark.slow

LAG_BIAS = StackConfig(
    layers=2, d_model=16, heads=2, head_dim=8, kv_heads=2, temporal_positions="lag_bias", depthwise_conv="causal"
)
GROUPED = StackConfig(layers=2, d_model=16, heads=4, head_dim=8, kv_heads=1, qk_norm=True)


def run_by(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    names = {given.name: given for given in session.get_inputs()}
    past = {name: np.zeros(given.shape, np.float32) for name, given in names.items() if name.startswith("past_")}

    def frame(place, room, head_dim, **given):
        # as the page computes them: a place is never rotated back, as the server's cache does
        angle = place * 10_000.0 ** (-np.arange(head_dim // 2) / (head_dim // 2))
        held = place - (place - np.arange(room)) % room
        given |= {
            "cosines": np.tile(np.cos(angle), 2).astype(np.float32)[None],
            "sines": np.concatenate([-np.sin(angle), np.sin(angle)]).astype(np.float32)[None],
            "slot": np.array([place % room], np.int32),
            "lags": np.clip(place - held, 0, room - 1).astype(np.int32)[None],
            "hidden": np.where(held >= 0, 0, -np.inf).astype(np.float32)[None],
        }
        results = session.run(None, {name: value for name, value in {**given, **past}.items() if name in names})
        outputs = dict(zip([out.name for out in session.get_outputs()], results, strict=True))
        past.update({f"past_{name}": value for name, value in outputs.items() if f"past_{name}" in names})
        return results[0]

    return frame


@pytest.mark.parametrize("injection", ["add", "film", "prepend"])
def test_logits_of_a_ring_are_the_networks(make_world, injection):
    stack = GROUPED if injection == "prepend" else LAG_BIAS
    world = make_world(stack=stack, action_injection=injection)
    frame, held = run_by(dynamics_graph(world)), FrameCache(world.context, True)
    random = torch.Generator().manual_seed(0)
    for t in range(2 * world.context + 3):
        tokens = torch.randint(0, world.dynamics.mask_id + 1, (1, 1, world.num_tokens), generator=random)
        action = torch.randint(0, world.num_actions, (1, 1), generator=random)
        rows = world.rows_of(action) if t else world.rows_of(action)[:, :0]
        code = np.array([int(action) if t else world.num_actions], np.int32)
        given = frame(t, world.context, 8, tokens=tokens[0, 0].int().numpy(), action=code)
        with torch.no_grad():
            true = world.dynamics.head(world.dynamics.hidden(tokens, rows, held, keep=True))[0, 0]
        np.testing.assert_allclose(given, true.numpy(), atol=1e-4)


@pytest.mark.parametrize("stack", [LAG_BIAS, GROUPED], ids=["lag bias", "shared keys"])
def test_pixels_of_a_ring_are_the_decoders(make_world, stack):
    world = make_world(stack=stack)
    frame, held = run_by(decoder_graph(world)), FrameCache(world.decoder_window, True)
    random = torch.Generator().manual_seed(0)
    for t in range(2 * world.decoder_window + 3):
        tokens = torch.randint(0, world.dynamics.mask_id, (1, 1, world.num_tokens), generator=random)
        given = frame(t, world.decoder_window, 8, tokens=tokens[0, 0].int().numpy())
        with torch.no_grad():
            true = (world.tokenizer.decode(tokens, held)[0, 0] * 255).round()
        assert given.dtype == np.uint8
        # a value that lies half way between two may be rounded either way
        assert np.abs(given - true.numpy()).max() <= 1
        assert (given == true.numpy()).mean() > 0.999
