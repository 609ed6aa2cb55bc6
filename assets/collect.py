"""Group `collect`: what a search found, and the videos themselves."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from assets.checks import check_specs, verdict
from assets.partitions import VIDEO_BATCH, register_batches
from assets.resources import Lampworks
from assets.work import Result, Work, bars, batch_of, materialized, table, working
from pipeline.columns import counts, rows_without, unique
from pipeline.config import fingerprint

if TYPE_CHECKING:
    from pipeline.download import DownloadReport


class SearchConfig(dg.Config):
    """What one search is told."""

    round: int = Field(
        default=0, ge=0, description="Which growth of the embedded source's feed to see; 0 means all there is."
    )


@dg.asset(group_name="collect", kinds={"python", "deltalake"}, check_specs=check_specs("search_results"))
def search_results(context: dg.AssetExecutionContext, config: SearchConfig, lampworks: Lampworks) -> Result:
    """One row of `videos` is one discovered video: its metadata, the queries that found it, the verdict and its rule.

    Candidates are merged by id: a video that several queries find is one row. Kept videos that are new form batches,
    which this asset registers as partitions of `video_batch`; rejected ones stay, with the rule that rejected them.
    """
    with working(context, lampworks) as work:
        from pipeline.search import search_videos

        report = search_videos(work.store, work.config, work.home, round=config.round or None, listen=work.listen)
        for batch in register_batches(context.instance, work.store):
            context.log.info(f"registered batch {batch}")
        videos = work.store.read("videos", ["video_id", "title", "verdict", "rule", "batch"])
        rejected = rows_without(videos, "verdict", "kept")
        rules = Counter(counts(rejected["rule"]))
        return materialized(
            len(videos),
            work.store.version("videos"),
            [
                _rules_hold(work),
                verdict("search_results", "new_videos", report.new > 0, f"{report.new} new of {report.found} found"),
            ],
            {
                "found in this search": report.found,
                "new": report.new,
                "kept": len(videos) - len(rejected),
                "rejected": len(rejected),
                "rejected by rule": bars(dict(rules.most_common()), "rejected by rule"),
                "examples of rejected": table(rejected.select(["title", "rule"]).slice(0, 8).to_pylist()),
                "batches": len(unique(videos["batch"])),
            },
        )


def _rules_hold(work: Work) -> dg.AssetCheckResult:
    from pipeline.rules import judge, rules_version

    wrong = judged = 0
    version = rules_version(work.config.rules)
    columns = ["title", "description", "verdict", "rules_version"]
    for rows in work.store.scan("videos", columns):
        for row in rows.to_pylist():
            # verdicts of other rules (an older list, rules switched off) were made by what they name
            if row["rules_version"] != version:
                continue
            judged += 1
            kept = judge(row["title"] or "", row["description"] or "", work.config.rules).kept
            wrong += kept != (row["verdict"] == "kept")
    return verdict("search_results", "rules_hold", wrong == 0, f"{judged} verdicts judged again, {wrong} differ")


@dg.asset(
    group_name="collect",
    deps=[search_results],
    partitions_def=VIDEO_BATCH,
    kinds={"python", "deltalake"},
    pool="downloads",
    check_specs=check_specs("raw_videos"),
)
def raw_videos(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One file of `raw/<batch>/` is one downloaded video, decoded at both ends; one row of `downloads` one attempt.

    The smallest sufficient format is fetched. A video that fails is recorded with its class and message, and tried
    again later where that may help; the others go on.
    """
    batch = batch_of(context)
    with working(context, lampworks) as work:
        from pipeline.download import download_batch

        report = download_batch(work.store, work.config, work.home, batch, listen=work.listen)
        # told once, when it happened: the next run goes on with the others
        if report.too_many_failed and report.tried:
            raise dg.Failure(_too_many(work, report), allow_retries=False)
        return _downloaded(work, batch)


def _too_many(work: Work, report: "DownloadReport") -> str:
    failed = sum(report.failed.values())
    classes = ", ".join(f"{count} {name}" for name, count in report.failed.items())
    return (
        f"{failed} of {report.videos} videos of batch {report.batch} failed ({classes}), a larger share than "
        f"download.max_failed_share = {work.config.download.max_failed_share:g}. Each is recorded with its reason "
        "(`lampworks why VIDEO`). If that is as it should be, run again: the others go on."
    )


def _downloaded(work: Work, batch: str) -> Result:
    from pipeline.download import download_states

    states = download_states(work.store, batch)
    found = work.store.read("videos", ["video_id"], pc.field("batch") == batch)
    counts = Counter(state.state for state in states.values())
    classes = Counter(state.error_class for state in states.values() if state.state == "failed")
    lost = set(found["video_id"].to_pylist()) ^ set(states)
    attempts = work.store.read(
        "downloads", ["video_id", "bytes", "format", "state", "message", "error_class"], pc.field("batch") == batch
    )
    failed_share = counts["failed"] / max(len(states), 1)
    total_bytes = int(pc.sum(attempts["bytes"]).as_py() or 0)
    failures = [row for row in attempts.to_pylist() if row["state"] == "failed"]
    return materialized(
        counts["ok"],
        fingerprint(sorted((name, state.state, state.sha256) for name, state in states.items())),
        [
            verdict(
                "raw_videos",
                "conservation",
                not lost,
                f"{len(found)} videos = " + " + ".join(f"{count} {name}" for name, count in sorted(counts.items())),
            ),
            verdict(
                "raw_videos",
                "decodable_share",
                failed_share <= work.config.download.max_failed_share,
                f"{1 - failed_share:.1%} did not fail",
            ),
        ],
        {
            "videos": len(found),
            "ok": counts["ok"],
            "failed": counts["failed"],
            "pending": counts["pending"],
            "taken down": counts["taken_down"],
            "megabytes": round(total_bytes / 1e6, 2),
            "failed by class": bars({str(name): count for name, count in classes.most_common()}, "failed by class")
            if classes
            else None,
            "failures": table(
                [{"video": r["video_id"], "class": r["error_class"], "message": r["message"]} for r in failures], 10
            ),
            "formats": bars(_counts(attempts["format"]), "formats"),
            "path": dg.MetadataValue.path(work.store.url(f"raw/{batch}")),
        },
    )


def _counts(column: "pa.ChunkedArray[Any]") -> dict[str, float]:
    return dict(Counter(str(value) for value in column.to_pylist() if value).most_common())
