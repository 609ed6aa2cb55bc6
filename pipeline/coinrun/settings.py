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
_QUICK = {"warmup_steps": 5, "schedule": "late_linear"}


def study_settings(spec: str, width: str, steps: int) -> dict[str, Any]:
    """Return the values of a configuration file.

    Args:
        spec: of the source, as `folder:build/coinrun/episodes`.
        width: `toy`: one block of width 64 each, two windows a step, four MaskGIT steps; `paper`: the preset's.
        steps: of the tokenizer, and again of the world, at toy width.
    """
    values: dict[str, Any] = {"preset": "coinrun", "source": {"spec": spec, "settle_s": 0}, **_SOURCE}
    if width == "paper":
        return values

    def optimizer(rate: float) -> dict[str, Any]:
        return {**_QUICK, "learning_rate": rate, "final_learning_rate": rate / 50}

    return {
        **values,
        "tokenizer": {
            "encoder": _NARROW, "decoder": _NARROW, "batch": 2, "steps": steps, "optimizer": optimizer(3e-3),
            "min_psnr": 1.0,
        },
        "latent_actions": {"encoder": _NARROW, "decoder": _NARROW, "optimizer": optimizer(1e-3)},
        "dynamics": {"stack": {**_NARROW, "qk_norm": True}, "batch": 2, "steps": steps, "optimizer": optimizer(3e-3)},
        "shards": {"samples_per_shard": 16},
        "training": {"device": "cpu", "checkpoint_every": 50, "validate_every": steps, "pictures": 1},
        "evaluation": {
            "maskgit_steps": 4, "windows_per_clip": 1, "random_draws": 1, "drift_contexts": 2, "max_sources": 12,
            "doubt_windows": 1, "doubt_frames": 4, "rollout_frames": 4, "kmeans_patches": 4000,
        },
    }  # fmt: skip
