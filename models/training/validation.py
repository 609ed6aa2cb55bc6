"""Measure a training on held-out windows while it runs, without changing anything that its next steps depend on.

Weights, optimizers, codebooks, the order of windows and torch's random state are as before: a run that measures takes
the same steps to the bit as one that does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from models.training.held_windows import HeldWindows
from models.training.tokenizer_training import TokenizerTraining, tokenizer_metrics
from models.training.world_metrics import alone_metrics, world_metrics
from models.training.world_training import WorldTraining

_MOST_SHARES = 16
"""Latent actions whose use is shown one by one."""


def held_out_metrics(training: TokenizerTraining | WorldTraining, windows: HeldWindows, step: int) -> dict[str, float]:
    """Return what a training has reached on held-out windows after `step` steps, each name in the folder `held_out`.

    Of a tokenizer psnr (dB), codes_used, codebook_usage (a share) and perplexity; of a world what `world_metrics`
    measures, and `action_1`, ...: the share of each latent action (of 16 at most). While the LAM learns alone, only its
    own prediction. A value that is not finite is left out.
    """
    count = len(windows.clip_ids)
    with as_in_use(training):
        if isinstance(training, TokenizerTraining):
            found = tokenizer_metrics(training.tokenizer, windows, training.compute, count=count)
        elif step <= training.alone_steps:
            found = alone_metrics(training, windows, count=count)
        else:
            found = world_metrics(training, windows, count=count)
            found |= _shares(found)
    found.pop("windows", None)
    return {f"held_out/{name}": value for name, value in _numbers(found).items()}


@contextmanager
def as_in_use(training: TokenizerTraining | WorldTraining) -> Iterator[None]:
    """Put the networks of a training into evaluation mode, uncompiled, and leave modes and random state as they were.

    Windows of other shapes than a step's would be compiled anew.
    """
    networks = [*training.networks().values()]
    modes: list[tuple[nn.Module, bool]] = [(part, part.training) for whole in networks for part in whole.modules()]
    device = training.compute.device
    compiled = any(part._compiled_call_impl is not None for part, _ in modes)
    stance = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with torch.random.fork_rng([device] if device.type == "cuda" else []), stance:
        try:
            for network in networks:
                network.eval()
            yield
        finally:
            for part, mode in modes:
                part.training = mode


def _shares(found: Mapping[str, Any]) -> dict[str, float]:
    counts = found["code_counts"]
    if len(counts) > _MOST_SHARES:
        return {}
    return {f"action_{number}": count / max(1, sum(counts)) for number, count in enumerate(counts, 1)}


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    return {name: float(f"{value:.6g}") for name, value in numbers.items() if math.isfinite(value)}
