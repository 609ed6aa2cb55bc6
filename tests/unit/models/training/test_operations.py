"""Operations and time of a training, by formulas that are held to what torch counts."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

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
from tests.narrow import CPU, GPU, KINDS, VARIANTS, narrow

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
    section = "tokenizer" if kind == "video_tokenizer" else "dynamics"
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), batch=8)})
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


def test_the_costs_of_the_papers_sizes_in_the_docs_are_those_of_the_formulas_and_their_settings_fit():
    page = (Path(__file__).parents[4] / "docs/model.md").read_text("utf-8")
    cells = r"\| `([\w.-]+)` \| (tokenizer|world) \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (.*) \|"
    rows = re.findall(cells, page)
    assert len(rows) >= 7
    for name, model, processes, cost, hours, together, settings in rows:
        overrides = parse_overrides([*re.findall(r"`([\w.]+=[^`]+)`", settings), "training.dtype=bf16"])
        config = load_config(None, preset=name, **overrides)
        kind = KINDS[model == "world"]
        size = size_of_training(config, kind, GPU, there=MemoryThere(79 * 10**9, "on a GPU"), peak=625e12)
        assert size.refusal == ""
        group = Ranks(count=int(processes), local_count=config.training.processes)
        check_ranks(config, kind, group)
        figures = (size.estimate.place.ranks, size.operations.total / 1e15, size.hours, size.hours * group.count)
        assert [f"{figure:,.0f}" for figure in figures] == [processes, cost, hours, together], name
