"""What `raw_videos` shows of a batch: the states of its videos, bytes saved, its sites, and its checks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from assets.graph.checks import verdict
from assets.graph.context import Result, Work, bars, materialized, picture, table
from assets.report.contact_sheets import draw_sheet
from pipeline.config import fingerprint
from pipeline.download.ledger import State, download_states
from pipeline.sources.base import site_of
from pipeline.storage.arrow import counts, pc, rows_with

if TYPE_CHECKING:
    from pipeline.download.circuit_breaker import Breaker
    from pipeline.download.report import DownloadReport

_ATTEMPT_COLUMNS = ["video_id", "state", "path", "format", "error_class", "message"]
# site -> its breaker, None where the site never refused
Sites = Mapping[str, "Breaker | None"]


def downloaded(work: Work, report: "DownloadReport") -> Result:
    """Return the materialization of a batch after a pass of downloads."""
    states = download_states(work.store, report.batch)
    kept = (pc.field("batch") == report.batch) & (pc.field("verdict") == "kept")
    videos = work.store.read("videos", ["video_id", "source", "url"], kept)
    attempts = work.store.read("downloads", _ATTEMPT_COLUMNS, pc.field("batch") == report.batch)
    sites = _sites(work, videos)
    sheet = draw_sheet(work.store, work.config, report.batch)
    return materialized(
        report.ok,
        fingerprint(sorted((name, state.state, state.sha256) for name, state in states.items())),
        [
            _conservation(work, report, videos, states, attempts),
            _decodable_share(work, report),
            _site_open(sites),
            verdict("raw_videos", "paused", not report.paused, report.paused or "nothing held downloads back"),
        ],
        {
            **_counted(report),
            **_amounts(report),
            "top errors": _errors(report),
            "failures": table(_failures(states), 10),
            "formats": bars(_by_count(counts(rows_with(attempts, "state", "ok")["format"])), "formats"),
            "sites": table(_site_rows(sites)),
            "contact sheet": picture(work.store, sheet),
            "path": dg.MetadataValue.path(work.store.url(f"raw/{report.batch}")),
        },
    )


def failed_metadata(report: "DownloadReport") -> dict[str, Any]:
    """Return what a failed batch shows: the states of its videos, and the errors."""
    found = {**_counted(report), "top errors": _errors(report)}
    return {name: value for name, value in found.items() if value is not None}


# -- counts and sizes ----------------------------------------------------------------------------------------------


def _counted(report: "DownloadReport") -> dict[str, Any]:
    """Return the number of videos in each state."""

    def chart(found: Mapping[str, int], name: str) -> dg.MarkdownMetadataValue | None:
        return bars(_by_count(found), name) if found else None

    return {
        "videos": report.videos,
        "ok": report.ok,
        "failed": sum(report.failed.values()),
        "rejected": sum(report.rejected.values()),
        "pending": report.pending,
        "taken down": report.taken_down,
        "next try": dg.MetadataValue.timestamp(report.next_try_at) if report.next_try_at else None,
        "failed by class": chart(report.failed, "failed by class"),
        "rejected by class": chart(report.rejected, "rejected by class"),
        "pending by class": chart(report.pending_classes, "pending by class"),
    }


def _errors(report: "DownloadReport") -> dg.TableMetadataValue | None:
    return table([{"class": name, "message": said, "videos": count} for name, said, count in report.errors])


def _amounts(report: "DownloadReport") -> dict[str, Any]:
    """Return what this pass did, and what the smallest sufficient format saved."""
    found: dict[str, Any] = {
        "tried": report.tried,
        "videos per second": round(report.rate, 4),
        "seconds of work": round(report.wall_s, 1),
        "megabytes": round(report.bytes / 1e6, 2),
        "hours of video": round(report.seconds / 3600, 3),
    }
    for rows, usual in ((360, report.bytes_360p), (720, report.bytes_720p)):
        # over the videos whose source gave the size of the default format
        if usual:
            found[f"megabytes saved against {rows}p"] = round((usual - report.bytes_compared) / 1e6, 2)
            found[f"times smaller than {rows}p"] = round(usual / max(report.bytes_compared, 1), 2)
    return found


def _failures(states: Mapping[str, State]) -> list[dict[str, Any]]:
    return [
        {"video": name, "class": state.error_class, "message": state.message}
        for name, state in states.items()
        if state.state in {"failed", "rejected"}
    ]


def _by_count(found: Mapping[str, int]) -> dict[str, float]:
    return {name: found[name] for name in sorted(found, key=lambda name: (-found[name], name))}


# -- sites --------------------------------------------------------------------------------------------------------


def _sites(work: Work, videos: pa.Table) -> Sites:
    """Return the sites that the batch's videos come from, with their breakers."""
    from pipeline.download.circuit_breaker import breakers

    known = breakers(work.store)
    pairs = zip(videos["source"].to_pylist(), videos["url"].to_pylist(), strict=True)
    return {site: known.get(site) for site in sorted({site_of(str(source), str(url)) for source, url in pairs})}


def _site_rows(sites: Sites) -> list[dict[str, Any]]:
    """Return a row per site, those that refused last first."""
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {
            "site": site,
            "state": breaker.state_at(now) if breaker else "closed",
            "refusals": breaker.refusals if breaker else 0,
            "class": breaker.error_class if breaker else None,
            "message": breaker.message if breaker else None,
            "next try": _moment(breaker.next_try_at) if breaker and breaker.state != "closed" else None,
        }
        for site, breaker in sites.items()
    ]
    return sorted(rows, key=lambda row: (row["state"] == "closed", -row["refusals"], row["site"]))


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "at once"


# -- checks -------------------------------------------------------------------------------------------------------


def _conservation(
    work: Work, report: "DownloadReport", videos: pa.Table, states: Mapping[str, State], attempts: pa.Table
) -> dg.AssetCheckResult:
    """Check that videos found by the search = states in the ledger, and that every file exists."""
    found = set(videos["video_id"].to_pylist())
    strangers = {str(name) for name in attempts["video_id"].to_pylist() if name not in found}
    missing = _missing_files(work, report.batch, states)
    if missing:
        # another run may have cut them meanwhile and dropped the files, which is no loss
        now = download_states(work.store, report.batch)
        missing = [name for name in missing if (path := now[name].path) and not work.store.exists(path)]
    parts = {
        "ok": report.ok,
        "failed": sum(report.failed.values()),
        "rejected": sum(report.rejected.values()),
        "pending": report.pending,
        "taken down": report.taken_down,
    }
    holds = len(found) == sum(parts.values()) and found == set(states) and not strangers and not missing
    text = f"{len(found)} videos = " + " + ".join(f"{count} {name}" for name, count in parts.items())
    if missing:
        text += f"; {len(missing)} files are not there"
    if strangers:
        text += f"; {len(strangers)} attempts are of videos that the batch does not have"
    first = next(iter([*missing, *sorted(strangers)]), None)
    return verdict("raw_videos", "conservation", holds, text, {"first": first} if first else None)


def _missing_files(work: Work, batch: str, states: Mapping[str, State]) -> list[str]:
    blobs = set(work.store.list_blobs(f"raw/{batch}"))
    return [name for name, state in states.items() if state.state == "ok" and state.path and state.path not in blobs]


def _decodable_share(work: Work, report: "DownloadReport") -> dg.AssetCheckResult:
    failed = sum(report.failed.values()) / max(report.videos, 1)
    limit = work.config.download.max_failed_share
    return verdict(
        "raw_videos", "decodable_share", failed <= limit, f"{1 - failed:.1%} did not fail", {"failed share": failed}
    )


def _site_open(sites: Sites) -> dg.AssetCheckResult:
    """Report which sites are paused, why, and until when: pending is not failed."""
    now = datetime.now(UTC)
    resting = [breaker for breaker in sites.values() if breaker is not None and breaker.state_at(now) == "open"]
    said = [
        f"{one.site} is paused until {_moment(one.next_try_at)} ({one.error_class}: {one.message}); its videos stay "
        "pending, and a run after that continues with them"
        for one in resting
    ]
    return verdict("raw_videos", "site_open", not resting, "; ".join(said) or "no site of this batch is paused")
