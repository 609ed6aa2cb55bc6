"""The audit of the present decision: figures, slices and what changed, made again when one of these did.

The document is the blob `reports/curation/audit.json`; the clips that entered or left are the table `curation_changes`.
Nothing is deleted or decided here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypedDict

import pyarrow as pa

from classifier.audit.changes import Changes, changes_since
from classifier.audit.estimate import AuditFigures, answers, estimate
from classifier.audit.sample import (
    AUDIT_KEY,
    Audit,
    AuditedClip,
    answers_of,
    drawn_by_stream,
    is_of_present,
    undamaged_audit,
    write_audit,
)
from classifier.audit.slices import Dimension, Slices, slices
from classifier.decision.content import decided_content
from classifier.pool import Pool, load_pool
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.inspect.audit_text import CURATION_KEY, FORMAT, read_audit
from pipeline.job import Job
from pipeline.label_events import STAND_IN, Labels, load_labels
from pipeline.storage.arrow import among, pc
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown, taken_down

_ADVICE = "Make it again with `lampworks run --select curation_audit`."


class AuditState(TypedDict):
    """The audit that was drawn last, as far as it is rated."""

    decision: str
    """Hash of the decision that was audited."""
    is_present: bool
    """Whether that is the present one."""
    drawn: dict[str, int]
    """Clips by stream."""
    rated: dict[str, int]
    """Those that have a rating."""
    by_stand_in: bool
    """Whether the embedded source rated them: the classifier learned from its ratings, so they flatter it."""
    figures: AuditFigures


class CurationAudit(TypedDict):
    """The content of `reports/curation/audit.json`."""

    format: int
    made_from: str
    takedowns: int
    """Version of the table: the slices may name what was taken down since."""
    decision: str
    """Hash of the present decision."""
    target_precision: float
    audit: AuditState
    slices: dict[Dimension, Slices]
    changes: Changes | None
    """None where there is no decision before."""


def audit_curation(job: Job) -> CurationAudit:
    """Audit the present decision, write the document and the changes unless they are current, and return it.

    The clips of an audit are drawn here where there is none yet, or nobody rated a clip of the one that is there.

    Raises:
        UserError: nothing was decided yet.
    """
    store = job.store
    if decided_content(store) is None:
        raise UserError("there is no decision to audit yet: make one with `lampworks run`")
    _draw_if_unused(job)
    if audit_is_current(store, job.config):
        return load_curation_audit(store)
    document, rows = repeat_after_takedown(store, lambda: _made(job))
    if rows is not None:
        store.replace("curation_changes", rows, inputs={"made_from": document["made_from"]})
    store.write_blob(CURATION_KEY, json.dumps(document, indent=1, sort_keys=True).encode())
    return document


def audit_is_current(store: Store, config: Config) -> bool:
    """Tell whether the document is of the present decision and of the ratings that are there."""
    if decided_content(store) is None or not store.exists(CURATION_KEY) or not store.exists(AUDIT_KEY):
        return False
    found = read_audit(store)
    if found is None or found.get("made_from") != _made_from(store, config, load_labels(store, config)):
        return False
    return not found.get("changes") or store.inputs("curation_changes").get("made_from") == found["made_from"]


def load_curation_audit(store: Store) -> CurationAudit:
    """Return the document.

    Raises:
        DamagedError: it is not there, or is no JSON.
    """
    found: Any = read_json(store, CURATION_KEY, _ADVICE)
    document: CurationAudit = found
    return document


def content_of_audit(document: Mapping[str, Any]) -> str:
    """Return a hash of what the document says."""
    said = {name: value for name, value in document.items() if name not in {"made_from", "takedowns"}}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def _draw_if_unused(job: Job) -> None:
    """Draw the clips of the present decision, where no rating of an older audit would be lost by it."""
    found = undamaged_audit(job.store, job.on_progress)
    used = found is not None and (is_of_present(found, job) or answers_of(found, load_labels(job.store, job.config)))
    if not used:
        write_audit(job)


def _made_from(store: Store, config: Config, labels: Labels) -> str:
    audit = store.read_blob(AUDIT_KEY)
    return fingerprint(
        FORMAT,
        decided_content(store),
        store.inputs("decided_before").get("content"),
        hashlib.sha256(audit).hexdigest(),
        labels.ratings,
        sorted(labels.by_people),
        [store.version(table) for table in ("takedowns", "videos", "clips")],
        config.audit,
        config.classifier.good_rating,
        config.decision,
    )


def _made(job: Job) -> tuple[CurationAudit, pa.Table | None]:
    store, config = job.store, job.config
    pool, labels = load_pool(store, config), load_labels(store, config)
    audit, decision = undamaged_audit(store, job.on_progress), decided_content(store)
    assert audit is not None
    assert decision is not None
    stand_in = config.source.kind == STAND_IN
    rated = [
        (clip, rating >= config.classifier.good_rating)
        for clip, rating in answers_of(audit, labels, stand_in=stand_in)
        if _video_of(clip) in pool.videos
    ]
    found = changes_since(pool)
    changes, rows = found if found is not None else (None, None)
    if rows is not None:
        hidden = taken_down(store).hidden_among(store, map(str, rows["video_id"].unique().to_pylist()))
        rows = rows.filter(pc.invert(among(rows["video_id"], hidden)))
    document = CurationAudit(
        format=FORMAT,
        made_from=_made_from(store, config, labels),
        takedowns=store.version("takedowns"),
        decision=decision,
        target_precision=config.decision.target_precision,
        audit=_state(pool, audit, decision, rated, stand_in=stand_in),
        slices=slices(pool, {clip["clip_id"]: good for clip, good in rated if clip["stream"] == "audit_high"}),
        changes=changes,
    )
    return document, rows


def _state(
    pool: Pool, audit: Audit, decision: str, rated: list[tuple[AuditedClip, bool]], *, stand_in: bool
) -> AuditState:
    by_stream = {"audit_high": 0, "audit_low": 0}
    for clip, _ in rated:
        by_stream[clip["stream"]] += 1
    found = answers(
        audit,
        [clip["stratum"] for clip, _ in rated],
        [good for _, good in rated],
        [pool.group(_video_of(clip)) for clip, _ in rated],
    )
    return AuditState(
        decision=audit["decision"],
        is_present=audit["decision"] == decision,
        drawn={"audit_high": 0, "audit_low": 0} | drawn_by_stream(audit),
        rated=by_stream,
        by_stand_in=stand_in and bool(rated),
        figures=estimate(found),
    )


def _video_of(clip: AuditedClip) -> str:
    return split_clip_id(clip["clip_id"])[0]
