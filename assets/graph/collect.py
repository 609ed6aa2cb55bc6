"""Group `collect`: what a search found, and the videos themselves."""

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.graph.checks import check_specs, verdict
from assets.graph.context import Result, Work, bars, batch_of, materialized, picture, table, working
from assets.graph.ownership import OWNERS
from assets.graph.partitions import VIDEO_BATCH, register_batches
from assets.graph.raw_videos import downloaded, failed_metadata
from assets.graph.resources import Lampworks
from pipeline.progress import notify
from pipeline.storage.arrow import counts, pc, rows_with, rows_without, total, unique

if TYPE_CHECKING:
    from pipeline.download.report import DownloadReport
    from pipeline.search.search import SearchReport


# a week between searches, as the schedule has it, and a day of grace
_STALE, _OVERDUE = timedelta(days=8), timedelta(days=15)


class SearchConfig(dg.Config):
    """How much of the source one search sees."""

    round: int = Field(
        default=0,
        ge=0,
        description="How many rounds the embedded source's feed has grown; 0 means all. Other sources ignore it.",
    )


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="collect",
    kinds={"python", "deltalake"},
    check_specs=check_specs("search_results"),
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=_OVERDUE, warn_window=_STALE),
)
def search_results(context: dg.AssetExecutionContext, config: SearchConfig, lampworks: Lampworks) -> Result:
    """One row of `videos` is one discovered video: its metadata, the queries that found it, the verdict and its rule.

    Candidates are merged by id: a video that several queries find is one row. Kept videos that are new form batches,
    which this asset registers as partitions of `video_batch`; rejected ones stay, with the rule that rejected them.
    """
    with working(context, lampworks) as work:
        from pipeline.inspect.retry import fetch_dropped_actions
        from pipeline.search.search import search_videos

        report = search_videos(work.job, round=config.round or None)
        if again := fetch_dropped_actions(work.job):
            notify(
                f"search: {len(again)} videos were fetched without the true actions beside them, the first {again[0]}: "
                "they are fetched and cut again, to the same clips",
                work.on_progress,
            )
        for batch in register_batches(context.instance, work.store):
            context.log.info(f"registered batch {batch}")
        return _searched(work, report)


def _searched(work: Work, report: "SearchReport") -> Result:
    from pipeline.search.spot_check import write_spot_check

    columns = ["title", "verdict", "rule", "batch", "licence"]
    videos = work.store.read("videos", columns)
    kept = rows_with(videos, "verdict", "kept")
    rejected = rows_without(videos, "verdict", "kept")
    rules = Counter(counts(rejected["rule"]))
    unknown = total(pc.equal(pc.utf8_length(pc.fill_null(kept["licence"], "")), 0))
    return materialized(
        len(videos),
        work.store.version("videos"),
        [
            rules_hold(work),
            verdict("search_results", "new_videos", report.new > 0, _new(report)),
        ],
        {
            "found in this search": report.found,
            "new": report.new,
            "kept": len(kept),
            # counted apart: whether these may be used is not known
            "kept, licence unknown": unknown,
            "rejected": len(rejected),
            "rejected by rule": bars(dict(rules.most_common()), "rejected by rule"),
            "examples of rejected": table(rejected.select(["title", "rule"]).slice(0, 8).to_pylist()),
            "queries": table(_queries(work), 40),
            "queries that failed": table(
                [{"query": query, "message": message} for query, message in report.failures.items()]
            ),
            "not read": table([{"note": note} for note in report.notes]),
            "spot check": picture(work.store, write_spot_check(work.job)),
            "batches": len(unique(videos["batch"])),
        },
    )


def _new(report: "SearchReport") -> str:
    text = f"{report.new} new of {report.found} found"
    if report.failures:
        query, why = next(iter(report.failures.items()))
        text += f"; {len(report.failures)} queries failed, {query!r} with: {why}"
    return text


def _queries(work: Work) -> list[dict[str, Any]]:
    """Return what each query of the source gave when it was last asked, and all that it ever was the first to find."""
    columns = ["query", "found", "kept", "rejected", "new", "searched_at"]
    rows = work.store.read("searches", columns, pc.field("source") == work.config.source.kind)
    by_query: dict[str, dict[str, Any]] = {}
    for row in rows.sort_by("searched_at").to_pylist():
        new = by_query.get(row["query"], {}).get("new", 0) + (row["new"] or 0)
        by_query[row["query"]] = {**row, "new": new, "searched_at": f"{row['searched_at']:%Y-%m-%d %H:%M}"}
    return sorted(by_query.values(), key=lambda row: (-row["new"], row["query"]))


def rules_hold(work: Work) -> dg.AssetCheckResult:
    """Judge every stored verdict again; one of other rules stays as those gave it."""
    from pipeline.rules import JUDGED, NO_METADATA, judge_row, rules_version

    wrong = judged = moved = 0
    words, rights = work.config.source.rules_apply, work.config.source.rights_apply
    version = rules_version(work.config.rules, words=words, rights=rights)
    for rows in work.store.scan("videos", [*JUDGED, "verdict", "batch", "rules_version"]):
        # verdicts of other rules (an older list, rules switched off) were made by what they name
        for row in rows.filter(pc.equal(rows["rules_version"], version)).to_pylist():
            if row["rule"].startswith(NO_METADATA):
                continue
            judged += 1
            if judge_row(row, work.config.rules, words=words, rights=rights).kept == (row["verdict"] == "kept"):
                continue
            # an assigned batch never changes, and its uploader may have changed the title since
            moved, wrong = (moved + 1, wrong) if row["batch"] else (moved, wrong + 1)
    text = f"{judged} verdicts judged again, {wrong} differ"
    if moved:
        text += f"; {moved} in batches were kept under a title or a description that has changed since"
    return verdict("search_results", "rules_hold", wrong == 0, text)


@dg.asset(
    owners=OWNERS,
    code_version="1",
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
    again later where that may help; the others continue. The circuit breaker pauses a site that refuses; its videos
    stay pending. Make a batch again at any time: only what is due is tried.
    """
    batch = batch_of(context)
    with working(context, lampworks) as work:
        from pipeline.download.batch import download_batch

        report = download_batch(work.batch_job(batch))
        # reported once, in the run where it happened: the next run continues with the others
        if report.too_many_failed and report.tried:
            raise dg.Failure(_too_many(work, report), metadata=failed_metadata(report), allow_retries=False)
        return downloaded(work, report)


def _too_many(work: Work, report: "DownloadReport") -> str:
    failed = sum(report.failed.values())
    classes = ", ".join(f"{count} {name}" for name, count in report.failed.items())
    return (
        f"{failed} of {report.videos} videos of batch {report.batch} failed ({classes}), a larger share than "
        f"download.max_failed_share = {work.config.download.max_failed_share:g}. Each is recorded with its reason "
        "(`lampworks why VIDEO`). If that is expected, run again: the other videos continue."
    )
