import dataclasses

import pytest
import torch

from models.networks.attention import rotary_table, rotate
from models.networks.transformer import STTransformer
from pipeline.config.world import StackConfig
from tests.networks import randomize

BASE = StackConfig(layers=2, d_model=16, heads=4, head_dim=8, kv_heads=4, ffw_multiple=2.0)
VARIANTS = {
    "rotary, multi-query": dataclasses.replace(BASE, kv_heads=1),
    "lag bias": dataclasses.replace(BASE, temporal_positions="lag_bias"),
    "normalised queries and keys": dataclasses.replace(BASE, qk_norm=True),
    "causal convolution": dataclasses.replace(BASE, depthwise_conv="causal"),
    "frame convolution": dataclasses.replace(BASE, depthwise_conv="frame"),
    "attention over space and time": dataclasses.replace(BASE, temporal_attention=False, spacetime_attention=True),
}


def busy(config, context=4):
    """A network whose parts all add something: fresh ones add zero."""
    torch.manual_seed(0)
    network = STTransformer(config, (2, 3), context)
    randomize(network, std=0.3)
    return network.eval()


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_frame_never_depends_on_later_frames_to_the_bit(config, autocast):
    network, x = busy(config), torch.randn(2, 4, 6, 16)
    changed = x.clone()
    changed[:, 2] += torch.randn(2, 6, 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        before, after = network(x), network(changed)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_without_temporal_attention_frames_do_not_see_each_other():
    network = busy(dataclasses.replace(BASE, temporal_attention=False, depthwise_conv="frame"))
    x = torch.randn(1, 3, 6, 16)
    with torch.inference_mode():
        together, alone = network(x), torch.cat([network(x[:, t : t + 1]) for t in range(3)], 1)
    torch.testing.assert_close(together, alone)


def test_every_token_sees_all_tokens_of_its_frame():
    network, x = busy(BASE), torch.randn(1, 1, 6, 16)
    changed = x.clone()
    changed[0, 0, 5] += torch.randn(16)  # not the same in all channels: a norm takes that away
    with torch.inference_mode():
        difference = (network(x) - network(changed)).abs().amax(-1)[0, 0]
    assert bool((difference > 1e-3).all())


@pytest.mark.parametrize("config", [BASE, VARIANTS["lag bias"]], ids=["rotary", "lag bias"])
def test_a_fresh_network_passes_its_embedding_through(config):
    network, x = STTransformer(config, (2, 3), 4), torch.randn(2, 4, 6, 16)
    torch.testing.assert_close(network(x), x + network.positions)


def test_rotated_products_know_only_the_distance():
    q, k = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 1, 6, 8)
    angles = rotary_table(6, 8, q.device, q.dtype)
    products = rotate(q, *angles) @ rotate(k, *angles).transpose(-1, -2)
    torch.testing.assert_close(products[0, 0, 1, 0], products[0, 0, 5, 4])
    assert not torch.isclose(products[0, 0, 1, 0], products[0, 0, 2, 0])


def test_more_frames_than_the_context_are_refused():
    with pytest.raises(ValueError, match="5 frames exceed the context of 4"):
        busy(BASE)(torch.randn(1, 5, 6, 16))


@pytest.mark.parametrize("frames", [1, 4], ids=["one frame", "a window"])
def test_no_product_copies_the_weights_for_each_sequence(frames):
    """Of a strided batch of sequences torch makes a batched product: the weights, once for each position."""
    network = busy(BASE)
    seen = torch.profiler.profile(record_shapes=True)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), seen:
        network(torch.randn(1, frames, 6, 16))
    width = BASE.d_model
    shapes = [event.input_shapes[1] for event in seen.events() if event.name in ("aten::bmm", "aten::baddbmm")]
    assert not [shape for shape in shapes if width in shape[1:]]
