"""Rows of `videos`: what a search found is judged, compared with what the store has, and merged into it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pipeline.config import Config
from pipeline.outside import shown_text
from pipeline.rules import NO_METADATA, ODD_FILE, OPT_OUT, Verdict, judge_row
from pipeline.search.found import Found
from pipeline.search.records import current_rules_version
from pipeline.sources.faults import MALFORMED_FEED
from pipeline.storage.arrow import is_one_of
from pipeline.storage.rows import fitting_rows
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

_LOGGER = logging.getLogger(__name__)
_METADATA = (
    "video_id", "extractor", "native_id", "url", "title", "description", "tags", "channel_id", "channel",
    "duration_s", "upload_date", "licence", "age_limit", "live_status", "language", "thumbnail",
    "size_bytes", "modified_at", "etag",
)  # fmt: skip
_DECISION = ("verdict", "rule", "rules_version", "batch", "message")
_WIDE = {"description", "tags"}
_NARROW = [name for name in SCHEMAS["videos"].names if name not in _WIDE]
"""The columns that tell whether a row changes, without those that make a table of a million videos large."""
_LONGEST_SEARCH = timedelta(days=2)


def judged_row(found: Found, known: Mapping[str, Any] | None, config: Config, moment: datetime) -> dict[str, Any]:
    """Return the row of a video, with its verdict and the deciding rule; its batch is null if it had none.

    Args:
        found: what this search knows of it.
        known: its row in the store; None where it is new.
        config: the source and its rules.
        moment: the time of the search.
    """
    candidate = found.candidate
    fresh = vars(candidate)
    row: dict[str, Any] = {name: fresh[name] for name in _METADATA}
    row["tags"] = list(candidate.tags)
    row["source"] = config.source.kind
    row["queries"] = found.queries
    row["found_at"] = moment
    error_class = candidate.error_class
    if known is not None:
        row["found_at"], row["source"] = known["found_at"], known["source"]
        row["queries"] = [*known["queries"], *(query for query in found.queries if query not in known["queries"])]
        if error_class or candidate.listed:
            # the metadata in the store came from the page
            row |= {name: known[name] for name in _METADATA}
            if not known["rule"].startswith(NO_METADATA) and error_class != ODD_FILE:
                error_class = None
        if known["batch"] or (candidate.listed and known["rules_version"] == current_rules_version(config)):
            return row | {name: known[name] for name in _DECISION}
        if error_class is None and (candidate.error_class or candidate.listed):
            row["rule"] = known["rule"]  # it may be an opt-out, which only the page's server tells
    verdict = _verdict(row, error_class, candidate.message, config)
    return row | {
        "verdict": "kept" if verdict.kept else "rejected",
        "rule": verdict.rule,
        "rules_version": current_rules_version(config),
        "batch": None,
        "message": candidate.message or None if error_class else None,
    }


def _verdict(row: Mapping[str, Any], error_class: str | None, message: str, config: Config) -> Verdict:
    words = config.source.rules_apply
    if error_class == "opt_out":
        return Verdict(False, f"{OPT_OUT}{message.rpartition(':')[2].strip()}")
    if error_class == ODD_FILE:
        return Verdict(False, f"{ODD_FILE}: {message}")
    verdict = judge_row(row, config.rules, words=words, rights=config.source.rights_apply)
    # without its page a video may be kept; a list that cannot be read is no video
    unread = error_class != MALFORMED_FEED
    if error_class is None or (verdict.kept and not words and unread) or verdict.rule.startswith(("live:", "blocked:")):
        return verdict
    # the metadata is incomplete, so the rules' verdict does not count; a later search asks again where that may help
    return Verdict(False, f"{NO_METADATA}{error_class}")


def known_videos(store: Store, found: Mapping[str, Found], config: Config) -> dict[str, dict[str, Any]]:
    """Return the stored rows of the videos found, without description and tags where nothing can change them."""
    narrow = store.read("videos", _NARROW, is_one_of("video_id", found))
    known = {row["video_id"]: {**dict.fromkeys(_WIDE), **row} for row in narrow.to_pylist()}
    version = current_rules_version(config)
    wide = [
        name
        for name, row in known.items()
        if not found[name].candidate.listed
        or not (row["batch"] or (row["rules_version"] == version and row["verdict"] == "rejected"))
    ]
    if wide:
        # in small batches: the scan holds all descriptions of a batch until it is filtered
        for rows in store.scan("videos", SCHEMAS["videos"].names, is_one_of("video_id", wide), batch_rows=4096):
            known |= {row["video_id"]: row for row in rows.to_pylist()}
    return known


def fitting_videos(rows: Sequence[Mapping[str, Any]], config: Config) -> list[dict[str, Any]]:
    """Return rows that the table can hold; one with a value that it cannot hold is rejected as `internal`."""

    def rejected(row: dict[str, Any], reason: str) -> dict[str, Any]:
        _LOGGER.error("video %s is not kept: %s", row["video_id"], shown_text(reason))
        decision = {"verdict": "rejected", "rule": f"{NO_METADATA}internal", "batch": None, "message": reason[:300]}
        return row | decision | {"rules_version": current_rules_version(config)}

    return [dict(row) for row in fitting_rows("videos", rows, rejected)]


def write_rows(
    store: Store, rows: Iterable[dict[str, Any]], known: Mapping[str, dict[str, Any]], moment: datetime
) -> bool:
    """Insert new rows, update changed ones, and return whether there were any."""
    new, changed, found_again = [], [], {}
    for row in rows:
        before = known.get(row["video_id"])
        if before is None:
            new.append(row)
        elif {**row, "queries": None} != {**before, "queries": None}:
            changed.append(row)
        elif row["queries"] != before["queries"]:
            found_again[str(row["video_id"])] = [name for name in row["queries"] if name not in before["queries"]]
    store.merge("videos", changed, on=["video_id"], settled="batch")
    store.add_to_lists("videos", "video_id", "queries", found_again)
    # only a search that runs beside this one can have added the same rows since `known` was read
    store.merge("videos", new, on=["video_id"], since=("found_at", moment - _LONGEST_SEARCH), settled="batch")
    return bool(new or changed or found_again)
