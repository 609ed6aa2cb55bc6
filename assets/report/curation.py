"""The report's section on the audit: precision, recall, slices, what changed since the decision before, sheets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assets.report.curation_sheets import BEST, BORDERLINE, FOLDER, WORST
from assets.report.thumbnails import data_uri
from pipeline.inspect.audit_text import audit_lines, change_lines, extreme_lines, read_audit
from pipeline.storage.store import Store

_MOST_MOVES, _MOST_MEASUREMENTS = 12, 8


@dataclass(frozen=True)
class Sheet:
    """A contact sheet."""

    name: str
    uri: str
    clips: list[str]


@dataclass(frozen=True)
class CurationView:
    """What the report shows of the audit of the present decision."""

    audit: list[str]
    changes: list[str]
    slices: list[str]
    """Slices of which all clips are kept, or none."""
    why: list[Mapping[str, Any]]
    drift: list[Mapping[str, Any]]
    """Distances to the decision before, the largest PSI first."""
    psi_by_chance: float
    sheets: list[Sheet]

    @property
    def clip_ids(self) -> list[str]:
        """Return the clips that it shows."""
        return [clip for sheet in self.sheets for clip in sheet.clips]


def curation_view(store: Store) -> CurationView | None:
    """Return what the report shows; None before the first audit."""
    document = read_audit(store)
    if document is None:
        return None
    changes = document["changes"]
    drift: list[Mapping[str, Any]] = []
    if changes is not None:
        scores = changes["probabilities"]
        drift = [*([{"name": "probability", **scores}] if scores else []), *changes["measurements"]]
    return CurationView(
        audit=audit_lines(document),
        changes=change_lines(changes),
        slices=extreme_lines(document),
        why=changes["why"][:_MOST_MOVES] if changes is not None else [],
        drift=sorted(drift, key=lambda one: -one["psi"])[:_MOST_MEASUREMENTS],
        psi_by_chance=changes["psi_by_chance"] if changes is not None else 0.0,
        sheets=[sheet for name in (BEST, BORDERLINE, WORST) if (sheet := _sheet(store, name)) is not None],
    )


def _sheet(store: Store, name: str) -> Sheet | None:
    try:
        about = json.loads(store.read_blob(f"{FOLDER}/{name}.json"))
        picture = store.read_blob(f"{FOLDER}/{name}.jpg")
    except (FileNotFoundError, ValueError, RecursionError):
        return None  # the next audit draws it
    clips = about.get("shown") if isinstance(about, dict) else None
    return Sheet(name, data_uri(picture, "image/jpeg"), [str(clip) for clip in clips]) if clips else None
