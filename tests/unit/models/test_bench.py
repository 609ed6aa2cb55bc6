"""The benchmark of the model: its operations are those that are done, and both ways of playing draw the same."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from assets.cli import main
from models.bench import PRESETS, TASKS, _preset, bench_model
from models.dynamics import Dynamics
from models.flops import dynamics_flops, lam_flops, stack_flops, tokenizer_flops
from models.latent_actions import LatentActionModel
from models.tokenizer import VideoTokenizer
from models.transformer import STTransformer
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.errors import UserError


def counted(function):
    """Return the operations of the products that torch itself counts; in bf16 attention is made of plain ones."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), counter:
        function()
    return counter.get_total_flops()


STACKS = {
    "plain": StackConfig(layers=2, d_model=32, heads=4, head_dim=8, kv_heads=4, ffw_multiple=4),
    "multi-query": StackConfig(layers=3, d_model=48, heads=4, head_dim=16),
    "convolution": StackConfig(layers=1, d_model=32, heads=2, head_dim=8, depthwise_conv="causal"),
    "frames alone": StackConfig(layers=2, d_model=32, heads=2, head_dim=8, temporal_attention=False),
}


@pytest.mark.parametrize("config", STACKS.values(), ids=STACKS)
def test_the_formula_of_a_stack_counts_what_torch_counts(config):
    stack = STTransformer(config, (3, 4), 5)
    x = torch.randn(2, 5, 12, config.d_model)
    assert stack_flops(config, 2, 5, 12) == counted(lambda: stack(x))


@pytest.mark.parametrize("pooling", ["mean", "antisymmetric"])
def test_the_formulas_of_the_networks_count_what_torch_counts(pooling):
    stack, alone = STACKS["plain"], STACKS["frames alone"]
    video = torch.randint(0, 256, (2, 5, 24, 32, 3), dtype=torch.uint8)
    tokenizer = VideoTokenizer(TokenizerConfig(encoder=stack, decoder=stack, window=5), 24, 32)
    assert tokenizer_flops(tokenizer, 2, 5) == counted(lambda: tokenizer(video))
    config = LatentActionConfig(
        encoder=alone if pooling == "antisymmetric" else stack, decoder=stack, patch=8, pooling=pooling
    )
    lam = LatentActionModel(config, 24, 32, 5)
    assert lam_flops(lam, 2, 5) == counted(lambda: lam(video))
    dynamics = Dynamics(DynamicsConfig(stack=stack, context=5), num_codes=1024, grid=tokenizer.grid, action_dim=32)
    tokens, actions = torch.zeros(2, 5, tokenizer.num_tokens, dtype=torch.int64), torch.randn(2, 4, 32)
    assert dynamics_flops(dynamics, 2, 5, action_dim=32) == counted(lambda: dynamics(tokens, actions))


def test_every_task_is_measured_and_both_ways_of_playing_draw_the_same(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", _preset(32, 32, d=64, head_dim=8, encoder=1, decoder=1, dynamics=2, steps=4))
    found = bench_model("tiny", repeats=1)
    assert list(found["tasks"]) == list(TASKS)
    assert found["peak_gflops"] > 0
    for task in ("tokenizer", "lam", "dynamics", "cotrain"):
        assert found["tasks"][task]["utilisation"] > 0
    play = found["tasks"]["play"]
    assert play["share_of_ids_that_differ"] < 0.05
    assert play["frames_per_s_after_prefill"] > play["frames_per_s"] > 0


def test_the_command_prints_one_object_and_names_what_it_does_not_know(capsys):
    assert main(["bench", "model", "--task", "lam", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["preset"] == "cc-small"
    assert list(found["tasks"]) == ["lam"]
    for wrong in (["--preset", "huge"], ["--task", "walk"], ["--dtype", "fp8"], ["--threads", "0"]):
        assert main(["bench", "model", *wrong]) == 2
    with pytest.raises(UserError, match=r"'huge' is unknown: choose one of cc-small, cc-90p"):
        bench_model("huge")
    assert PRESETS["cc-90p"].dynamics.stack.d_model == 512
