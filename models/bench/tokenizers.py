"""Compare the tokenizer's three architectures at equal size: a small version of Genie's table 3.

    compare_architectures(config, train, held_out, compute, seed=0)["st_vivit"]["psnr"]

`vit` and `c_vivit` have one attention per block where `st_vivit` has two; a wider feed-forward makes their sizes equal.
All train for the same steps on the same windows and are measured on the same held-out windows. The paper compares the
worlds that are then trained on each tokenizer (FVD and delta-t PSNR). Here the reconstructions are compared.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from models.bench.timing import kept_mb
from models.networks.tokenizer import VideoTokenizer
from models.registry import parameters_of
from models.runtime.compute import Compute, choose_compute, intra_op_threads
from models.training.data import Clip, ClipWindows, Video
from models.training.tokenizer_training import TokenizerTraining, tokenizer_metrics
from pipeline.arcade.platformer import record_platformer
from pipeline.config.training import TrainingConfig
from pipeline.config.world import OptimizerConfig, StackConfig, TokenizerConfig
from pipeline.progress import ProgressCallback

Architecture = Literal["st_vivit", "vit", "c_vivit"]


def at_equal_size(config: TokenizerConfig, architecture: Architecture) -> TokenizerConfig:
    """Return the settings of an `st_vivit` tokenizer changed to another architecture with as many parameters."""
    if config.architecture != "st_vivit":
        raise ValueError(f"tokenizer.architecture = {config.architecture!r}: sizes are worked out from 'st_vivit'")
    if architecture == "st_vivit":
        return config
    encoder, decoder = _widened(config.encoder), _widened(config.decoder)
    return dataclasses.replace(config, architecture=architecture, encoder=encoder, decoder=decoder)


def _widened(stack: StackConfig) -> StackConfig:
    # queries, keys, values and output of an attention over the two products of a feed-forward, per unit of its width
    attention = 2 * stack.d_model * stack.head_dim * (stack.heads + stack.kv_heads)
    more = attention / (2 * stack.d_model**2)
    # a bias per head and lag has no meaning for one frame, nor in an attention over all of them
    return dataclasses.replace(stack, ffw_multiple=stack.ffw_multiple + more, temporal_positions="rotary")


def compare_architectures(
    config: TokenizerConfig,
    train: ClipWindows,
    held_out: ClipWindows,
    compute: Compute,
    *,
    seed: int,
    count: int = 48,
    on_progress: ProgressCallback | None = None,
) -> dict[str, dict[str, Any]]:
    """Train a tokenizer of each architecture and measure it; nothing is published.

    Args:
        config: settings of the `st_vivit`; all architectures have its steps, batch and learning rates.
        train: training windows.
        held_out: windows to measure on.
        compute: device and dtype.
        seed: seed of the weights and of the order of the windows.
        count: number of windows that are measured.
        on_progress: called with a line per architecture.

    Returns:
        Per architecture `parameters`, `cpu_s` of the training, `kept_mb` for a backward pass, and the metrics of the
        tokenizer on held-out windows.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in get_args(Architecture):
        training = TokenizerTraining(at_equal_size(config, name), train, compute, seed=seed)
        training.initialize()
        before = time.process_time()
        for step in range(training.total_steps):
            training.step(step)
        seconds = time.process_time() - before
        kept = _kept_mb(training)
        training.tokenizer.eval()
        figures = tokenizer_metrics(training.tokenizer, held_out, compute, count=count)
        size = parameters_of(training.tokenizer)
        found[name] = {"parameters": size, "cpu_s": round(seconds, 1), "kept_mb": round(kept, 1), **figures}
        if on_progress is not None:
            on_progress(
                f"{name}: {size:,} parameters, {figures['psnr']:.2f} dB, {seconds:.0f} CPU-s, {kept:.0f} MB kept for "
                "the backward pass"
            )
    return found


def bench_architectures(
    steps: int, *, seed: int = 0, threads: int = 1, on_progress: ProgressCallback | None = None
) -> dict[str, dict[str, Any]]:
    """Compare small tokenizers on the embedded platformer: 24 levels for training, 8 others to measure on.

    Weights are initialized at random. An initialization from data would hide the differences between architectures.
    """
    stack = StackConfig(layers=2, d_model=64, heads=4, head_dim=16, kv_heads=4, ffw_multiple=4.0)
    pace = OptimizerConfig(
        learning_rate=1e-3, final_learning_rate=2e-5, warmup_steps=max(1, steps // 20), schedule="late_linear"
    )
    config = TokenizerConfig(
        patch=10, encoder=stack, decoder=dataclasses.replace(stack, layers=4), window=5, batch=4, steps=steps,
        optimizer=pace, reconstruction_weight=10.0, ema_decay=0.9, restart_below=0.5, start="random",
    )  # fmt: skip
    compute = choose_compute(TrainingConfig(device="cpu", threads=threads))
    train, held_out = _recordings(range(24)), _recordings(range(1000, 1008))
    with intra_op_threads():
        return compare_architectures(config, train, held_out, compute, seed=seed, on_progress=on_progress)


def _recordings(seeds: range) -> ClipWindows:
    def load(seed: int) -> Video:
        return np.stack(list(record_platformer(seed, 60, fps=10)))

    return ClipWindows([Clip(str(seed), lambda seed=seed: load(seed)) for seed in seeds], cache_clips=len(seeds))  # type: ignore[misc]


def kept_for_backward_mb(tokenizer: VideoTokenizer, video_BTHWC: Tensor, compute: Compute) -> float:
    """Return the memory in MB that a tokenizer's forward pass on a batch keeps for its backward pass."""

    def loss() -> Tensor:
        with compute.autocast():
            return tokenizer.loss(video_BTHWC.to(compute.device))[0]

    return kept_mb(loss)


def _kept_mb(training: TokenizerTraining) -> float:
    config = training.config
    video, _ = training.windows.batch(seed=0, batch=config.batch, window=config.window)
    return kept_for_backward_mb(training.tokenizer, video, training.compute)
