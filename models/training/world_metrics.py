"""Measure a trained world on a fixed set of windows."""

from __future__ import annotations

from typing import Any

import torch

from models.networks.dynamics import last_frame_quality
from models.networks.patches import as_float
from models.networks.quantizer import usage
from models.training.code_metrics import lam_quality
from models.training.data import ClipWindows
from models.training.world_training import WorldTraining


@torch.inference_mode()
def world_metrics(training: WorldTraining, windows: ClipWindows, *, count: int) -> dict[str, Any]:
    """Return metrics on a fixed set of windows.

    cross_entropy (nat, last frame wholly masked, the others given) and accuracy (share of tokens predicted correctly);
    cross_entropy_changed and accuracy_changed, of the tokens that differ from the frame before (None where there are
    none), and changed_share, their share; lam_psnr and lam_psnr_copy (dB; of copying the frame before), or
    lam_accuracy and lam_accuracy_copy (shares of tokens) of a LAM that reads tokens; codes_used, code_counts,
    code_perplexity.
    """
    compute, lam = training.compute, training.lam
    video = windows.spread(count=count, window=training.config.context)
    each, right, changed, drawn, copies, codes = [], [], [], [], [], []
    for part in video.split(8):
        pixels = part.to(compute.device)
        with compute.autocast():
            tokens = training.tokenizer.encode(pixels)
            frames = tokens if lam.reads_tokens else pixels
            prediction = lam(frames)
            assert prediction.quantized is not None
            rows = lam.quantizer.lookup(prediction.quantized.codes)
            loss, hit = last_frame_quality(training.dynamics, tokens, rows)
        each.append(loss)
        right.append(hit.float())
        changed.append(tokens[:, -1] != tokens[:, -2])
        drawn += [lam_quality(prediction.next_frames, frames[:, 1:])] * len(part)
        copies += [lam_quality(as_float(frames[:, :-1]), frames[:, 1:])] * len(part)
        codes.append(prediction.quantized.codes.flatten())
    losses, hits, moved, all_codes = torch.cat(each), torch.cat(right), torch.cat(changed), torch.cat(codes)
    used, perplexity = usage(all_codes, lam.config.num_actions)
    return {
        "cross_entropy": float(losses.mean()),
        "accuracy": float(hits.mean()),
        "cross_entropy_changed": float(losses[moved].mean()) if bool(moved.any()) else None,
        "accuracy_changed": float(hits[moved].mean()) if bool(moved.any()) else None,
        "changed_share": float(moved.float().mean()),
        lam.metric: sum(drawn) / len(drawn),
        f"{lam.metric}_copy": sum(copies) / len(copies),
        "codes_used": used,
        "code_perplexity": perplexity,
        "code_counts": torch.bincount(all_codes, minlength=lam.config.num_actions).tolist(),
        "windows": len(video),
    }
