"""Initialization from data gives the same bytes on every processor.

MKL, torch and numpy choose their kernels by the processor; environment variables make them choose as an older one
would. Each of these settings needs a process of its own.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = {
    "MKL for AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "MKL for any processor": {"MKL_CBWR": "COMPATIBLE"},
    "all of torch for AVX2": {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "the oldest kernels": {
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX",
    },
}

INITIALIZE = """
import dataclasses, hashlib, json, sys
import numpy as np
import torch
from models.networks.latent_start import spread_codes, standardize
from models.networks.quantizer import VectorQuantizer
from models.networks.latent_actions import LatentActionModel, initialize_codes, initialize_embeddings
from models.networks.tokenizer import VideoTokenizer, initialize_from_patches
from pipeline.config import preset

torch.set_num_threads(int(sys.argv[1]))
demo, rng = preset("demo"), np.random.default_rng(0)
# frames of eight tiles that occur equally often and differ in one pixel each: all directions have the same variance
even = np.full((8, 4, 4, 3), 100, np.uint8)
even[np.arange(8), np.arange(8) // 4, np.arange(8) % 4] = 180
tiles = {
    "tiles of equal variance": even[np.stack([rng.permutation(8).reshape(2, 4) for _ in range(32)])],
    "noise": rng.integers(0, 256, (32, 2, 4, 4, 4, 3), np.uint8),
}
digests = {}
for name, cut in tiles.items():
    video = torch.from_numpy(cut.transpose(0, 1, 3, 2, 4, 5).reshape(32, 1, 8, 16, 3).copy())
    networks = {
        "tokenizer": VideoTokenizer(dataclasses.replace(demo.tokenizer, patch=4), 8, 16),
        "latent actions": LatentActionModel(
            dataclasses.replace(demo.latent_actions, patch=4, loss_margin=0), 8, 16, 5
        ),
    }
    for network in networks.values():
        # random numbers differ in their last bits from one processor to another: leave what is read from data
        for tensor in network.state_dict().values():
            tensor.zero_()
    initialize_from_patches(networks["tokenizer"], video)
    initialize_embeddings(networks["latent actions"], video)
    latents = torch.from_numpy(rng.standard_normal((600, 8)).astype(np.float32)).round(decimals=1)
    initialize_codes(networks["latent actions"], latents, torch.Generator().manual_seed(0))
    hidden = torch.from_numpy(rng.integers(-64, 65, (12, 6)).astype(np.float32) / 64)
    for kind in ("one factor", "decorrelated", "cosine"):
        linear = torch.nn.Linear(6, 12)
        linear.weight.data, linear.bias.data = hidden.clone(), hidden[:, 0].clone()
        # three directions in which latents vary, of nearly the same variance
        seen = torch.from_numpy(rng.integers(-3, 4, (400, 3)).astype(np.float32)) @ hidden[:, :3].T.sign() + 5
        scaled = standardize(linear, seen, decorrelate=kind == "decorrelated")
        quantizer = VectorQuantizer(16, 12, commitment=1, restart_below=0.1, cosine=kind == "cosine")
        # the square root of directions is left to torch
        samples = scaled if kind != "cosine" else torch.nn.functional.one_hot(scaled.argmax(1), 12).float()
        spread_codes(quantizer, samples, coverage=0.02, per_step=100)
        networks[kind] = torch.nn.ModuleDict({"projection": linear, "quantizer": quantizer})
    for part, network in networks.items():
        for key, tensor in network.state_dict().items():
            if tensor.any():
                digests[f"{name}: {part}, {key}"] = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
print(json.dumps(digests))
"""


def initialized_here():
    """Digests of the tensors that this process initializes, with its own kernels on one thread."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["initialize", "1"])
        exec(INITIALIZE, {"__name__": "initialize"})
    return json.loads(printed.getvalue())


@pytest.fixture(scope="module")
def initialized():
    """Digests of the initialized tensors under every setting, by tensor."""
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", INITIALIZE, str(2 - index % 2)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **changes},
            stdout=subprocess.PIPE,
        )
        for index, (name, changes) in enumerate(SETTINGS.items())
    }
    here = initialized_here()
    found = {name: (process.communicate()[0], process.returncode) for name, process in running.items()}
    assert [name for name, (_, code) in found.items() if code] == []
    return {"this processor": here} | {name: json.loads(output) for name, (output, _) in found.items()}


@pytest.mark.parametrize("setting", list(SETTINGS))
def test_initialization_gives_the_same_bytes_whatever_kernels_run(initialized, setting):
    here, there = initialized["this processor"], initialized[setting]
    assert len(here) > 10
    assert [key for key in here if there.get(key) != here[key]] == []
