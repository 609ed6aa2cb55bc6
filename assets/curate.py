"""Group `curate`: the quality classifier, its scores, and the decision on every clip."""

from collections import Counter
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.checks import check_specs, verdict
from assets.clips import clips, near_duplicates
from assets.label import quality_labels
from assets.partitions import VIDEO_BATCH
from assets.records import current_clips, latest_model
from assets.resources import Lampworks
from assets.work import Result, Work, bars, batch_of, figures, histogram, materialized, working
from pipeline.config import fingerprint

GENIE_KEEP_RATE = 0.124
"""Share of the paper's clips that its classifier kept (Genie App. B.1)."""


@dg.asset(
    group_name="curate", deps=[quality_labels], kinds={"pytorch"}, pool="training",
    check_specs=check_specs("quality_classifier"),
)  # fmt: skip
def quality_classifier(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One published classifier: a ResNet18 on single frames, clips rated 5 against clips rated 1, calibrated.

    Split by source, so that its figures are of videos it never saw; measured against a scikit-learn baseline on the
    hand-made features. Too few labels end the run with a sentence that says how many more are needed.
    """
    with working(context, lampworks) as work:
        from classifier.training import train_classifier

        train_classifier(work.store, work.config, listen=work.listen)
        model = latest_model(work.store, "quality_classifier")
        assert model is not None
        return _learned(work, model)


def _learned(work: Work, model: dict[str, Any]) -> Result:
    found = model["figures"]
    judged, floor, error = found["judged"], work.config.classifier.min_auc, found["calibration_error"]
    headline = {name: (found[name] or {}).get("value") for name in ("auc", "baseline_auc", "single_flag_auc")}
    return materialized(
        1,
        model["model_id"],
        [
            verdict(
                "quality_classifier",
                "auc_floor",
                judged["auc"] is not None and judged["auc"] >= floor,
                f"AUC {_text(judged['auc'])} on {judged['on']}, floor {floor}",
            ),
            verdict(
                "quality_classifier",
                "calibration",
                error is not None and error <= 0.15,
                f"expected calibration error {_text(error)}",
            ),
            verdict(
                "quality_classifier",
                "beats_baseline",
                found["beats_baseline"] is not False and found["beats_best_flag"] is not False,
                ", ".join(f"{name} {_text(value)}" for name, value in headline.items()),
            ),
        ],
        {
            "model_id": model["model_id"],
            "parameters": model["parameters"],
            "steps": model["steps"],
            **figures({name: value for name, value in found.items() if name not in ("held_out", "out_of_fold")}),
            "path": dg.MetadataValue.path(work.store.url(model["path"])),
        },
    )


def _text(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


@dg.asset(
    group_name="curate",
    deps=[clips, quality_classifier],
    partitions_def=VIDEO_BATCH,
    kinds={"pytorch", "deltalake"},
    check_specs=check_specs("clip_scores"),
)
def clip_scores(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one clip's calibrated probability of being good, under one model version."""
    batch = batch_of(context)
    with working(context, lampworks) as work:
        from classifier.scoring import score_batch

        score_batch(work.store, work.config, batch, listen=work.listen)
        model = latest_model(work.store, "quality_classifier")
        assert model is not None
        ours = (pc.field("batch") == batch) & (pc.field("model_version") == model["model_id"])
        rows = work.store.read("scores", ["clip_id", "probability"], ours)
        values = rows["probability"].to_pylist()
        outside = sum(value is None or not 0 <= value <= 1 for value in values)
        missing = current_clips(work.store, work.config, batch) - set(rows["clip_id"].to_pylist())
        return materialized(
            len(rows),
            fingerprint(model["model_id"], sorted(str(clip_id) for clip_id in rows["clip_id"].to_pylist())),
            [
                verdict("clip_scores", "in_range", outside == 0, f"{len(rows)} scores, {outside} outside 0..1"),
                verdict("clip_scores", "none_missing", not missing, f"{len(missing)} clips without a score"),
            ],
            {
                "model_version": model["model_id"],
                "mean": float(pc.mean(rows["probability"]).as_py() or 0.0),
                "probabilities": histogram([value for value in values if value is not None], 0, 1, "probabilities"),
            },
        )


@dg.asset(
    group_name="curate",
    deps=[clip_scores, near_duplicates, quality_labels],
    kinds={"python", "deltalake"},
    check_specs=check_specs("curated_clips"),
)
def curated_clips(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one clip's decision (keep, drop or review) with its reason, its rule and its model version.

    Over all batches at once, from scores, flags, duplicates and labels; changing a threshold changes this asset only.
    With `decision.mode: flags` it needs no labels and decides by technical flags alone.
    """
    with working(context, lampworks) as work:
        from classifier.decision import decide

        before = _keep_rate(work.store.read("curated", ["decision"])["decision"])
        decide(work.store, work.config)
        return _decided(work, before)


def _decided(work: Work, before: float | None) -> Result:
    rows = work.store.read(
        "curated", ["clip_id", "decision", "reason", "probability", "rating", "split", "rule_version", "model_version"]
    )
    decisions = Counter(rows["decision"].to_pylist())
    reasons = Counter(rows["reason"].to_pylist())
    versions = set(zip(rows["rule_version"].to_pylist(), rows["model_version"].to_pylist(), strict=True))
    index = current_clips(work.store, work.config)
    decided = rows["clip_id"].to_pylist()
    rate = _keep_rate(rows["decision"]) or 0.0
    rated = [
        row for row in rows.select(["decision", "rating"]).to_pylist() if row["decision"] == "keep" and row["rating"]
    ]
    good = sum(row["rating"] >= 4 for row in rated)
    precision = good / len(rated) if rated else None
    flags_only = work.config.decision.mode == "flags"
    return materialized(
        len(rows),
        work.store.version("curated"),
        [
            verdict(
                "curated_clips", "one_model", len(versions) <= 1, f"{len(versions)} pairs of rule and model version"
            ),
            verdict(
                "curated_clips",
                "conservation",
                len(decided) == len(set(decided)) and set(decided) == index,
                f"{len(index)} clips = " + " + ".join(f"{count} {name}" for name, count in sorted(decisions.items())),
            ),
            verdict(
                "curated_clips", "keep_rate", 0.02 <= rate <= 0.9, f"{rate:.1%} kept (paper {GENIE_KEEP_RATE:.1%})"
            ),
            verdict(
                "curated_clips",
                "precision_bound",
                precision is None or precision >= work.config.decision.target_precision,
                "no kept clip is labelled"
                if precision is None
                else f"{good} of {len(rated)} labelled kept clips are 4 or 5",
            ),
            verdict(
                "curated_clips",
                "drift",
                before is None or abs(rate - before) <= 0.15,
                "first decision" if before is None else f"{before:.1%} before, {rate:.1%} now",
            ),
        ],
        {
            "keep": decisions["keep"],
            "drop": decisions["drop"],
            "review": decisions["review"],
            "keep rate": rate,
            "decided by": "technical flags alone: no labels were used" if flags_only else "classifier and flags",
            "reasons": bars({str(reason): count for reason, count in reasons.most_common()}, "reasons"),
            "splits of kept": bars(_kept_splits(rows), "splits of kept"),
        },
    )


def _keep_rate(decisions: "pa.ChunkedArray[Any]") -> float | None:
    if not len(decisions):
        return None
    return float(pc.sum(pc.cast(pc.equal(decisions, pa.scalar("keep")), "int64")).as_py() or 0) / len(decisions)


def _kept_splits(rows: pa.Table) -> dict[str, float]:
    kept = rows.filter(pc.equal(rows["decision"], pa.scalar("keep")))
    return dict(Counter(str(split) for split in kept["split"].to_pylist()))
