"""Group `clips`: videos cut into clips, and the clips that are copies of each other."""

from collections import Counter
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.graph.checks import check_specs, verdict
from assets.graph.collect import raw_videos
from assets.graph.context import Result, Work, bars, batch_of, histogram, materialized, table, working
from assets.graph.ownership import OWNERS
from assets.graph.partitions import VIDEO_BATCH
from assets.graph.records import current_clips, same_ids
from assets.graph.resources import Lampworks
from pipeline.clip_spec import clip_spec
from pipeline.clips.actions_left_out import actions_left_out
from pipeline.clips.cuts import CutDetector
from pipeline.config import fingerprint
from pipeline.footage.losses import disagrees, lost_ms_by_reason
from pipeline.storage.arrow import counts, pc


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="clips",
    deps=[raw_videos],
    partitions_def=VIDEO_BATCH,
    kinds={"python", "deltalake"},
    check_specs=check_specs("clips"),
)
def clips(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one clip: 16 s at 10 FPS and 160x90, its bytes in a tar, and its technical flags.

    Frame k is the source frame on screen at start + k/10 s; other aspects are padded. Black, still, letterboxed, cut
    and overlaid clips are flagged, never deleted: the decision comes later.
    """
    batch = batch_of(context)
    with working(context, lampworks) as work:
        from pipeline.clips.cut_batch import cut_batch

        cut_batch(work.batch_job(batch), detect_cuts=_cut_detector(work))
        return _cut(work, batch, clip_spec(work.config.clips))


def _cut_detector(work: Work) -> CutDetector | None:
    if work.config.clips.cut_detector == "adaptive":
        return None
    from models.cuts import choose_cut_detector  # torch is a second to import

    return choose_cut_detector(work.config.clips)


def _cut(work: Work, batch: str, spec: str) -> Result:
    ours = (pc.field("batch") == batch) & (pc.field("clip_spec") == spec)
    cuttings = work.store.read(
        "clippings",
        [
            "video_id",
            "state",
            "error_class",
            "message",
            "num_clips",
            "source_ms",
            "clip_ms",
            "remainder_ms",
            "lost_ms",
            "lost",
            "packets_ms",
            "actions",
        ],
        ours,
    ).to_pylist()
    done = {row["video_id"] for row in cuttings if row["state"] == "ok"}
    columns = ["clip_id", "video_id", "sha256", "num_frames", "width", "height", "fps", "motion", "flags"]
    rows = work.store.read("clips", columns, ours)
    rows = rows.filter(pc.is_in(rows["video_id"], pa.array(sorted(done), pa.string())))
    flags = Counter(flag for value in rows["flags"].to_pylist() for flag in value or ())
    seconds = {name: sum(row[f"{name}_ms"] or 0 for row in cuttings) / 1000 for name in ("source", "clip", "remainder")}
    lost = {
        f"lost seconds, {reason}": ms / 1000
        for reason, ms in lost_ms_by_reason(row["lost"] for row in cuttings).items()
    }
    failures = [row for row in cuttings if row["state"] != "ok"]
    return materialized(
        len(rows),
        fingerprint(spec, sorted(zip(rows["clip_id"].to_pylist(), rows["sha256"].to_pylist(), strict=True))),
        [_format(work, rows), _conservation(work, batch, cuttings, rows)],
        {
            "videos cut": len(done),
            "videos failed": len(failures),
            "source seconds": seconds["source"],
            "clip seconds": seconds["clip"],
            "remainder seconds": seconds["remainder"],
            **lost,
            "flags": bars(dict(flags.most_common()), "flags") if flags else None,
            "motion": histogram([value for value in rows["motion"].to_pylist() if value is not None], 0, 20, "motion"),
            "failures": table(
                [{"video": r["video_id"], "class": r["error_class"], "message": r["message"]} for r in failures], 10
            ),
            "videos with true actions": sum(row["actions"] is not None for row in cuttings),
            "actions left out": table(
                [{"video": video, "why": why} for video, why in actions_left_out(work.store, spec, batch).items()], 10
            ),
            "clip_spec": spec,
            "path": dg.MetadataValue.path(work.store.url(f"clips/{spec}/{batch}")),
        },
    )


def _format(work: Work, rows: pa.Table) -> dg.AssetCheckResult:
    clips = work.config.clips
    wanted, (least, most) = (clips.width, clips.height, clips.fps), clips.frames_range
    found = zip(*(rows[name].to_pylist() for name in ("num_frames", "width", "height", "fps")), strict=True)
    wrong = sum(tuple(shape) != wanted or not least <= frames <= most for frames, *shape in found)
    frames = str(most) if least == most else f"{least} to {most}"
    return verdict(
        "clips",
        "clip_format",
        wrong == 0,
        f"{len(rows)} clips, {wrong} not {frames} frames of {clips.width}x{clips.height} at {clips.fps}",
    )


def _conservation(work: Work, batch: str, cuttings: list[dict[str, Any]], rows: pa.Table) -> dg.AssetCheckResult:
    from pipeline.download.ledger import download_states

    counted = Counter(rows["video_id"].to_pylist())
    unbalanced = [
        row["video_id"]
        for row in cuttings
        if row["state"] == "ok"
        and (
            row["source_ms"] != row["clip_ms"] + row["remainder_ms"] + (row["lost_ms"] or 0)
            or disagrees(row["source_ms"], row["lost"], row["packets_ms"])
            or row["num_clips"] != counted[row["video_id"]]
        )
    ]
    known = {row["video_id"] for row in cuttings}
    missing = [
        name for name, state in download_states(work.store, batch).items() if state.state == "ok" and name not in known
    ]
    return verdict(
        "clips",
        "conservation",
        not unbalanced and not missing,
        f"{len(cuttings)} videos; unbalanced {len(unbalanced)}, without a result {len(missing)}",
        {"first": str((unbalanced + missing)[0])} if unbalanced or missing else None,
    )


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="clips",
    deps=[clips],
    kinds={"python", "deltalake"},
    check_specs=check_specs("near_duplicates"),
)
def near_duplicates(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one clip and the group of copies it belongs to, named by the group's representative.

    Over all batches at once: re-encodes, re-uploads, mirrored copies and copies that start at another moment, each
    verified by its motion. A clip that only looks like another names it in `similar_to` and represents itself.
    """
    with working(context, lampworks) as work:
        from pipeline.clips.duplicates import find_duplicates

        find_duplicates(work.job)
        return _grouped(work)


def _grouped(work: Work) -> Result:
    from pipeline.clips.duplicates import report_of
    from pipeline.copies.alignment import LEAST_SHARE

    groups = work.store.read("duplicates")
    index = current_clips(work.store, work.config)
    heads = groups.filter(groups["is_representative"])
    covered = same_ids(groups["clip_id"], index) and same_ids(heads["clip_id"], pc.unique(groups["representative"]))
    farthest = int(pc.max(groups["distance"]).as_py() or 0)
    sizes = {int(size): count for size, count in counts(heads["group_size"]).items()}
    report, limit = report_of(groups, written=False), round(100 * (1 - LEAST_SHARE))
    return materialized(
        len(groups),
        work.store.version("duplicates"),
        [
            verdict(
                "near_duplicates",
                "groups_cover_index",
                covered,
                f"{len(index)} clips, {len(groups)} rows, {len(heads)} groups",
            ),
            verdict("near_duplicates", "members_close", farthest <= limit, f"farthest {farthest}, limit {limit}"),
        ],
        {
            "clips": len(groups),
            "groups": len(heads),
            "duplicates": report.copies,
            "mirrored": report.mirrored,
            "shifted": report.shifted,
            "look-alikes": report.look_alikes,
            "groups by size": bars({f"{size} clips": count for size, count in sorted(sizes.items())}, "groups by size"),
        },
    )
