"""Rows of `searches`: what each query of a search found, and whether a round needs no search again."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.config import Config, fingerprint
from pipeline.rules import rules_version
from pipeline.search.found import Found
from pipeline.storage.store import Store


def search_is_done(store: Store, config: Config, round: int | None = None) -> bool:
    """Return whether this round of a closed world was searched already, under the same rules and settings.

    Only the embedded source is closed. A folder or a site may hold something new at any time.
    """
    if config.source.kind != "arcade":
        return False
    version, inputs = current_rules_version(config), _inputs(config)
    return any(
        row["round"] == round and row["rules_version"] == version and row["inputs"] == inputs
        for row in store.read("searches", ["source", "round", "rules_version", "inputs"]).to_pylist()
    )


def current_rules_version(config: Config) -> str:
    """Return the version of the rules that decide under a configuration."""
    return rules_version(config.rules, words=config.source.rules_apply, rights=config.source.rights_apply)


def _inputs(config: Config) -> str:
    """Return a hash of the settings that decide which videos a search sees (not their batches, nor the connection)."""
    source = dataclasses.replace(
        config.source,
        batch_size=1,
        apply_rules=config.source.rules_apply,
        apply_rights=config.source.rights_apply,
        cookies="",
        proxy="",
        max_rate_kb_s=0.0,
        check_certificates=True,
        max_search_s=1.0,
        settle_s=0.0,
    )
    return fingerprint(source, config.arcade if config.source.kind == "arcade" else None)


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """What one search found and wrote."""

    round: int | None
    moment: datetime
    rows: list[dict[str, Any]]
    """Rows of `videos`, as they are after the search."""
    found: Mapping[str, Found]
    """The same videos by id, with this search's queries."""
    empty_queries: list[str]
    known: frozenset[str]
    """Ids of those videos that the store had before."""
    changed: bool
    """Whether the search changed `videos`."""


def record_searches(store: Store, config: Config, outcome: SearchOutcome) -> None:
    """Append a row per query, unless this search learned nothing and an earlier one recorded the same counts."""
    records = []
    counted: set[str] = set()
    by_query: dict[str, list[dict[str, Any]]] = {query: [] for query in outcome.empty_queries}
    for row in outcome.rows:
        for query in outcome.found[row["video_id"]].queries:
            by_query.setdefault(query, []).append(row)
    for query, mine in by_query.items():
        kept = sum(row["verdict"] == "kept" for row in mine)
        new = {row["video_id"] for row in mine} - outcome.known - counted
        counted |= new
        records.append(
            {
                "source": config.source.kind,
                "query": query,
                "round": outcome.round,
                "rules_version": current_rules_version(config),
                "inputs": _inputs(config),
                "found": len(mine),
                "kept": kept,
                "rejected": len(mine) - kept,
                "new": len(new),
            }
        )
    if not outcome.changed:
        recorded = {_counts(row) for row in store.read("searches").to_pylist()}
        records = [row for row in records if _counts(row) not in recorded]
    store.append(
        "searches", [{**row, "search_id": str(uuid.uuid4()), "searched_at": outcome.moment} for row in records]
    )


def _counts(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("source", "query", "round", "rules_version", "inputs", "found", "kept", "rejected")
    return tuple(row[name] for name in names)
