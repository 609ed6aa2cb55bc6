"""The tokenizer's three architectures at equal size: Genie's table 3, in small.

    compare_architectures(config, train, held_out, compute, seed=0)["st_vivit"]["psnr"]

`vit` and `c_vivit` have one attention a block where `st_vivit` has two; a wider feed-forward makes up for the other.
All take the same steps on the same windows and are measured on the same held-out ones. The paper compares the worlds
that are then trained on them (FVD and delta-t PSNR); here it is what the tokenizers themselves rebuild.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal, get_args

from models.compute import Compute
from models.data import ClipWindows
from models.publish import parameters_of
from models.tokenizer_training import TokenizerTraining, tokenizer_figures
from pipeline.config.world import StackConfig, TokenizerConfig
from pipeline.progress import Listener

Architecture = Literal["st_vivit", "vit", "c_vivit"]


def at_equal_size(config: TokenizerConfig, architecture: Architecture) -> TokenizerConfig:
    """Return an `st_vivit` tokenizer's settings with another architecture and as many parameters."""
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
    listen: Listener | None = None,
) -> dict[str, dict[str, Any]]:
    """Train a tokenizer of each architecture and measure it; nothing is published.

    Args:
        config: of the `st_vivit`; steps, batch and rates are those of all.
        train: windows to learn from.
        held_out: windows to measure on.
        compute: device and dtype.
        seed: of weights and windows.
        count: windows measured.
        listen: hears a line for each.

    Returns:
        per architecture `parameters`, `cpu_s` of the training, and the figures of `tokenizer_figures`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in get_args(Architecture):
        training = TokenizerTraining(at_equal_size(config, name), train, compute, seed=seed)
        training.start()
        before = time.process_time()
        for step in range(training.total_steps):
            training.step(step)
        seconds = time.process_time() - before
        training.tokenizer.eval()
        figures = tokenizer_figures(training.tokenizer, held_out, compute, count=count)
        found[name] = {"parameters": parameters_of(training.tokenizer), "cpu_s": round(seconds, 1), **figures}
        if listen is not None:
            listen(f"{name}: {found[name]['parameters']:,} parameters, {figures['psnr']:.2f} dB, {seconds:.0f} CPU-s")
    return found
