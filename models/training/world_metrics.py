"""Measure a trained world on a fixed set of windows."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.networks.dynamics import last_frame_quality
from models.networks.patches import as_float
from models.networks.quantizer import usage
from models.training.code_metrics import lam_quality
from models.training.held_windows import SpreadWindows
from models.training.true_actions import true_actions
from models.training.world_training import WorldTraining

_HELD = "held-out windows"


@torch.inference_mode()
def world_metrics(training: WorldTraining, windows: SpreadWindows, *, count: int) -> dict[str, Any]:
    """Return metrics on a fixed set of windows.

    cross_entropy (nat, last frame wholly masked, the others given) and accuracy (share of tokens predicted correctly);
    cross_entropy_changed and accuracy_changed, of the tokens that differ from the frame before (None where there are
    none), and changed_share, their share; lam_psnr and lam_psnr_copy (dB; of copying the frame before), or
    lam_accuracy and lam_accuracy_copy (shares of tokens) of a LAM that reads tokens; codes_used, code_counts,
    code_perplexity. Where true actions lead, the codes are those, and nothing is said of a LAM.
    """
    compute, lam = training.compute, training.lam
    if training.truth_actions is not None:
        return _led_by_truth(training, windows, count)
    each, right, changed, drawn, copies, codes = [], [], [], [], [], []
    for part in _frozen_parts(training, windows, count):
        with compute.autocast():
            loss, hit = last_frame_quality(training.dynamics, part.tokens_BTP, part.rows_BTL)
        each.append(loss)
        right.append(hit.float())
        changed.append(part.tokens_BTP[:, -1] != part.tokens_BTP[:, -2])
        drawn += [part.quality] * len(part.tokens_BTP)
        copies += [part.copy_quality] * len(part.tokens_BTP)
        codes.append(part.codes.flatten())
    return {
        **_of_dynamics(torch.cat(each), torch.cat(right), torch.cat(changed)),
        lam.metric: sum(drawn) / len(drawn),
        f"{lam.metric}_copy": sum(copies) / len(copies),
        **_of_codes(torch.cat(codes), lam.config.num_actions),
        "windows": len(drawn),
    }


class _FrozenPart(NamedTuple):
    """What the tokenizer and the LAM say of some windows."""

    tokens_BTP: Tensor
    rows_BTL: Tensor
    """Codebook rows of the latent actions."""
    codes: Tensor
    quality: float
    """Of the LAM's prediction, mean over the windows."""
    copy_quality: float
    """Of copying the frame before."""


class _Kept(NamedTuple):
    """What was said of the windows that were measured last."""

    windows: SpreadWindows
    asked: int
    parts: list[_FrozenPart]


def _frozen_parts(training: WorldTraining, windows: SpreadWindows, count: int) -> list[_FrozenPart]:
    """Return what does not change with the dynamics; of a LAM that rests it is computed once for the same windows."""
    kept: _Kept | None = training.kept_of_frozen.get(_HELD)
    if kept is not None and kept.windows is windows and kept.asked == count:
        return kept.parts
    compute, lam = training.compute, training.lam
    found = []
    for part in windows.spread(count=count, window=training.config.context).split(8):
        pixels = part.to(compute.device)
        with compute.autocast():
            tokens = training.tokenizer.encode(pixels)
            frames = tokens if lam.reads_tokens else pixels
            prediction = lam(frames)
            assert prediction.quantized is not None
            rows = lam.quantizer.lookup(prediction.quantized.codes)
        quality = lam_quality(prediction.next_frames, frames[:, 1:])
        copied = lam_quality(as_float(frames[:, :-1]), frames[:, 1:])
        found.append(_FrozenPart(tokens, rows, prediction.quantized.codes, quality, copied))
    if training.lam_rests:
        training.kept_of_frozen[_HELD] = _Kept(windows, count, found)
    return found


def _led_by_truth(training: WorldTraining, windows: SpreadWindows, count: int) -> dict[str, Any]:
    """Return the metrics of a dynamics that true actions lead, on the first windows of a fixed order."""
    compute = training.compute
    batch = windows.batch(seed=0, batch=count, window=training.config.context)
    assert training.truth_actions is not None
    transitions = training.config.context - 1
    codes = true_actions(training.truth_actions, batch.places, transitions).to(compute.device)
    each, right, changed = [], [], []
    for part, own in zip(batch.video_BTHWC.split(8), codes.split(8), strict=True):
        with compute.autocast():
            tokens = training.tokenizer.encode(part.to(compute.device))
            loss, hit = last_frame_quality(training.dynamics, tokens, training.lam.quantizer.lookup(own))
        each.append(loss)
        right.append(hit.float())
        changed.append(tokens[:, -1] != tokens[:, -2])
    return {
        **_of_dynamics(torch.cat(each), torch.cat(right), torch.cat(changed)),
        **_of_codes(codes.flatten(), training.lam_config.num_actions),
        "windows": len(codes),
    }


def _of_dynamics(losses: Tensor, hits: Tensor, moved: Tensor) -> dict[str, Any]:
    return {
        "cross_entropy": float(losses.mean()),
        "accuracy": float(hits.mean()),
        "cross_entropy_changed": float(losses[moved].mean()) if bool(moved.any()) else None,
        "accuracy_changed": float(hits[moved].mean()) if bool(moved.any()) else None,
        "changed_share": float(moved.float().mean()),
    }


def _of_codes(codes: Tensor, num_codes: int) -> dict[str, Any]:
    used, perplexity = usage(codes, num_codes)
    return {
        "codes_used": used,
        "code_perplexity": perplexity,
        "code_counts": torch.bincount(codes, minlength=num_codes).tolist(),
    }


@torch.inference_mode()
def alone_metrics(training: WorldTraining, windows: SpreadWindows, *, count: int) -> dict[str, Any]:
    """Return lam_psnr and lam_psnr_copy (or the accuracies) of a LAM that learns alone and does not quantize yet."""
    compute, lam = training.compute, training.lam
    drawn, copies = [], []
    for part in windows.spread(count=count, window=training.config.context).split(8):
        pixels = part.to(compute.device)
        with compute.autocast():
            frames = training.tokenizer.encode(pixels) if lam.reads_tokens else pixels
            prediction = lam(frames, continuous=True)
        drawn += [lam_quality(prediction.next_frames, frames[:, 1:])] * len(part)
        copies += [lam_quality(as_float(frames[:, :-1]), frames[:, 1:])] * len(part)
    return {lam.metric: sum(drawn) / len(drawn), f"{lam.metric}_copy": sum(copies) / len(copies)}
