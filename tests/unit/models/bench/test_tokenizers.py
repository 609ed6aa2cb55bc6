import dataclasses
import json

import numpy as np
import pytest
import torch

from assets.cli.main import main
from models.bench.tokenizers import at_equal_size, compare_architectures
from models.networks.tokenizer import VideoTokenizer
from models.registry import parameters_of
from models.runtime.compute import Compute
from models.training.data import Clip, ClipWindows
from pipeline.arcade.platformer import record_platformer
from pipeline.config import preset
from pipeline.config.world import OptimizerConfig, StackConfig, TokenizerConfig


@pytest.mark.parametrize("name", ["platformers", "coinrun", "demo"])
def test_architectures_have_the_same_size(name):
    config = preset(name).tokenizer
    sizes = {}
    for architecture in ("st_vivit", "vit", "c_vivit"):
        with torch.device("meta"):
            network = VideoTokenizer(at_equal_size(config, architecture), 90, 160)
        sizes[architecture] = parameters_of(network)
    assert len(set(sizes.values())) > 1, "they differ by norms, if by little"
    for size in sizes.values():
        assert size == pytest.approx(sizes["st_vivit"], rel=0.002)


def test_sizes_are_worked_out_from_the_papers_architecture_alone():
    with pytest.raises(ValueError, match="'vit'"):
        at_equal_size(TokenizerConfig(architecture="vit"), "c_vivit")


def test_each_architecture_is_trained_and_measured_alike():
    def windows(seeds):
        def load(seed):
            return np.stack([frame[40:80, 40:80] for frame in record_platformer(seed, 6, fps=10)])

        return ClipWindows([Clip(str(seed), lambda seed=seed: load(seed)) for seed in seeds], cache_clips=4)

    stack = StackConfig(layers=1, d_model=32, heads=2, head_dim=16)
    pace = OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-3, warmup_steps=1)
    config = TokenizerConfig(
        patch=10, codebook_size=64, latent_dim=8, encoder=stack, decoder=stack, window=3, batch=2, steps=3,
        optimizer=pace, ema_decay=0.9, start="patches",
    )  # fmt: skip
    said = []
    compute = Compute(torch.device("cpu"), torch.float32, "tests compare numbers")
    train, held_out = windows((0, 1)), windows((2,))
    found = compare_architectures(config, train, held_out, compute, seed=0, count=2, on_progress=said.append)
    assert [line.split(":")[0] for line in said] == list(found) == ["st_vivit", "vit", "c_vivit"]
    assert all(figures["psnr"] > 15 for figures in found.values())
    assert len({figures["psnr"] for figures in found.values()}) == 3
    longer = compare_architectures(dataclasses.replace(config, steps=6), train, held_out, compute, seed=0, count=2)
    assert longer["vit"]["psnr"] != found["vit"]["psnr"]


@pytest.mark.slow
def test_the_command_prints_the_three_side_by_side(capsys):
    assert main(["bench", "tokenizers", "--steps", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["st_vivit", "vit", "c_vivit"]
    assert found["st_vivit"]["kept_mb"] > found["vit"]["kept_mb"] > 0
    assert main(["bench", "tokenizers", "--steps", "0"]) == 2
