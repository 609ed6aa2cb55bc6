"""Count the state of every stage of a store, from found videos to the metrics of the world model.

    found = status(store, config)
    print(format_status(found))

Arrow counts columns while they are read, so that memory grows with the number of videos and not with that of clips.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipeline.bootstrap import few_sources, stored_ends
from pipeline.clip_spec import clip_spec
from pipeline.clips.duplicates import duplicates_are_current
from pipeline.clips.read import scan_clips
from pipeline.config import Config
from pipeline.costs.stages import stage_costs
from pipeline.download.circuit_breaker import breakers
from pipeline.download.ledger import fold_attempts
from pipeline.footage.losses import disagrees, lost_ms_by_reason
from pipeline.inspect.audit_text import curation_lines
from pipeline.inspect.clips_by_video import ClipsByVideo
from pipeline.inspect.conservation import violations
from pipeline.inspect.curation import classifier_status, threshold_status
from pipeline.inspect.status_types import (
    ClipsStatus,
    CuratedStatus,
    DownloadsStatus,
    FvdStatus,
    LabelsStatus,
    MetricStatus,
    ModelsStatus,
    ModelStatus,
    ShardsStatus,
    SiteStatus,
    SplitStatus,
    StoreStatus,
    TokensStatus,
    UncoveredStatus,
    VideosStatus,
)
from pipeline.label_events import load_labels
from pipeline.model_choice import ModelsInUse, models_in_use
from pipeline.model_ids import EVALUATION
from pipeline.shards.read import current_shards, read_manifest
from pipeline.shards.reasons import reason_families
from pipeline.shards.splits import SPLITS
from pipeline.shards.write import shards_are_current
from pipeline.storage.arrow import Column, counts, pc, rows_with, rows_without, texts, total
from pipeline.storage.models_table import ModelRecord, all_models
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.snapshot import snapshot_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.uncovered import count_situations

_BATCH_ROWS = 1 << 17


def status(store: Store, config: Config, used: ModelsInUse | None = None) -> StoreStatus:
    """Return the state of every stage, with the totals that do not balance.

    Args:
        store: the store.
        config: its clip settings say which `clip_spec` is current; clips of other ones are not counted.
        used: the models whose metrics are told; those that the configuration stands for where None.
    """
    store = snapshot_of(store)
    spec = clip_spec(config.clips)
    hidden = texts(taken_down(store).hidden_videos(store))
    # the largest first: tables of a million videos are not held beside it, nor longer than they are needed
    attempts = fold_attempts(store)
    videos = store.read("videos", ["video_id", "verdict", "rule", "licence"])
    found_videos, downloads = _videos(store, videos), _downloads(videos, attempts, hidden)
    del videos
    decision = _decision(store, spec, hidden)
    clips, undecided = _clips(store, config, attempts, hidden, decision.videos)
    used = used or models_in_use(store, config)
    found = StoreStatus(
        root=store.root,
        videos=found_videos,
        downloads=downloads,
        sites=_sites(store),
        clips=clips,
        labels=_labels(store, config),
        curated=_curated(store, decision, undecided),
        shards=_shards(store, config),
        tokens=_tokens(store),
        models=_models(store, used, decision.model_version),
        classifier=classifier_status(used.classifier),
        evaluation=_evaluation(used.evaluation),
        fvd=_fvd(used.evaluation),
        evaluation_current=used.evaluation is None or used.evaluation_is_current,
        uncovered=_uncovered(store),
        costs=stage_costs(store),
        deleted_rows={name: rows for name in SCHEMAS if (rows := store.deleted_rows(name))},
    )
    return dataclasses.replace(found, violations=violations(found))


# -- videos and downloads -----------------------------------------------------------------------------------------


def _videos(store: Store, videos: pa.Table) -> VideosStatus:
    """Count videos by the searches' own count and by the rows of `videos`.

    A search that was killed between its two commits counted fewer videos than there are rows, which is no loss. It is
    one where there are fewer rows than the searches counted.
    """
    announced = total(store.read("searches", ["new"])["new"])
    removed = total(store.read("takedowns", ["removed"])["removed"])
    kept = rows_with(videos, "verdict", "kept")
    return VideosStatus(
        removed=removed,
        found=max(announced, len(videos) + removed),
        kept=len(kept),
        licences=counts(pc.fill_null(kept["licence"], "unknown")),
        rejected=counts(rows_without(videos, "verdict", "kept")["rule"]),
    )


def _downloads(videos: pa.Table, attempts: pa.Table, hidden: Column) -> DownloadsStatus:
    """Count kept videos by their state; those without an attempt are pending."""
    kept = rows_with(videos, "verdict", "kept")
    shown = rows_without(kept, "video_id", hidden)
    tried = rows_without(attempts, "video_id", hidden)
    states = counts(tried["state"])
    again = counts(pc.fill_null(rows_with(tried, "state", "pending")["error_class"], "due again"))
    untried = len(rows_without(shown, "video_id", tried["video_id"]))
    return DownloadsStatus(
        ok=states.get("ok", 0),
        failed=counts(rows_with(tried, "state", "failed")["error_class"]),
        rejected=counts(rows_with(tried, "state", "rejected")["error_class"]),
        pending=states.get("pending", 0) + untried,
        pending_by_class={**({"new": untried} if untried else {}), **again},
        taken_down=len(kept) - len(shown),
    )


def _sites(store: Store) -> dict[str, SiteStatus]:
    """Return the circuit breaker of every site that has refused, as of now."""
    now = datetime.now(UTC)
    return {
        site: SiteStatus(
            state=breaker.state_at(now),
            refusals=breaker.refusals,
            error_class=breaker.error_class,
            message=breaker.message,
            changed_at=breaker.changed_at.isoformat(),
            next_try_at=None if breaker.next_try_at is None else breaker.next_try_at.isoformat(),
        )
        for site, breaker in sorted(breakers(store).items())
    }


# -- clips --------------------------------------------------------------------------------------------------------

_CUT_COLUMNS = ["video_id", "state", "error_class", "num_clips", "source_ms", "remainder_ms", "lost", "packets_ms"]


def _clips(
    store: Store, config: Config, attempts: pa.Table, hidden: Column, decided: Column
) -> tuple[ClipsStatus, int]:
    """Return the state of the clips, and how many are of a video that no decision was made on."""
    spec = clip_spec(config.clips)
    cuts = rows_without(store.read("clippings", _CUT_COLUMNS, pc.field("clip_spec") == spec), "video_id", hidden)
    good = rows_with(cuts, "state", "ok")
    # their file changed, and the present one is not fetched: what was cut of the earlier one stays until then
    present = rows_without(cuts, "video_id", attempts.filter(attempts["earlier_file"])["video_id"])
    fetched = rows_without(rows_with(attempts, "state", "ok"), "video_id", hidden)
    num_clips = clip_ms = 0
    flagged: Counter[str] = Counter()
    by_video = ClipsByVideo()
    for rows in scan_clips(store, config, ["video_id", "start_ms", "end_ms", "flags"]):
        num_clips += len(rows)
        clip_ms += total(pc.subtract(rows["end_ms"], rows["start_ms"]))
        by_video.add(rows["video_id"])
        flagged.update(counts(pc.list_flatten(rows["flags"])))
    duplicates, grouped = _duplicates(store, config, spec, hidden)
    found = ClipsStatus(
        clip_spec=spec,
        total=num_clips,
        announced=total(good["num_clips"]),
        videos_cut=len(rows_with(present, "state", "ok")),
        videos_earlier=len(good) - len(rows_with(present, "state", "ok")),
        videos_pending=len(rows_without(fetched, "video_id", cuts["video_id"])),
        failed=counts(rows_without(present, "state", "ok")["error_class"]),
        flagged=dict(sorted(flagged.items())),
        source_seconds=total(good["source_ms"]) / 1000,
        clip_seconds=clip_ms / 1000,
        remainder_seconds=total(good["remainder_ms"]) / 1000,
        lost_seconds=_lost_seconds(good),
        disagreeing=_disagreeing(good),
        duplicates=duplicates,
        grouped=grouped,
    )
    return found, by_video.num_without(decided)


def _lost_seconds(cuts: pa.Table) -> dict[str, float]:
    texts = cuts["lost"].filter(pc.not_equal(cuts["lost"], "[]"))  # next to all rows have no loss
    return {reason: ms / 1000 for reason, ms in lost_ms_by_reason(texts.to_pylist()).items()}


def _disagreeing(cuts: pa.Table) -> list[str]:
    far = pc.greater(pc.abs(pc.subtract(cuts["source_ms"], cuts["packets_ms"])), 1000)
    rows = cuts.filter(far).to_pylist()
    return [row["video_id"] for row in rows if disagrees(row["source_ms"], row["lost"], row["packets_ms"])][:10]


def _duplicates(store: Store, config: Config, spec: str, hidden: Column) -> tuple[int | None, int | None]:
    """Return the copies among the clips and the clips with a group.

    The first is None where these clips were never compared, the second while the groups are not current.
    """
    copies = grouped = 0
    for batch in store.scan("duplicates", ["video_id", "clip_spec", "is_representative"], None, _BATCH_ROWS):
        rows = _of_spec(pa.Table.from_batches([batch]), spec, hidden)
        grouped += len(rows)
        copies += total(pc.invert(rows["is_representative"]))
    current = store.version("duplicates") >= 0 and duplicates_are_current(store, config)
    return copies if current or grouped else None, grouped if current else None


def _of_spec(rows: pa.Table, spec: str, hidden: Column) -> pa.Table:
    return rows_without(rows_with(rows, "clip_spec", spec), "video_id", hidden)


# -- labels, decision, shards -------------------------------------------------------------------------------------


def _labels(store: Store, config: Config) -> LabelsStatus:
    labels = load_labels(store, config)
    return LabelsStatus(
        total=len(labels.ratings),
        by_rating={str(rating): count for rating, count in labels.by_rating.items()},
        unresolved=labels.unresolved,
        left_behind=len(labels.left_behind),
        annotators=dict(labels.annotators),
    )


@dataclass
class _Decision:
    """What the table `curated` says of the current clips."""

    decisions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    clips: ClipsByVideo = field(default_factory=ClipsByVideo)
    """By the videos of which a clip was decided on."""

    @property
    def videos(self) -> Column:
        """Ids of the videos of which a clip was decided on."""
        return self.clips.videos()

    @property
    def model_version(self) -> str | None:
        """The classifier that decided most clips."""
        name = min(self.models, key=lambda name: (-self.models[name], name), default="unknown")
        return None if name == "unknown" else name


def _decision(store: Store, spec: str, hidden: Column) -> _Decision:
    found = _Decision()
    columns = ["video_id", "clip_spec", "decision", "reason", "model_version"]
    for batch in store.scan("curated", columns, None, _BATCH_ROWS):
        rows = _of_spec(pa.Table.from_batches([batch]), spec, hidden)
        found.decisions.update(counts(rows["decision"]))
        found.models.update(counts(rows["model_version"]))
        found.clips.add(rows["video_id"])
        found.reasons.update(counts(reason_families(rows)))
    return found


def _curated(store: Store, found: _Decision, undecided: int) -> CuratedStatus:
    recorded = store.inputs("curated").get("decided_from", {}).get("tables", {})
    return CuratedStatus(
        keep=found.decisions["keep"],
        drop=found.decisions["drop"],
        review=found.decisions["review"],
        reasons=dict(sorted(found.reasons.items())),
        model_version=found.model_version,
        current=bool(recorded) and all(recorded[name] == store.version(name) for name in recorded),
        undecided=undecided,
        threshold=threshold_status(store),
        **curation_lines(store),
    )


def _shards(store: Store, config: Config) -> ShardsStatus:
    version = current_shards(store)
    rows = store.read("shards", ["split", "samples"], pc.field("version") == (version or "")).to_pylist()
    samples = {split: [row["samples"] for row in rows if row["split"] == split] for split in SPLITS}
    announced: dict[str, int] | None = None
    if version is not None:
        announced = read_manifest(store, version)
    return ShardsStatus(
        version=version,
        current=version is not None and shards_are_current(store, config),
        announced=announced,
        train=SplitStatus(shards=len(samples["train"]), samples=sum(samples["train"])),
        val=SplitStatus(shards=len(samples["val"]), samples=sum(samples["val"])),
        test=SplitStatus(shards=len(samples["test"]), samples=sum(samples["test"])),
    )


def _tokens(store: Store) -> TokensStatus:
    rows = store.read("tokens").to_pylist()
    first: dict[str, Any] = rows[0] if rows else {"version": None, "tokenizer": None, "window": 0}
    made_from = {"shards": store.version("shards"), "takedowns": store.version("takedowns")}
    recorded = store.inputs("tokens")
    return TokensStatus(
        version=first["version"],
        tokenizer=first["tokenizer"],
        current=bool(rows) and all(recorded.get(name) == version for name, version in made_from.items()),
        clips=sum(row["clips"] for row in rows),
        left_out=sum(row["left_out"] for row in rows),
        windows=sum(row["windows"] for row in rows),
        window=first["window"],
        tars=len(rows),
    )


# -- models -------------------------------------------------------------------------------------------------------


def _models(store: Store, used: ModelsInUse, deciding: str | None) -> ModelsStatus:
    every, rows = all_models(store), used.by_kind()
    known = {record.model_id for record in every}
    named = {model for record in every for model in _made_from(record.inputs)} | ({deciding} - {None, "none"})
    return ModelsStatus(
        in_use={
            kind: ModelStatus(model_id=record.model_id, parameters=record.parameters, steps=record.steps)
            for kind, record in sorted(rows.items())
            if kind != EVALUATION
        },
        notes=used.notes,
        dangling=sorted(str(name) for name in named if name not in known),
    )


def _made_from(inputs: Mapping[str, Any]) -> list[str]:
    # the evaluation names its world, the world its tokenizer
    return [
        inputs[kind] for kind in ("world_model", "video_tokenizer", "tokenizer") if isinstance(inputs.get(kind), str)
    ]


def _uncovered(store: Store) -> UncoveredStatus:
    found, alone = count_situations(store)
    return UncoveredStatus(total=found, without_clips=alone)


def _evaluation(record: ModelRecord | None) -> dict[str, MetricStatus]:
    """Return the metrics of an evaluation that are single values."""
    metrics = record.metrics if record is not None else {}
    return {
        name: _metric(metric)
        for name, metric in sorted(metrics.items())
        if isinstance(metric, dict) and "value" in metric
    }


def _metric(metric: Mapping[str, Any]) -> MetricStatus:
    low, high = stored_ends(metric)
    return MetricStatus(
        value=metric["value"], low=low, high=high, reason=metric.get("reason") or few_sources(metric) or None
    )


def _fvd(record: ModelRecord | None) -> FvdStatus | None:
    """Return the first Frechet video distance of an evaluation that has a value; else the first one with its reason."""
    metrics = record.metrics if record is not None else {}
    found = [(name, value) for name, value in metrics.items() if name.startswith("FVD[") and isinstance(value, dict)]
    known = [(name, value) for name, value in found if value["value"] is not None]
    if not found:
        return None
    name, figure = (known or found)[0]
    return FvdStatus(
        value=figure["value"],
        low=figure.get("low"),
        high=figure.get("high"),
        name=name,
        sha256=figure.get("net", {}).get("sha256"),
        num_sources=figure.get("num_sources", 0),
        num_samples=figure.get("num_samples"),
        floors={floor: _metric(value) for floor, value in figure.get("floors", {}).items()},
        reason=figure.get("reason"),
    )
