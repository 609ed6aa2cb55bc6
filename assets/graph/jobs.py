"""The jobs of a full pass, and which job makes which assets: the one place that says so.

No job mixes assets per batch with assets of the whole store: a run without a partition key fails at an asset per batch,
and a run with one would make a global asset once per batch. So a full pass is several runs, in the order of `JOBS`,
launched by `assets.passes.driver`. What an asset is made from is said by its `deps` alone.
"""

import dagster as dg

# job -> the assets it makes, in the order of a full pass
JOBS: dict[str, tuple[str, ...]] = {
    "discover": ("search_results",),
    "collect_batch": ("raw_videos", "clips", "clip_embeddings"),
    "compare_clips": ("near_duplicates",),
    "label": ("label_queue", "quality_labels"),
    "learn": ("quality_classifier",),
    "score_batch": ("clip_scores",),
    "decide": ("curated_clips", "training_shards", "curation_audit"),
    "train_world_model": ("video_tokenizer", "world_model"),
    "encode_tokens": ("token_shards",),
    "evaluate": ("world_evaluation", "playable_world"),
    "ablate": ("curation_ablation",),
    "make_study": ("study",),
}
_DESCRIPTIONS = {
    "discover": "Search the source and register new batches.",
    "collect_batch": "Download one batch of videos, cut it into clips and embed them; needs a partition.",
    "compare_clips": "Find near-duplicates over all batches.",
    "label": "Choose clips to label and collect the labels.",
    "learn": "Train the quality classifier on the labels.",
    "score_batch": "Score the clips of one batch; needs a partition.",
    "decide": "Keep, drop or review every clip, write the training shards, and audit the decision.",
    "train_world_model": "Train the tokenizer, then latent actions and dynamics. Never started by itself.",
    "encode_tokens": "Encode the training shards with the frozen tokenizer. Made on request only.",
    "evaluate": "Measure the configured world on held-out sources and see that it can be played.",
    "ablate": "Compare worlds of all, curated and random clips. Trains nine, on request only: needs `confirm: true`.",
    "make_study": "Make one study of small models, on request only: needs `confirm: true` and the study's name.",
}
ON_REQUEST = frozenset([*JOBS["encode_tokens"], *JOBS["ablate"], *JOBS["make_study"]])
"""Assets that a pass makes only where they are named."""

UP_TO_SHARDS: tuple[str, ...] = tuple(
    asset
    for job, assets in JOBS.items()
    if job not in {"train_world_model", "encode_tokens", "evaluate", "ablate", "make_study"}
    for asset in assets
)
"""What is made without training: a re-curation ends there."""

jobs = [
    dg.define_asset_job(name, selection=list(assets), description=_DESCRIPTIONS[name]) for name, assets in JOBS.items()
]
