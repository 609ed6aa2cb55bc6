"""Group `curate`: the quality classifier, its scores, and the decision on every clip."""

from collections.abc import Mapping

import dagster as dg

from assets.graph.checks import check_specs, verdict
from assets.graph.clips import clips, near_duplicates
from assets.graph.context import Result, Work, bars, batch_of, flat_metrics, histogram, materialized, working
from assets.graph.embeddings import clip_embeddings
from assets.graph.label import quality_labels
from assets.graph.ownership import OWNERS
from assets.graph.partitions import VIDEO_BATCH
from assets.graph.records import current_clips, same_ids
from assets.graph.resources import Lampworks
from pipeline.config import fingerprint
from pipeline.storage.arrow import Column, counts, pc, rows_with, total
from pipeline.storage.models_table import ModelRecord, newest_model

GENIE_KEEP_RATE = 0.124
"""Share of the paper's clips that its classifier kept (Genie App. B.1)."""

_DECIDED_BY = {"classifier": "classifier and flags", "flags": "technical flags alone", "recipe": "a recipe"}


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="curate",
    deps=[clip_embeddings, quality_labels],
    kinds={"pytorch"},
    pool="training",
    check_specs=check_specs("quality_classifier"),
)
def quality_classifier(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One published classifier: a ResNet18 on single frames, clips rated 5 against clips rated 1, calibrated.

    Split by source, so that its metrics are of videos it never saw; measured against a scikit-learn baseline on the
    hand-made features. Too few labels end the run with a sentence that says how many more are needed.
    """
    with working(context, lampworks) as work:
        from classifier.training.train import train_classifier

        train_classifier(work.job)
        model = newest_model(work.store, "quality_classifier")
        assert model is not None
        return _learned(work, model)


def _learned(work: Work, model: ModelRecord) -> Result:
    found = model.metrics
    judged, floor, error = found["judged"], work.config.classifier.min_auc, found["calibration_error"]
    headline = {name: (found[name] or {}).get("value") for name in ("auc", "baseline_auc", "single_flag_auc")}
    return materialized(
        1,
        model.model_id,
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
            "model_id": model.model_id,
            "parameters": model.parameters,
            "steps": model.steps,
            **flat_metrics({name: value for name, value in found.items() if name not in ("held_out", "out_of_fold")}),
            "path": dg.MetadataValue.path(work.store.url(model.path)),
        },
    )


def _text(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


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
        return _decided(work, report.reasons, before)


def _decided(work: Work, reasons: Mapping[str, int], before: float | None) -> Result:
    from classifier.decision.content import decided_content

    rows = work.store.read("curated", ["clip_id", "decision", "rating", "split", "rule_version", "model_version"])
    index = current_clips(work.store, work.config)
    found = counts(rows["decision"])
    versions = rows.group_by(["rule_version", "model_version"]).aggregate([])
    rate = _keep_rate(rows["decision"]) or 0.0
    kept = rows_with(rows, "decision", "keep")
    rated = kept["rating"].drop_null()
    good = total(pc.greater_equal(rated, work.config.classifier.good_rating))
    precise = not len(rated) or good / len(rated) >= work.config.decision.target_precision
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
                precise,
                f"{good} of {len(rated)} labelled kept clips are good" if len(rated) else "no kept clip is labelled",
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
            "reasons": bars(reasons, "reasons"),
            "splits of kept": bars(counts(kept["split"]), "splits of kept"),
        },
    )


def _keep_rate(decisions: Column) -> float | None:
    return total(pc.equal(decisions, "keep")) / len(decisions) if len(decisions) else None
