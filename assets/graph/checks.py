"""The checks of the graph: their names, what each one verifies, and which of them block.

They ride in the asset's own step (`check_specs`): a check of its own would be another process. A blocking check that
fails stops everything behind its asset; what it asks is also verified by the stage before it publishes.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipeline.outside import shown_text, shown_values

# asset -> check -> (blocks, what it asks)
CHECKS: dict[str, dict[str, tuple[bool, str]]] = {
    "search_results": {
        "rules_hold": (
            True,
            "Every stored verdict equals the one that the search rules give.",
        ),
        "new_videos": (False, "The search found videos that were not known."),
    },
    "raw_videos": {
        "conservation": (
            True,
            "Every video of the batch is downloaded, failed, rejected, pending or taken down, and every file is there.",
        ),
        "decodable_share": (False, "The share of videos that did not fail stays above the configured floor."),
        "site_open": (False, "No site of the batch is paused by the circuit breaker (its videos stay pending)."),
        "paused": (False, "Downloads were not held back by a full disk, a quota or a daily limit."),
    },
    "clips": {
        "clip_format": (True, "Every clip has the configured frames, size and rate (160 frames, 160x90, 10 FPS)."),
        "conservation": (
            True,
            "Source time = clip time + remainder + lost for every video, as its packets say, and no video is missing.",
        ),
    },
    "clip_embeddings": {
        "none_missing": (True, "Every clip of the batch has an embedding of the configured network, or its reason."),
        "unreadable": (False, "The frames of every clip could be read."),
    },
    "near_duplicates": {
        "groups_cover_index": (True, "Every clip is in exactly one group, and every group has one representative."),
        "members_close": (True, "What moves in a copy agrees with its representative, all but 15 percent."),
    },
    "label_queue": {"strata_sizes": (False, "There are clips to label, from more than one source.")},
    "quality_labels": {
        "rating_range": (True, "Every rating lies between 1 and 5."),
        "coverage": (False, "There are enough good and bad clips for the classifier."),
        "agreement": (
            False,
            "Where several people rated a clip, they agree: Krippendorff's alpha reaches the configured floor.",
        ),
    },
    "quality_classifier": {
        "auc_floor": (True, "The out-of-fold AUC can reach the configured floor; too few clips refuse nothing."),
        "calibration": (False, "Probabilities agree with shares on sources that they were not fitted on."),
        "against_references": (False, "Neither motion alone nor a flag alone is better beyond chance."),
    },
    "clip_scores": {
        "in_range": (True, "Every probability lies between 0 and 1."),
        "none_missing": (True, "Every clip of the batch has a score of the current model."),
    },
    "curated_clips": {
        "one_model": (True, "All batches were decided under one rule and one model version."),
        "conservation": (True, "Every clip has one decision: keep, drop or review."),
        "keep_rate": (False, "The share kept is plausible (Genie kept 12.4 % of its clips)."),
        "precision_bound": (
            False,
            "The keep threshold reaches its target precision on rated clips, out of fold; else it says what would.",
        ),
        "drift": (False, "The share kept moved little against the decision before."),
    },
    "curation_audit": {
        "kept_precision": (False, "The audit of the kept clips does not contradict the target precision."),
        "slices": (False, "No resolution and no year of upload of 20 clips or more is all kept or all left."),
        "drift": (
            False,
            "Scores and measurements moved little since the decision before: PSI below 0.25 beyond chance.",
        ),
        "churn": (False, "Few clips have another verdict than in the decision before (at most 20 percent)."),
    },
    "training_shards": {
        "counts_and_checksums": (True, "Every tar is there with the samples, bytes and sha256 that its row names."),
        "no_taken_down": (True, "No shard holds a clip of a video or channel that was taken down."),
        "no_leak": (True, "No source and no duplicate group lies in two of train, val and test."),
    },
    "token_shards": {
        "conservation": (True, "Every clip of the shards has tokens, or its reason why not."),
        "same_as_encoding": (True, "Clips that are encoded again have the tokens that are stored."),
    },
    "video_tokenizer": {
        "psnr_floor": (True, "Reconstructions beat a constant picture: PSNR reaches the floor."),
        "codebook_usage": (False, "A fair share of the codebook is used."),
    },
    "world_model": {
        "finite": (True, "All losses and metrics are finite numbers."),
        "control": (False, "Several latent actions are in use; control itself is measured by world_evaluation."),
    },
    "world_evaluation": {
        "gates": (False, "Every metric of the evaluation reaches its threshold."),
        "control": (
            False,
            "Delta-t PSNR with the clip's own actions permuted reaches its gate with its whole interval.",
        ),
        "action_information": (
            False,
            "Latent actions inform about true actions more than by chance.",
        ),
        "character": (False, "The character of the embedded game is kept in long rollouts; other sources pass."),
        "character_place": (
            False,
            "The character stands where left, stand, right and jump put it; other sources pass.",
        ),
        "delta_t_psnr": (False, "The interval of delta-t PSNR reaches the best evaluation before this one."),
    },
    "playable_world": {"loads_and_steps": (True, "The world loads and answers each of its actions with a frame.")},
    "curation_ablation": {
        "beats_random": (False, "Trained on curated clips, the model is better than on as many random clips.")
    },
    "study": {"tells": (False, "The study has the seeds and held-out sources that its differences need.")},
}


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """Return the check specs of an asset."""
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=blocks, description=asks)
        for name, (blocks, asks) in CHECKS[asset].items()
    ]


def verdict(
    asset: str, name: str, passed: bool, description: str = "", metadata: Mapping[str, Any] | None = None
) -> dg.AssetCheckResult:
    """Return a check's result: a blocking one fails as an error, any other as a warning."""
    blocks, _ = CHECKS[asset][name]
    return dg.AssetCheckResult(
        passed=bool(passed),
        check_name=name,
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description=shown_text(description) or None,
        metadata=shown_values(dict(metadata or {})),
    )
