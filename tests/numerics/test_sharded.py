"""A network whose blocks are sharded takes the steps of a whole one: here in a group of one process, in a second.

tests/slow/test_ranks.py divides networks among real processes.
"""

import dataclasses

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from models.runtime.compute import Compute
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from tests.numerics.small import DYNAMICS, LAM, TOKENIZER, arcade_windows, patch_tokenizer

STACK = dataclasses.replace(TOKENIZER.encoder, layers=1, d_model=32, heads=2)


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


@pytest.fixture(autouse=True)
def group():
    """A process group of this process alone; FSDP2 works on it as on many."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


RECALLED = {"recalled_share": 0.9, "clean_prefix_share": 0.5}


@pytest.fixture(autouse=True)
def recalls_what_is_wrong_too(monkeypatch):
    """Networks that have hardly learned predict other tokens."""
    monkeypatch.setattr("models.training.recalled._MOST_WRONG", 1.0)


def compute(sharded, dtype=torch.float32):
    return Compute(torch.device("cpu"), dtype, "test", 1, sharded=sharded)


def tokenizer(windows, sharded, dtype=torch.float32):
    config = dataclasses.replace(TOKENIZER, encoder=STACK, decoder=STACK, batch=4, ema_decay=0.9)
    return TokenizerTraining(config, windows, compute(sharded, dtype), seed=0, accumulate=2)


def world(windows, sharded, dtype=torch.float32):
    dynamics = dataclasses.replace(DYNAMICS, stack=STACK, batch=4, own_frame_share=0.5, **RECALLED)
    lam = dataclasses.replace(LAM, encoder=STACK, decoder=STACK)
    made = patch_tokenizer(windows)
    return WorldTraining(lam, dynamics, made, windows, compute(sharded, dtype), seed=0, accumulate=2)


def taken(training, steps):
    return [training.step(step)["loss"] for step in steps]


@pytest.mark.parametrize("make", [tokenizer, world])
def test_it_takes_the_same_steps_goes_on_from_a_whole_checkpoint_and_ends_whole(windows, make):
    whole, sharded = make(windows, False), make(windows, True)
    for training in (whole, sharded):
        training.initialize()
    assert taken(sharded, range(2)) == pytest.approx(taken(whole, range(2)), rel=1e-6)
    large = sharded.networks().get("dynamics") or sharded.networks()["tokenizer"]
    divided = {name for name, parameter in large.named_parameters() if isinstance(parameter, DTensor)}
    assert divided
    assert all(name.endswith("weight") and "norm" not in name and ".blocks." in name for name in divided)
    assert make is tokenizer or len(sharded.recalled) == len(whole.recalled) > 0
    # checkpoints are alike, and each of them goes on in the other
    saved = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    theirs = {name: tensor.clone() for name, tensor in sharded.tensors().items()}
    assert {name: tensor.shape for name, tensor in theirs.items()} == {name: t.shape for name, t in saved.items()}
    sharded.load(saved)
    whole.load(theirs)
    assert taken(sharded, range(2, 4)) == pytest.approx(taken(whole, range(2, 4)), rel=1e-5)
    sharded.finish()
    (ended,) = [network for network in sharded.networks().values() if type(network) is type(large) or network is large]
    assert not any(isinstance(parameter, DTensor) for parameter in ended.parameters())
    for name, tensor in sharded.networks().get("dynamics", ended).state_dict().items():
        assert torch.isfinite(tensor).all(), name


def test_bf16_gathers_matrices_in_bf16_and_keeps_weights_gradients_and_moments_in_fp32(windows):
    whole, sharded = tokenizer(windows, False, torch.bfloat16), tokenizer(windows, True, torch.bfloat16)
    for training in (whole, sharded):
        training.initialize()
    # gathered again for the pass that recomputes them
    sharded.tokenizer.encoder.checkpointing = sharded.tokenizer.decoder.checkpointing = True
    assert taken(sharded, range(2)) == pytest.approx(taken(whole, range(2)), rel=1e-3)
    seen = []
    block = sharded.tokenizer.encoder.blocks[0]
    block.spatial.qkv.register_forward_pre_hook(lambda module, args: seen.append(module.weight.dtype))
    norms = []
    block.spatial_norm.register_forward_pre_hook(
        lambda module, args: norms.append((module.weight.dtype, args[0].dtype))
    )
    sharded.step(2)
    assert set(seen) == {torch.bfloat16}
    assert set(norms) == {(torch.float32, torch.float32)}
    for training in (whole, sharded):
        assert {tensor.dtype for tensor in training.tensors().values()} == {torch.float32}
    assert {parameter.grad.dtype for parameter in sharded.tokenizer.parameters() if parameter.grad is not None} == {
        torch.float32
    }
