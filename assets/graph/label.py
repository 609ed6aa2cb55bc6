"""Group `label`: which clips people are asked about, and what they said."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from assets.graph.checks import check_specs, verdict
from assets.graph.clips import clips, near_duplicates
from assets.graph.context import Result, Work, bars, materialized, working
from assets.graph.embeddings import clip_embeddings
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from pipeline.config import fingerprint
from pipeline.label_events import load_labels
from pipeline.outside import shown_text
from pipeline.progress import notify
from pipeline.storage.arrow import pc

if TYPE_CHECKING:
    from classifier.labels.agreement import Agreement


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="label",
    deps=[clips, clip_embeddings, near_duplicates],
    kinds={"python", "json"},
    check_specs=check_specs("label_queue"),
)
def label_queue(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One entry is one clip that a person is asked to rate, in the order of the queue.

    A seeded draw over sources, with few clips of one source and copies last, and once clips are scored a model's
    choices between them: uncertain clips, and samples from above and below the keep threshold. `lampworks label`
    serves it.
    """
    with working(context, lampworks) as work:
        from classifier.labels.queue import QUEUE_KEY, write_queue

        report = write_queue(work.job)
        return materialized(
            report.size,
            fingerprint(hashlib.sha256(work.store.read_blob(QUEUE_KEY)).hexdigest()),
            [
                verdict(
                    "label_queue",
                    "strata_sizes",
                    report.size > 0 and report.sources > 1,
                    f"{report.size} clips of {report.sources} sources: "
                    + ", ".join(f"{count} {stream}" for stream, count in report.strata.items()),
                )
            ],
            {
                "clips": report.size,
                "sources": report.sources,
                "streams": bars(dict(report.strata), "streams"),
                "streams without clips": dg.MetadataValue.json(dict(report.missing)),
                "path": dg.MetadataValue.path(work.store.url(QUEUE_KEY)),
            },
        )


class LabelSource(dg.Config):
    """Where labels come from beside the labelling page."""

    file: str = Field(default="", description="CSV or Parquet of labels to import first; empty: none.")
    annotator: str = Field(default="import", description="Who rated the clips of that file.")


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="label",
    deps=[clips, label_queue],
    kinds={"python", "deltalake"},
    check_specs=check_specs("quality_labels"),
)
def quality_labels(context: dg.AssetExecutionContext, config: LabelSource, lampworks: Lampworks) -> Result:
    """One row of `labels` is one event of one person about one clip; the label is what the events amount to.

    Collects what the labelling page wrote into its journal, a file if one is named, and, for the embedded source,
    what it knows of its own recordings (annotator `arcade`: it stands in for a person and says so).
    """
    with working(context, lampworks) as work:
        from classifier.labels.agreement import agreement_sentence, measure_agreement
        from classifier.labels.import_file import import_labels
        from classifier.labels.stand_in import import_truth
        from classifier.labels.sync import sync_journal

        added = {"page": sync_journal(work.job)}
        if config.file:
            imported = import_labels(work.store, config.file, config.annotator, work.config)
            added["file"] = imported.added
            context.log.info(
                f"{config.file}: {imported.rows} rows, {imported.resolved} resolved, {imported.unresolved} not"
            )
            for note in imported.notes():
                notify(f"{config.file}: {shown_text(note)}", work.job.on_progress)
        if work.config.source.kind == "arcade":
            added["arcade"] = import_truth(work.job)
        labels = load_labels(work.store, work.config)
        agreement = measure_agreement(labels.events, labels.repeats)
        return materialized(
            len(labels.ratings),
            work.store.version("labels"),
            _checks(work, labels.by_rating, agreement),
            {
                "labelled clips": len(labels.ratings),
                "by people": len(labels.by_people),
                "unresolved": labels.unresolved,
                "added": sum(added.values()),
                "ratings": bars({str(rating): count for rating, count in labels.by_rating.items()}, "ratings"),
                "agreement": agreement_sentence(agreement),
                "agreement in full": dg.MetadataValue.json(agreement),
                "annotators": bars(dict(labels.annotators), "annotators"),
            },
        )


def _checks(work: Work, by_rating: Mapping[int, int], agreement: "Agreement") -> list[dg.AssetCheckResult]:
    ratings = Counter(work.store.read("labels", ["rating"], pc.field("kind") == "rate")["rating"].to_pylist())
    outside = sum(count for rating, count in ratings.items() if rating not in (1, 2, 3, 4, 5))
    need, good_rating = work.config.labels.min_per_class, work.config.classifier.good_rating
    good = sum(count for rating, count in by_rating.items() if rating >= good_rating)
    bad = sum(count for rating, count in by_rating.items() if rating <= min(2, good_rating - 1))
    return [
        verdict(
            "quality_labels", "rating_range", outside == 0, f"{sum(ratings.values())} ratings, {outside} outside 1..5"
        ),
        verdict(
            "quality_labels",
            "coverage",
            work.config.decision.mode != "classifier" or min(good, bad) >= need,
            f"{good} good clips (rated {good_rating} or more), {bad} bad ones; the classifier needs {need} of each",
        ),
        agreement_check(agreement, work.config.labels.min_agreement),
    ]


def agreement_check(agreement: "Agreement", least: float) -> dg.AssetCheckResult:
    """Return whether people agree as far as is asked; few clips with several ratings fail nothing."""
    from classifier.labels.agreement import agreement_sentence

    alpha, sentence = agreement["alpha"], agreement_sentence(agreement)
    if alpha["few"] or alpha["value"] is None:
        return verdict("quality_labels", "agreement", True, sentence)
    asked = f"{sentence}; at least {least:g} is asked (labels.min_agreement)"
    return verdict("quality_labels", "agreement", alpha["value"] >= least, asked)
