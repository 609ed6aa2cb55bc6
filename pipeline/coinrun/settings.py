"""Settings of the study on CoinRun: what it sets beside the preset `coinrun`, at toy width and at the paper's."""

from __future__ import annotations

from typing import Any

_SOURCE: dict[str, Any] = {
    # nobody rates what an agent played, and an episode is as long as it is
    "decision": {"mode": "flags", "drop_flags": ["black"], "middle": "keep"},
    "clips": {"mode": "episodes", "min_seconds": 1.7},
    "download": {"actions": "keep", "min_height": 64},
    "split": {"val_share": 0.25, "test_share": 0.0},
}
"""`split`: a level is a channel, so all recordings of a level are held out, or none."""
_NARROW = {"layers": 1, "d_model": 64, "heads": 2, "head_dim": 32}
_OF_PAIRS = {**_NARROW, "temporal_attention": False, "depthwise_conv": "frame"}
_QUICK = {"warmup_steps": 5, "schedule": "late_linear"}
# the demo's ways (pipeline.config.demo_world): the published LAM needs more than a hundred steps to use its codes
_LAM: dict[str, Any] = {
    "patch": 8, "encoder": _OF_PAIRS, "decoder": _OF_PAIRS, "pooling": "antisymmetric", "normalize_latent": True,
    "latent_noise": 1.0, "update_every": 0, "decoder_output": "residual", "pca_start": True, "ema_decay": 0.95,
    "reconstruction_weight": 10.0,
}  # fmt: skip
_TOKENIZER: dict[str, Any] = {
    "encoder": _NARROW, "decoder": _NARROW, "start": "patches", "ema_decay": 0.99, "restart_below": 0.1,
    "reconstruction_weight": 10.0,
}  # fmt: skip
_DYNAMICS: dict[str, Any] = {
    "stack": {**_NARROW, "qk_norm": True}, "full_mask_share": 0.3, "clean_prefix_share": 0.7, "token_noise": 0.1,
    "changed_weight": 2.0, "embedding_start": "codebook",
}  # fmt: skip


def study_settings(spec: str, width: str, steps: int) -> dict[str, Any]:
    """Return the values of a configuration file.

    Args:
        spec: of the source, as `folder:build/coinrun/episodes`.
        width: `toy`: one block of width 64 each, two windows a step, four MaskGIT steps, and the demo's ways to learn
            in few steps; `paper`: the preset's.
        steps: of the tokenizer, and again of the dynamics, at toy width; twice as many of the LAM before it.
    """
    values: dict[str, Any] = {"preset": "coinrun", "source": {"spec": spec, "settle_s": 0}, **_SOURCE}
    if width == "paper":
        return values

    def optimizer(rate: float) -> dict[str, Any]:
        return {**_QUICK, "learning_rate": rate, "final_learning_rate": rate / 50}

    return {
        **values,
        "tokenizer": {**_TOKENIZER, "batch": 2, "steps": steps, "optimizer": optimizer(1e-3), "min_psnr": 1.0},
        "latent_actions": {**_LAM, "unquantized_steps": 2 * steps, "optimizer": optimizer(2e-3)},
        "dynamics": {**_DYNAMICS, "batch": 2, "steps": steps, "optimizer": optimizer(3e-3)},
        "shards": {"samples_per_shard": 16},
        "training": {"device": "cpu", "checkpoint_every": 50, "validate_every": steps, "pictures": 1},
        "evaluation": {
            "maskgit_steps": 4, "windows_per_clip": 1, "random_draws": 1, "drift_contexts": 2, "max_sources": 12,
            "doubt_windows": 1, "doubt_frames": 4, "rollout_frames": 4, "kmeans_patches": 4000,
        },
    }  # fmt: skip
