"""The report's section on the audit: precision, recall, slices, what changed since the decision before, sheets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assets.report.curation_sheets import BEST, BORDERLINE, FOLDER, WORST
from assets.report.thumbnails import data_uri
from pipeline.ids import split_clip_id
from pipeline.inspect.audit_text import audit_lines, change_lines, distances, extreme_lines, read_audit
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_BY_SCORE = (BEST, BORDERLINE, WORST)
_MOST_MOVES, _MOST_MEASUREMENTS, _MOST_SLICES = 12, 8, 6


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
    keep_rates: dict[str, list[Mapping[str, Any]]]
    """Dimension -> its largest slices; one that has a single slice is left out."""
    why: list[Mapping[str, Any]]
    drift: Sequence[Mapping[str, Any]]
    """Distances to the decision before, the largest PSI first."""
    psi_by_chance: float
    sheets: list[Sheet]
    """The best, the borderline and the worst scores."""
    reason_sheets: list[Sheet]

    @property
    def clip_ids(self) -> list[str]:
        """Return the clips that it shows."""
        return [clip for sheet in (*self.sheets, *self.reason_sheets) for clip in sheet.clips]


def curation_view(store: Store) -> CurationView | None:
    """Return what the report shows; None before the first audit."""
    document = read_audit(store)
    if document is None:
        return None
    changes = document["changes"]
    # they name channels and videos: left out after a takedown until the next audit
    named = document["slices"] if document.get("takedowns") == store.version("takedowns") else {}
    sheets = _sheets(store)
    return CurationView(
        audit=audit_lines(document),
        changes=change_lines(changes),
        slices=extreme_lines(named),
        why=changes["why"][:_MOST_MOVES] if changes is not None else [],
        drift=distances(changes)[:_MOST_MEASUREMENTS],
        psi_by_chance=changes["psi_by_chance"] if changes is not None else 0.0,
        keep_rates={
            dimension: found["largest"][:_MOST_SLICES] for dimension, found in named.items() if found["count"] > 1
        },
        sheets=[sheets[name] for name in _BY_SCORE if name in sheets],
        reason_sheets=[sheet for name, sheet in sorted(sheets.items()) if name not in _BY_SCORE],
    )


def _sheets(store: Store) -> dict[str, Sheet]:
    """Return the sheets by name; one that shows a video which is taken down is left out until it is drawn anew."""
    hidden = taken_down(store).hidden_videos(store)
    found = {}
    for key in store.list_blobs(FOLDER):
        if not key.endswith(".jpg"):
            continue
        try:
            about = json.loads(store.read_blob(key.removesuffix(".jpg") + ".json"))
            name, clips = str(about["sheet"]), [str(clip) for clip in about["shown"]]
            hides = any(split_clip_id(clip)[0] in hidden for clip in clips)
            picture = store.read_blob(key)
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            continue  # the next audit draws it; without its list of clips a takedown could not find the page
        if clips and not hides:
            found[name] = Sheet(name, data_uri(picture, "image/jpeg"), clips)
    return found
