"""Group `curate`: the quality classifier, its scores, and the decision on every clip."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import dagster as dg

from assets.graph.checks import check_specs, verdict
from assets.graph.clips import clips, near_duplicates
from assets.graph.context import (
    Result,
    Work,
    bars,
    batch_of,
    flat_metrics,
    histogram,
    line,
    materialized,
    table,
    working,
)
from assets.graph.embeddings import clip_embeddings
from assets.graph.label import quality_labels
from assets.graph.ownership import OWNERS
from assets.graph.partitions import VIDEO_BATCH
from assets.graph.records import current_clips, same_ids
from assets.graph.resources import Lampworks
from pipeline.config import ClassifierConfig, fingerprint
from pipeline.storage.arrow import Column, counts, pc, rows_with, total
from pipeline.storage.models_table import ModelRecord, newest_model

# torch and scikit-learn are imported by the step that needs them
if TYPE_CHECKING:
    from classifier.decision.decide import DecisionReport
    from classifier.decision.tradeoff import CurvePoint
    from classifier.training.metrics import CandidateMetrics, ClassifierMetrics

GENIE_KEEP_RATE = 0.124
"""Share of the paper's clips that its classifier kept (Genie App. B.1)."""

_DECIDED_BY = {"classifier": "classifier and flags", "flags": "technical flags alone", "recipe": "a recipe"}


@dg.asset(
    owners=OWNERS,
    code_version="2",
    group_name="curate",
    deps=[clip_embeddings, quality_labels],
    kinds={"scikitlearn", "pytorch"},
    pool="training",
    check_specs=check_specs("quality_classifier"),
)
def quality_classifier(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One published classifier: the best of several candidates, by out-of-fold scores of all rated clips, calibrated.

    Folds are grouped by source, so that every score is by a model that never saw the video; repeated, with intervals.
    Too few labels end the run with a sentence that says how many more are needed.
    """
    with working(context, lampworks) as work:
        from classifier.training.train import train_classifier

        train_classifier(work.job)
        model = newest_model(work.store, "quality_classifier")
        assert model is not None
        return _learned(work, model)


def _learned(work: Work, model: ModelRecord) -> Result:
    from classifier.training.metrics import auc_text

    found = cast("ClassifierMetrics", model.metrics)
    checked = found["held_out"]
    return materialized(
        1,
        model.model_id,
        classifier_checks(found, work.config.classifier),
        {
            "model_id": model.model_id,
            "published": found["published"],
            "why": found["why"],
            "AUC (out of fold)": auc_text(found["headline"]),
            "candidates": table([_candidate(row, found["published"]) for row in found["candidates"]]),
            # a chart of bars would add up what it has no room for
            "probability by rating": table(
                [{"rated": rating, "mean probability": round(mean, 2)} for rating, mean in found["by_rating"].items()]
            ),
            "reliability": table(
                [
                    {
                        "probability": round(one["probability"], 3),
                        "share good": round(one["good"], 3),
                        "clips": one["clips"],
                    }
                    for one in found["calibration"]["bins"]
                ]
            ),
            "held out": auc_text(checked["auc"]) if checked["used"] else checked["why"],
            "promotion": found["promotion"]["why"],
            "numbers": model.parameters,
            **flat_metrics({"headline": found["headline"], "labels": found["labels"]}),
            **flat_metrics({"calibration": {name: found["calibration"][name] for name in _CALIBRATION}}),
            "path": dg.MetadataValue.path(work.store.url(model.path)),
        },
    )


_CALIBRATION: tuple[Literal["brier", "log_loss", "expected_error"], ...] = ("brier", "log_loss", "expected_error")
MOST_CALIBRATION_ERROR = 0.15
"""Expected calibration error that the check accepts; its lower bound is compared."""


def classifier_checks(found: "ClassifierMetrics", config: ClassifierConfig) -> list[dg.AssetCheckResult]:
    """Return the checks of a classifier's metrics; a figure of too few clips fails none of them."""
    from classifier.training.metrics import auc_text
    from classifier.training.train import below_floor

    calibration = found["calibration"]
    error, interval = calibration["expected_error"], calibration["expected_error_interval"]
    far = error is not None and not calibration["few"] and interval is not None and interval[0] > MOST_CALIBRATION_ERROR
    better = [
        row["name"]
        for row in found["candidates"]
        if row["reference"] and (pair := row["below_published"]) is not None and not pair["few"]
        if pair["interval"] is not None and pair["interval"][1] < 0
    ]
    beats = {True: "beats every reference", False: "is level with the best reference", None: "too few to tell"}
    return [
        verdict(
            "quality_classifier",
            "auc_floor",
            not below_floor(found, config),
            f"out-of-fold AUC {auc_text(found['headline'])}, floor {config.min_auc}",
        ),
        verdict(
            "quality_classifier",
            "calibration",
            not far,
            f"expected calibration error {_span(error, interval)} on {calibration['clips']} clips"
            + (": too few to tell" if calibration["few"] else ""),
        ),
        verdict(
            "quality_classifier",
            "against_references",
            not better,
            f"better beyond chance: {', '.join(better)}" if better else beats[found["beats_reference"]],
        ),
    ]


def _candidate(row: "CandidateMetrics", published: str) -> dict[str, str | int | float]:
    from classifier.training.metrics import auc_text

    return {
        "candidate": row["name"] + (" (published)" if row["name"] == published else ""),
        "AUC, good against bad": auc_text(row["auc"]),
        "AUC, 5 against 1": auc_text(row["extremes"]),
        "repeats": row["repeats"],
        "CPU-s": row["cpu_seconds"],
        "note": ": ".join(filter(None, ("for comparison only" if row["reference"] else "", row["note"]))),
    }


def _span(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "not known"
    return f"{value:.3f}" + ("" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})")


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="curate",
    deps=[clips, clip_embeddings, quality_classifier],
    partitions_def=VIDEO_BATCH,
    kinds={"pytorch", "deltalake"},
    check_specs=check_specs("clip_scores"),
)
def clip_scores(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one clip's calibrated probability of being good, under one model version."""
    batch = batch_of(context)
    with working(context, lampworks) as work:
        from classifier.decision.scoring import score_batch

        score_batch(work.batch_job(batch))
        model = newest_model(work.store, "quality_classifier")
        assert model is not None
        ours = (pc.field("batch") == batch) & (pc.field("model_version") == model.model_id)
        rows = work.store.read("scores", ["clip_id", "probability"], ours)
        values = rows["probability"].to_pylist()
        # a clip whose frames cannot be read has a row without a probability: the decision drops it and says why
        unread = values.count(None)
        outside = sum(value is not None and not 0 <= value <= 1 for value in values)
        missing = set(current_clips(work.store, work.config, batch).to_pylist()) - set(rows["clip_id"].to_pylist())
        return materialized(
            len(rows),
            fingerprint(model.model_id, sorted(str(clip_id) for clip_id in rows["clip_id"].to_pylist())),
            [
                verdict(
                    "clip_scores",
                    "in_range",
                    outside == 0,
                    f"{len(rows)} scores, {outside} outside 0..1, {unread} unreadable",
                ),
                verdict("clip_scores", "none_missing", not missing, f"{len(missing)} clips without a score"),
            ],
            {
                "model_version": model.model_id,
                "mean": float(pc.mean(rows["probability"]).as_py() or 0.0),
                "probabilities": histogram([value for value in values if value is not None], 0, 1, "probabilities"),
            },
        )


@dg.asset(
    owners=OWNERS,
    code_version="1",
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
        from classifier.decision.decide import decide

        before = _keep_rate(work.store.read("curated", ["decision"])["decision"])
        report = decide(work.job)
        return _decided(work, report, before)


def _decided(work: Work, report: "DecisionReport", before: float | None) -> Result:
    from classifier.decision.advice import precision_text
    from classifier.decision.content import decided_content

    rows = work.store.read("curated", ["clip_id", "decision", "rating", "split", "rule_version", "model_version"])
    index = current_clips(work.store, work.config)
    found = counts(rows["decision"])
    versions = rows.group_by(["rule_version", "model_version"]).aggregate([])
    rate = _keep_rate(rows["decision"]) or 0.0
    kept = rows_with(rows, "decision", "keep")
    threshold, costs = report.threshold, report.tradeoff["costs"] if report.tradeoff else []
    precision = "no score decides" if threshold is None else precision_text(threshold)
    conserved = same_ids(rows["clip_id"], index) and set(found) <= {"keep", "drop", "review"}
    return materialized(
        len(rows),
        decided_content(work.store),
        [
            verdict(
                "curated_clips", "one_model", len(versions) <= 1, f"{len(versions)} pairs of rule and model version"
            ),
            verdict(
                "curated_clips",
                "conservation",
                conserved,
                f"{len(index)} clips = " + " + ".join(f"{count} {name}" for name, count in found.items()),
            ),
            verdict("curated_clips", "keep_rate", 0.02 <= rate <= 0.9, f"{rate:.1%} kept, Genie {GENIE_KEEP_RATE:.1%}"),
            verdict(
                "curated_clips",
                "precision_bound",
                not report.warning,
                report.warning or precision,
            ),
            verdict(
                "curated_clips",
                "drift",
                before is None or abs(rate - before) <= 0.15,
                "first decision" if before is None else f"{before:.1%} before, {rate:.1%} now",
            ),
        ],
        {
            **{name: found.get(name, 0) for name in ("keep", "drop", "review")},
            "keep rate": rate,
            "decided by": _DECIDED_BY[work.config.decision.mode],
            "precision": precision,
            **(
                {}
                if threshold is None
                else {"threshold": threshold["threshold"], "threshold set by": threshold["rule"]}
            ),
            "reasons": bars(report.reasons, "reasons"),
            "hard rules": bars({cost["rule"]: cost["clips"] for cost in costs}, "clips by hard rule"),
            "hard rules in full": table(costs),
            **_trade(report.tradeoff["curve"] if report.tradeoff else []),
            "splits of kept": bars(counts(kept["split"]), "splits of kept"),
        },
    )


def _trade(curve: Sequence["CurvePoint"]) -> dict[str, Any]:
    """Return what other thresholds would keep and be worth: two curves, and some of their points as a table."""
    if not curve:
        return {}
    names: tuple[Literal["threshold", "hours", "precision", "recall"], ...] = (
        "threshold", "hours", "precision", "recall",
    )  # fmt: skip
    sure = [point["precision"] for point in curve if point["precision"] is not None and point["rated"] >= 20]
    return {
        "precision by threshold": line(sure, "precision by threshold"),
        "hours by threshold": line([point["hours"] for point in curve], "hours kept by threshold"),
        "thresholds": table([{name: point[name] for name in names} for point in curve[::5]]),
    }


def _keep_rate(decisions: Column) -> float | None:
    return total(pc.equal(decisions, "keep")) / len(decisions) if len(decisions) else None
