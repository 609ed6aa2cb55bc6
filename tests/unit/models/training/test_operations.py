"""Operations and time of a training, by formulas that are held to what torch counts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from assets.cli.sizes import cost_lines
from models.bench.gpu_costs import gpu_costs
from models.networks.tokenizer import VideoTokenizer
from models.runtime.ranks import Ranks
from models.training.check_ranks import check_ranks
from models.training.data import Clip, ClipWindows
from models.training.preflight import EXPECTED_SHARE, size_of_training
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from pipeline.config import load_config, parse_overrides, preset
from pipeline.training_size.memory_there import MemoryThere
from pipeline.training_size.operations import encode_operations, training_operations
from pipeline.training_size.parameters import FrameSize
from tests.narrow import CPU, KINDS, VARIANTS, narrow

OPERATIONS = {
    "coinrun": VARIANTS["coinrun"],
    "a LAM that rests, a past of its own, and prefixes": narrow(
        "coinrun", tokenizer={"window": 4}, latent_actions={"unquantized_steps": 1, "update_every": 0},
        dynamics={"context": 4, "own_frame_share": 1.0, "full_mask_share": 0.5, "clean_prefix_share": 0.5},
    ),
    "tokens": VARIANTS["c_vivit, tokens, prepend"],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, id=name, marks=[pytest.mark.slow] * (name != "tokens"))
        for name, config in OPERATIONS.items()
    ],
)
def test_operations_by_formula_are_what_torch_counts_in_a_step(config, kind):
    """Counted are products; in bf16 attention is made of plain ones. Masks are drawn, so logits differ by a little."""
    # a tokenizer's step draws nothing that its operations depend on
    section, batch = ("tokenizer", 2) if kind == "video_tokenizer" else ("dynamics", 8)
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), batch=batch)})
    compute = dataclasses.replace(CPU, dtype=torch.bfloat16)
    frames = np.random.default_rng(0).integers(0, 256, (24, 48, 48, 3), np.uint8)
    windows = ClipWindows([Clip("a", lambda: frames)], cache_clips=1)
    training = (
        TokenizerTraining(config.tokenizer, windows, compute, seed=0)
        if kind == "video_tokenizer"
        else WorldTraining(
            config.latent_actions, config.dynamics, VideoTokenizer(config.tokenizer, 48, 48), windows, compute, seed=0
        )
    )
    training.initialize()
    # codes of a LAM that first learns alone begin in its first joint step
    alone = config.latent_actions.unquantized_steps if kind == "world_model" else 0
    measured = alone + 1 if alone else 0
    for before in range(measured):
        training.step(before)
    with FlopCounterMode(display=False) as counter:
        training.step(measured)
    assert training_operations(config, kind, FrameSize(48, 48)).step == pytest.approx(
        counter.get_total_flops(), rel=0.05
    )


def test_a_training_costs_all_its_steps_and_checkpointing_a_third_more_time():
    config = preset("coinrun")
    one = training_operations(config, "video_tokenizer")
    assert one.total == 300_000 * one.step
    assert one.repeated == 0
    again = dataclasses.replace(config, training=dataclasses.replace(config.training, activation_checkpointing="on"))
    assert training_operations(again, "video_tokenizer").repeated == pytest.approx(one.total / 3, rel=0.01)
    read = dataclasses.replace(config, training=dataclasses.replace(config.training, read_tokens=True))
    spared = (training_operations(each, "world_model").step for each in (config, read))
    assert np.subtract(*spared) == encode_operations(config.tokenizer, 256, 36, 16)
    # 942 billion tokens, each of 10.1 billion parameters (Genie, section 3): 6 operations a token and parameter
    published = 6 * 942e9 * 10.1e9
    assert training_operations(preset("platformers"), "world_model").total == pytest.approx(published, rel=0.1)
    there, peak = MemoryThere(10**12, "of this machine"), 1e12
    size = size_of_training(config, "video_tokenizer", CPU, there=there, peak=peak)
    assert size.hours == pytest.approx(one.total / (EXPECTED_SHARE * peak) / 3600)
    assert "14,227 PFLOP (about 412 days (9,880 hours) at 40% of the 1 TFLOP/s of products here)" in size.line


def test_the_table_of_the_papers_sizes_in_the_docs_is_what_the_command_prints_and_its_settings_fit():
    page = (Path(__file__).parents[4] / "docs/model.md").read_text("utf-8")
    costs = gpu_costs()
    assert "\n".join(cost_lines(costs)) in page
    for cost in costs:
        assert cost.fits
        config = load_config(None, preset=cost.preset, **parse_overrides(cost.settings))
        check_ranks(config, KINDS[cost.model == "world"], Ranks(cost.gpus, config.training.processes))


def test_the_hours_of_a_training_on_gpus_follow_from_its_operations_and_their_number():
    """The paper's tokenizer: 423,474 PFLOP and a third more for checkpointing, on 8 GPUs at 250 TFLOP/s."""
    [cost] = [cost for cost in gpu_costs() if (cost.preset, cost.model) == ("platformers", "tokenizer")]
    assert cost.gpus == 8
    assert cost.hours == pytest.approx(cost.pflop * 1e15 * 4 / 3 / (8 * 250e12) / 3600, rel=0.01)
    assert cost.gpu_hours == 8 * cost.hours
