"""The data card of a set: what is in it, where it came from, under which rules, and what was left out and why.

Every number follows from the rows that the set was made from, so the same set has the same card. It names channels and
licences in their own words, no videos and no addresses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.read import scan_clips
from pipeline.config import Config
from pipeline.download.ledger import fold_all
from pipeline.footage.losses import lost_ms_by_reason
from pipeline.outside import shown_text
from pipeline.shards.plan import FORMAT, Plan
from pipeline.shards.reasons import reason_families
from pipeline.shards.splits import SPLITS, empty_test_split, groups_of
from pipeline.storage.arrow import Column, counts, pc, rows_with, rows_without, total
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

Facts = dict[str, Any]
_MOST_NAMES = 30
"""Channels and licences that are named; the others are summed up."""
_PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
_BINS = 10


def card_facts(store: Store, config: Config, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> Facts:
    """Return the card of a set as plain values.

    Args:
        store: holds what the set was made from.
        config: of the set.
        plan: its clips.
        rows: of `shards`, its tars.
    """
    clips = _with_sources(store, config, plan)
    test_is_missing = config.split.test_share > 0 and not any(row["split"] == "test" for row in rows)
    return {
        "version": plan.version,
        "format": FORMAT,
        "clip": _clip_format(config, plan),
        **_totals(clips),
        "splits": {split: _split(clips, rows, split) for split in SPLITS},
        "split_rule": {"val_share": config.split.val_share, "test_share": config.split.test_share},
        "notes": [empty_test_split(config)] if test_is_missing else [],
        "licences": _by_name(clips, "licence"),
        "channels": _by_name(clips, "channel"),
        "score": distribution(clips["probability"], low=0.0, high=1.0),
        "motion": distribution(clips["motion"]),
        "left_out": _left_out(store, config),
        "rules": _rules(store, config),
    }


def distribution(column: Column, low: float | None = None, high: float | None = None) -> Facts:
    """Return count, percentiles and a histogram of ten equal bins of a column; nulls and NaN count as unknown.

    Args:
        column: of numbers.
        low: start of the first bin; the smallest value where None.
        high: end of the last one; the largest value where None.
    """
    values: npt.NDArray[np.float64] = column.to_numpy().astype(np.float64)
    known = values[np.isfinite(values)]
    found: Facts = {"known": len(known), "unknown": len(values) - len(known)}
    if not len(known):
        return found
    low, high = float(known.min()) if low is None else low, float(known.max()) if high is None else high
    high = high if high > low else low + 1.0
    bins, _ = np.histogram(known, _BINS, (low, high))
    percentiles = np.percentile(known, _PERCENTILES)
    return found | {
        "mean": round(float(known.mean()), 4),
        "percentiles": {str(p): round(float(value), 4) for p, value in zip(_PERCENTILES, percentiles, strict=True)},
        "histogram": {"low": round(low, 4), "high": round(high, 4), "counts": bins.tolist()},
    }


def _with_sources(store: Store, config: Config, plan: Plan) -> pa.Table:
    """Return split, video_id, ms, probability, motion, source, channel and licence of the clips of a plan."""
    named = ["video_id", "extractor", "channel_id", "channel", "licence"]
    videos = rows_with(store.read("videos", named), "video_id", plan.clips["video_id"].unique())
    sources = pa.table(
        {
            "video_id": videos["video_id"],
            "source": groups_of(videos),
            "channel": pc.coalesce(videos["channel"], videos["channel_id"], pa.scalar("unknown")),
            "licence": pc.coalesce(videos["licence"], pa.scalar("unknown")),
        }
    )
    clips = plan.clips.select(["clip_id", "video_id", "split", "start_ms", "end_ms", "probability"])
    clips = clips.append_column("ms", pc.subtract(clips["end_ms"], clips["start_ms"]))
    measured = [
        rows_with(part, "clip_id", clips["clip_id"]) for part in scan_clips(store, config, ["clip_id", "motion"])
    ]
    return clips.join(pa.concat_tables(measured), "clip_id", join_type="left outer").join(sources, "video_id")


def _clip_format(config: Config, plan: Plan) -> Facts:
    names = ("fps", "width", "height", "aspect", "crf", "gop")
    # 2 and 2.0 seconds are the same clips, and must give the same card
    shown = {"seconds": float(config.clips.seconds), **{name: getattr(config.clips, name) for name in names}}
    return {"clip_spec": plan.spec, "container": "MP4", "codec": "H.264", **shown, "frames": config.clips.num_frames}


def _totals(clips: pa.Table) -> Facts:
    return {
        "clips": len(clips),
        "hours": _hours(clips),
        "videos": len(clips["video_id"].unique()),
        "sources": len(clips["source"].unique()),
    }


def _split(clips: pa.Table, rows: Sequence[Mapping[str, Any]], split: str) -> Facts:
    tars = [row for row in rows if row["split"] == split]
    return _totals(rows_with(clips, "split", split)) | {"tars": len(tars), "bytes": sum(row["bytes"] for row in tars)}


def _hours(clips: pa.Table) -> float:
    return round(total(clips["ms"]) / 3_600_000, 3)


def _by_name(clips: pa.Table, column: str) -> list[Facts]:
    """Return clips, videos and hours by a column, the most clips first; what is not named is one entry at the end."""
    found = clips.group_by(column).aggregate([("clip_id", "count"), ("video_id", "count_distinct"), ("ms", "sum")])
    rows = sorted(found.to_pylist(), key=lambda row: (-row["clip_id_count"], row[column]))
    entries = [
        {"name": shown_text(row[column]), "clips": row["clip_id_count"], "videos": row["video_id_count_distinct"],
         "hours": round(row["ms_sum"] / 3_600_000, 3)}
        for row in rows
    ]  # fmt: skip
    rest = entries[_MOST_NAMES:]
    if not rest:
        return entries
    summed = {name: round(sum(entry[name] for entry in rest), 3) for name in ("clips", "videos", "hours")}
    return [*entries[:_MOST_NAMES], {"name": f"{len(rest)} others", **summed}]


def _left_out(store: Store, config: Config) -> Facts:
    """Return what was found and is not in the set: videos, clips and hours by reason."""
    hidden = taken_down(store).hidden_videos(store)
    videos = store.read("videos", ["video_id", "verdict", "rule"])
    kept = rows_with(videos, "verdict", "kept")
    states = rows_without(fold_all(store), "video_id", hidden)
    spec = clip_spec(config.clips)
    cuts = rows_without(
        store.read(
            "clippings", ["video_id", "state", "error_class", "remainder_ms", "lost"], pc.field("clip_spec") == spec
        ),
        "video_id",
        hidden,
    )
    decided = store.read("curated", ["video_id", "clip_spec", "decision", "reason"])
    decided = rows_without(rows_with(decided, "clip_spec", spec), "video_id", hidden)
    not_kept = rows_without(decided, "decision", "keep")
    lost = lost_ms_by_reason(cuts["lost"].to_pylist())
    return {
        "videos": {
            **_prefixed("rejected by the rules", counts(rows_without(videos, "verdict", "kept")["rule"])),
            **_prefixed("download failed", counts(rows_with(states, "state", "failed")["error_class"])),
            **_prefixed("rejected at the download", counts(rows_with(states, "state", "rejected")["error_class"])),
            **_prefixed("cut failed", counts(rows_with(cuts, "state", "failed")["error_class"])),
            "taken down": len(rows_with(kept, "video_id", hidden)) if hidden else 0,
        },
        "clips": counts(reason_families(not_kept)),
        "hours": {
            "shorter than a clip, at the end": round(total(cuts["remainder_ms"]) / 3_600_000, 3),
            **{f"lost: {reason}": round(ms / 3_600_000, 3) for reason, ms in lost.items()},
        },
    }


def _prefixed(prefix: str, found: Mapping[str, int]) -> dict[str, int]:
    return {f"{prefix}: {name}": count for name, count in found.items()}


def _rules(store: Store, config: Config) -> Facts:
    """Return the ids of the rules that chose videos and clips, and the settings of the choice of clips."""
    kept = store.read("videos", ["rules_version"], pc.field("verdict") == "kept")
    decided = store.read("curated", ["rule_version", "model_version"], pc.field("decision") == "keep")
    return {
        "search_rules": counts(kept["rules_version"]),
        "keywords": list(config.rules.keywords),
        "action_words": list(config.rules.action_words),
        "negations": list(config.rules.negations),
        "decision_rules": counts(decided["rule_version"]),
        "classifiers": counts(decided["model_version"]),
        "decision": dataclasses.asdict(config.decision),
    }
