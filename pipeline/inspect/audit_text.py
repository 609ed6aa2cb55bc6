"""The audit of a decision in words: precision, recall, and what changed since the decision before.

It is read from the document that the audit wrote, and is shown by `lampworks status`, Dagster and the report alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.storage.store import Store

CURATION_KEY = "reports/curation/audit.json"
FORMAT = 1
"""Of the document; another format is made again."""
_MOST_MOVES = 3


def read_audit(store: Store) -> dict[str, Any] | None:
    """Return the document; None where there is none that this version reads: the next pass makes it."""
    try:
        found = json.loads(store.read_blob(CURATION_KEY))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def curation_lines(store: Store) -> dict[str, tuple[str, ...]]:
    """Return what `lampworks status` shows: `audit` and `changes`, a line each.

    A decision that was not audited yet shows neither: the next pass audits it.
    """
    document = read_audit(store)
    if document is None or document["decision"] != store.inputs("curated").get("content"):
        return {}
    return {"audit": tuple(audit_lines(document)), "changes": tuple(change_lines(document["changes"]))}


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """Return a figure of an audit with its intervals, clips and sources."""
    of = f"{estimate['clips']} clips of {estimate['sources']} sources"
    if estimate["value"] is None:
        return f"not known ({of} rated)"
    if estimate["few"]:
        return f"too few to tell ({of} rated)"
    low, high = estimate["interval"]
    text = f"{estimate['value']:.2f} ({low:.2f} to {high:.2f} in this set"
    if estimate["source_interval"] is not None:
        text += "; {:.2f} to {:.2f} over sources".format(*estimate["source_interval"])
    return f"{text}), {of}"


def audit_lines(document: Mapping[str, Any]) -> list[str]:
    """Return what the audit says of the decision, a line each."""
    audit = document["audit"]
    drawn, rated = sum(audit["drawn"].values()), sum(audit["rated"].values())
    if not drawn:
        return ["people rated every clip that could be asked about"]
    if not rated:
        return [f"none of its {drawn} clips is rated: `lampworks label --audit`"]
    figures = audit["figures"]
    lines = [
        f"precision of the kept  {estimate_text(figures['precision'])}",
        f"recall                 {estimate_text(figures['recall'])}",
    ]
    if audit["by_stand_in"]:
        lines.append("rated by the embedded source, from which the classifier learned: no estimate for other footage")
    if not audit["is_present"]:
        lines.append("of an earlier decision; `lampworks label --audit` draws clips of the present one")
    elif rated < drawn:
        lines.append(f"{rated} of {drawn} clips are rated: `lampworks label --audit` goes on")
    return lines


def extreme_lines(slices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the slices of which all clips are kept, or none; a line for each dimension that has any."""
    lines = []
    for dimension, found in slices.items():
        named = [
            f"{row['name']} ({'all' if row['keep_rate'] else 'none'} of {row['clips']} kept)"
            for row in found["extremes"][:_MOST_MOVES]
        ]
        more = found["num_extremes"] - len(named)
        if named:
            lines.append(f"{dimension}: {', '.join(named)}" + (f" and {more} more" if more > 0 else ""))
    return lines


def change_lines(changes: Mapping[str, Any] | None) -> list[str]:
    """Return what changed since the decision before; nothing where there is none before."""
    if changes is None:
        return []
    parts = [f"{changes['entered']:,} entered, {changes['left']:,} left"]
    if changes["new"] or changes["gone"]:
        parts.append(f"{changes['new']:,} new clips, {changes['gone']:,} gone")
    if changes["churn"] is not None:
        parts.append(f"{changes['churn']:.1%} of the others have another verdict")
    return ["; ".join(parts), *_moves(changes["why"])]


def distances(changes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return how far probabilities and measurements moved since the decision before, the largest PSI first."""
    if changes is None:
        return []
    scores = changes["probabilities"]
    found = [*([{"name": "probability", **scores}] if scores else []), *changes["measurements"]]
    return sorted(found, key=lambda one: -one["psi"])


def _moves(why: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"{move['clips']:,} {move['change']}: {move['before']} -> {move['now']}" for move in why[:_MOST_MOVES]]
    more = sum(move["clips"] for move in why[_MOST_MOVES:])
    return lines + ([f"{more:,} for other reasons (table curation_changes)"] if more else [])
