"""The Arrow schema of each table: what one row is. Columns are changed here and nowhere else.

A change that old readers cannot read raises `SCHEMA_VERSION`; a store written by a newer version is refused.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())


def _schema(**fields: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields.items()])


_STR, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

# fmt: off
SCHEMAS: dict[str, pa.Schema] = {
    # one pass of one query over a source
    "searches": _schema(
        search_id=_STR, source=_STR, query=_STR, round=_INT, rules_version=_STR, inputs=_STR,
        found=_INT, kept=_INT, rejected=_INT, new=_INT, searched_at=_TIME,
    ),
    # one discovered video: metadata, the queries that found it, the verdict (kept | rejected) and the deciding rule
    "videos": _schema(
        video_id=_STR, source=_STR, extractor=_STR, native_id=_STR, url=_STR, title=_STR, description=_STR,
        tags=_TEXTS, channel_id=_STR, channel=_STR, duration_s=_FLOAT, upload_date=_STR, licence=_STR,
        age_limit=_INT, live_status=_STR, language=_STR, queries=_TEXTS, verdict=_STR, rule=_STR,
        rules_version=_STR, batch=_STR, found_at=_TIME, thumbnail=_STR, message=_STR,
        size_bytes=_INT, modified_at=_TIME, etag=_STR,
    ),
    # one attempt to download (append-only; state ok | pending | failed | rejected; or dropped: the raw file is gone on
    # purpose; or retried: due again by `lampworks retry`); a video's state is computed from its attempts
    "downloads": _schema(
        attempt_id=_STR, video_id=_STR, batch=_STR, attempt=_INT, state=_STR, error_class=_STR, message=_STR,
        started_at=_TIME, finished_at=_TIME, next_try_at=_TIME, http_status=_INT, bytes=_INT, sha256=_STR,
        path=_STR, format=_STR, codec=_STR, width=_INT, height=_INT, fps=_FLOAT, duration_claimed_s=_FLOAT,
        duration_s=_FLOAT, tool_version=_STR, site=_STR, bytes_360p=_INT, bytes_720p=_INT, file_version=_STR,
        actions_sha256=_STR,
    ),
    # one change of a site's circuit breaker (append-only; state open | closed): while it is open, downloads from the
    # site pause
    "breakers": _schema(
        event_id=_STR, site=_STR, state=_STR, error_class=_STR, message=_STR, refusals=_INT, changed_at=_TIME,
        next_try_at=_TIME,
    ),
    # one video cut under one clip_spec (state ok | failed): how the seconds of the source were used
    "clippings": _schema(
        video_id=_STR, batch=_STR, clip_spec=_STR, source_sha256=_STR, state=_STR, error_class=_STR, message=_STR,
        num_clips=_INT, source_ms=_INT, clip_ms=_INT, remainder_ms=_INT, tar=_STR, tar_bytes=_INT, tar_sha256=_STR,
        actions=_STR, remainder_reason=_STR, lost_ms=_INT, lost=_STR, packets_ms=_INT, cut_detector=_STR,
        measurements_version=_INT, actions_problem=_STR, actions_sha256=_STR,
    ),
    # one clip: span, bytes in its tar, what was measured of it (flags are columns, never deletions)
    "clips": _schema(
        clip_id=_STR, video_id=_STR, batch=_STR, clip_spec=_STR, start_ms=_INT, end_ms=_INT, source_sha256=_STR,
        tar=_STR, offset=_INT, size=_INT, sha256=_STR, frames_offset=_INT, frames_size=_INT, frames_crc32=_INT,
        num_frames=_INT,
        width=_INT, height=_INT, fps=_FLOAT, display_aspect=_FLOAT, transfer=_STR, changes=_TEXTS,
        black_share=_FLOAT, still_share=_FLOAT,
        letterbox_share=_FLOAT, num_cuts=_INT, cut_ms=pa.list_(pa.int32()), longest_shot_share=_FLOAT,
        overlay_share=_FLOAT, panel_share=_FLOAT, text_density=_FLOAT, sharpness=_FLOAT, blockiness=_FLOAT,
        scroll_share=_FLOAT, scroll_speed=_FLOAT, motion=_FLOAT, flags=_TEXTS,
        features=pa.list_(pa.float32()), hashes=pa.binary(), signature=pa.binary(), actions=_STR,
    ),
    # one clip that shows other bytes than before under its id, or is gone, since its video was cut again (append-only)
    "replaced": _schema(
        clip_id=_STR, video_id=_STR, clip_spec=_STR, batch=_STR, old_sha256=_STR, new_sha256=_STR, same_picture=_BOOL,
        replaced_at=_TIME,
    ),
    # one clip's group of copies, named by its representative; `similar_to` is a look-alike that is no copy
    "duplicates": _schema(
        clip_id=_STR, video_id=_STR, clip_spec=_STR, batch=_STR, representative=_STR, is_representative=_BOOL,
        distance=_INT, group_size=_INT, verified=_BOOL, mirrored=_BOOL, shift_ms=_INT, similar_to=_STR,
    ),
    # one label event (append-only, `kind` rate | skip | undo); a clip's label is computed from its events
    "labels": _schema(
        event_id=_STR, clip_id=_STR, video_id=_STR, clip_spec=_STR, video=_STR, start_s=_FLOAT, rating=_INT, kind=_STR,
        annotator=_STR, stream=_STR, seconds=_FLOAT, resolved=_BOOL, origin=_STR, labelled_at=_TIME,
        inclusion=_FLOAT, reasons=_TEXTS, repeat=_BOOL,
    ),
    # what one clip's frames look like to a frozen network (null where they are unreadable): the mean and the spread of
    # its features over the frames, as 16-bit floats
    "embeddings": _schema(
        clip_id=_STR, video_id=_STR, clip_spec=_STR, batch=_STR, encoder=_STR, clip_sha256=_STR, mean=pa.binary(),
        spread=pa.binary(), error_class=_STR, message=_STR,
    ),
    # one clip's calibrated probability of being good, under one model version (null where its frames are unreadable)
    "scores": _schema(
        clip_id=_STR, video_id=_STR, clip_spec=_STR, batch=_STR, model_version=_STR, probability=_FLOAT,
        logit_mean=_FLOAT, logit_min=_FLOAT, logit_std=_FLOAT, error_class=_STR, message=_STR, clip_sha256=_STR,
        score=_FLOAT,
    ),
    # one clip's decision (keep | drop | review) and reason, under one rule and one model version
    "curated": _schema(
        clip_id=_STR, video_id=_STR, clip_spec=_STR, batch=_STR, decision=_STR, reason=_STR, kind=_STR,
        probability=_FLOAT, percentile=_FLOAT, rating=_INT, split=_STR, rule_version=_STR, model_version=_STR,
    ),
    # one clip's row of `curated` in the decision before the present one, to compare with
    "decided_before": _schema(
        clip_id=_STR, video_id=_STR, clip_spec=_STR, batch=_STR, decision=_STR, reason=_STR, kind=_STR,
        probability=_FLOAT,
    ),
    # one clip that entered the curated set or left it (change entered | left) since the decision before
    "curation_changes": _schema(
        clip_id=_STR, video_id=_STR, clip_spec=_STR, batch=_STR, change=_STR, decision_before=_STR, reason_before=_STR,
        probability_before=_FLOAT, decision=_STR, reason=_STR, probability=_FLOAT,
    ),
    # one training tar
    "shards": _schema(
        version=_STR, split=_STR, path=_STR, samples=_INT, bytes=_INT, sha256=_STR, curated_version=_INT,
        curated_sha256=_STR, index=_STR, index_sha256=_STR, actions=_STR, actions_sha256=_STR,
    ),
    # one file of tokens: the windows of one training tar, encoded by one tokenizer
    "tokens": _schema(
        version=_STR, tokenizer=_STR, shards_version=_STR, split=_STR, path=_STR, index=_STR, clips=_INT,
        left_out=_INT, windows=_INT, window=_INT, grid_rows=_INT, grid_columns=_INT, bits=_INT, packing=_STR,
        bytes=_INT, sha256=_STR, index_sha256=_STR,
    ),
    # one published model or evaluation: settings, inputs, metrics
    "models": _schema(
        model_id=_STR, kind=_STR, path=_STR, parameters=_INT, steps=_INT, config=_STR, figures=_STR, inputs=_STR,
        shards_version=_STR, created_at=_TIME, files=_STR,
    ),
    # one situation that a world could only guess, in a game: how to reach it, its doubt, the clips that look like it
    "uncovered": _schema(
        situation_id=_STR, clip_id=_STR, video_id=_STR, clip_spec=_STR, world=_STR, start=_STR, link=_STR, t=_INT,
        score=_FLOAT, entropy=_FLOAT, residual=_FLOAT, disagreement=_FLOAT, expected_psnr=_FLOAT, nearest=_TEXTS,
        state=_STR, message=_STR, picture=pa.binary(), seen_at=_TIME,
    ),
    # one piece of work that ended (state ok | failed): what a stage has used for a batch, or for the whole store (no
    # batch), and the video that it worked on
    "costs": _schema(
        cost_id=_STR, stage=_STR, batch=_STR, state=_STR, started_at=_TIME, finished_at=_TIME, seconds=_FLOAT,
        batches=_INT, video_s=_FLOAT, clips=_INT, cpu_s=_FLOAT, gpu_s=_FLOAT, bytes_read=_INT, bytes_written=_INT,
        bytes_downloaded=_INT, requests=_INT,
    ),
    # one tombstone (kind video | url | channel), a keyed hash: every writer reads these just before it publishes
    "takedowns": _schema(
        takedown_id=_STR, kind=_STR, target=_STR, target_hash=_STR, salt=_STR, part_of=_STR, removed=_INT, reason=_STR,
        requested_at=_TIME,
    ),
}
# fmt: on

DERIVED_FROM_CLIP_ID: dict[str, tuple[str, ...]] = {
    "duplicates": ("video_id", "clip_spec"),
    "labels": ("video_id", "clip_spec"),
    "embeddings": ("video_id", "clip_spec"),
    "scores": ("video_id", "clip_spec"),
    "curated": ("clip_spec",),
    "decided_before": ("video_id", "clip_spec"),
    "curation_changes": ("video_id", "clip_spec"),
    "uncovered": ("video_id", "clip_spec"),
}
"""Columns that repeat a part of `clip_id`. Writers may leave them out, and rows written before these columns existed
lack them: `pipeline.storage.rows.derive_columns` fills them when rows are written and when they are read."""
