"""How well the tokenizer reconstructs held-out windows, beside baselines that need no network.

All PSNR are over frames 1.. of a window: frame 0 has no previous frame to copy.

Shapes: N windows, T frames, H W C pixels.
"""

from __future__ import annotations

import numpy as np

from models.evaluation import baselines
from models.evaluation.metric import Metrics, mean_over_sources
from models.evaluation.rollouts import decode, encode
from models.evaluation.windows import Windows
from models.evaluation.world_interface import World
from models.metrics import entropy, moving_psnr, psnr
from pipeline.config import EvaluationConfig


def measure_reconstruction(
    world: World, windows: Windows, codebook: baselines.PatchCodebook, config: EvaluationConfig
) -> Metrics:
    """Return the PSNR of the tokenizer and of the baselines, on all and on moving pixels, and the use of its codes."""
    truth = windows.video_NTHWC
    tokens = encode(world, truth)
    guesses = {
        "": decode(world, tokens),
        "_previous_frame": baselines.previous_frame(truth),
        "_mean_frame": baselines.mean_frame(truth),
        "_first_frame": baselines.first_frame(truth),
        "_kmeans": codebook.reconstruct(truth),
    }
    metrics: Metrics = {}
    for prefix, values in (
        ("psnr", {name: psnr(truth, guess)[:, 1:].mean(1) for name, guess in guesses.items()}),
        ("psnr_moving", {name: _moving(truth, guess, config) for name, guess in guesses.items()}),
    ):
        for name, value in values.items():
            metrics[prefix + name] = mean_over_sources(value, windows.sources, config)
            if name:
                metrics[f"{prefix}_above{name}"] = mean_over_sources(values[""] - value, windows.sources, config)
    usage = np.bincount(tokens.cpu().numpy().reshape(-1))
    metrics["tokenizer_codes_used"] = {"value": int((usage > 0).sum())}
    metrics["tokenizer_perplexity"] = {"value": float(np.exp(entropy(usage)))}
    return metrics


def _moving(truth: np.ndarray, guess: np.ndarray, config: EvaluationConfig) -> np.ndarray:
    """Return the mean PSNR (N,) of each window over the frames in which enough pixels move; nan without any."""
    values = moving_psnr(truth, guess, config.moving_threshold)
    present = ~np.isnan(values)
    return np.where(present.any(1), np.where(present, values, 0).sum(1) / np.maximum(present.sum(1), 1), np.nan)
