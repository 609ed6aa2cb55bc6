"""Contact sheets of a decision: the best, the worst and the borderline clips, and some of each reason.

A sheet is the blob `reports/curation/<name>.jpg`, one frame a clip; the `.json` beside it names the clips, so that a
takedown finds it. It is drawn again only where other clips are shown.

    sheets = draw_curation_sheets(store, config)      # name -> key
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from assets.report.thumbnails import Picture, contact_sheet, jpeg_bytes
from pipeline.clips.read import FRAME_COLUMNS, read_clips, read_frames
from pipeline.config import Config
from pipeline.ids import short_hash, slug
from pipeline.storage.arrow import pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.named_pictures import replace_picture
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

FOLDER = "reports/curation"
BEST, WORST, BORDERLINE = "best", "worst", "borderline"
_PICTURES, _OF_A_REASON, _MOST_REASONS = 24, 12, 12
# one clip a video is shown, so more are looked at
_LOOKED_AT = 10 * _PICTURES
_COLUMNS, _WIDTH, _HEIGHT, _QUALITY = 6, 128, 72, 72
_BATCH_ROWS = 1 << 16
_FRAME = 3  # of the eight: an early one may be a fade-in


class _Smallest:
    """The clips with the smallest numbers, among equals the first by id; memory does not grow with what is added."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, _Backwards, str]] = []

    def add(self, number: float, clip_id: str, video_id: str) -> None:
        # heapq pops the smallest, which is here the one that goes
        heapq.heappush(self._heap, (-number, _Backwards(clip_id), video_id))
        if len(self._heap) > self._most:
            heapq.heappop(self._heap)

    def one_a_video(self, most: int) -> list[str]:
        """Return ids of clips, the smallest number first."""
        first: dict[str, str] = {}
        for _, clip, video_id in sorted(self._heap, key=lambda item: (-item[0], item[1].text)):
            first.setdefault(video_id, clip.text)
        return list(first.values())[:most]


class _Backwards:
    """A text that sorts backwards."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Backwards) -> bool:
        return self.text > other.text


def draw_curation_sheets(store: Store, config: Config) -> dict[str, str]:
    """Draw the sheets of the present decision where they would change, delete those of others; return name -> key."""
    hidden = taken_down(store).hidden_videos(store)
    chosen = {name: clips for name, clips in _chosen(store, hidden).items() if clips}
    rows = _rows(store, config, {clip for clips in chosen.values() for clip in clips})
    drawn = {}
    for name, clips in chosen.items():
        shown = {clip: str(rows[clip]["sha256"]) for clip in clips if clip in rows}
        if _is_drawn(store, name, shown) or _draw(store, name, [rows[clip] for clip in shown], shown):
            drawn[name] = _key(name)
    for key in store.list_blobs(FOLDER):
        stem, _, ending = key.rpartition(".")
        if ending in {"jpg", "json"} and f"{stem}.jpg" not in drawn.values() and stem != f"{FOLDER}/audit":
            store.delete(key)
    return drawn


def _key(name: str) -> str:
    return f"{FOLDER}/{slug(name, 60).lower()}.jpg"


def _chosen(store: Store, hidden: frozenset[str]) -> dict[str, list[str]]:
    """Return the clips of each sheet; reads the table once."""
    cut = (store.inputs("curated").get("threshold") or {}).get("threshold")
    by_score = {name: _Smallest(_LOOKED_AT) for name in (BEST, WORST, BORDERLINE)}
    reasons: dict[str, _Smallest] = {}
    for row in _decided(store):
        clip_id, video_id, probability = row["clip_id"], row["video_id"], row["probability"]
        if video_id in hidden:
            continue
        kind = f"{row['decision']} {row['kind']}"
        reasons.setdefault(kind, _Smallest(_LOOKED_AT)).add(int(short_hash(clip_id), 16), clip_id, video_id)
        if probability is not None:
            by_score[BEST].add(-probability, clip_id, video_id)
            by_score[WORST].add(probability, clip_id, video_id)
            if cut is not None:
                by_score[BORDERLINE].add(abs(probability - cut), clip_id, video_id)
    return {
        **{name: found.one_a_video(_PICTURES) for name, found in by_score.items()},
        **{kind: found.one_a_video(_OF_A_REASON) for kind, found in sorted(reasons.items())[:_MOST_REASONS]},
    }


def _decided(store: Store) -> Iterator[dict[str, Any]]:
    columns = ["clip_id", "video_id", "decision", "kind", "probability"]
    for batch in store.scan("curated", columns, None, _BATCH_ROWS):
        yield from batch.to_pylist()


def _rows(store: Store, config: Config, clip_ids: set[str]) -> dict[str, dict[str, Any]]:
    where = pc.field("clip_id").isin(pa.array(sorted(clip_ids), pa.string()))
    rows = read_clips(store, config, ["clip_id", "video_id", "sha256", *FRAME_COLUMNS], where).to_pylist()
    return {row["clip_id"]: row for row in rows}


def _is_drawn(store: Store, name: str, shown: Mapping[str, str]) -> bool:
    try:
        about = json.loads(store.read_blob(_about_key(name)))
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    return isinstance(about, dict) and about.get("clips") == shown and store.exists(_key(name))


def _about_key(name: str) -> str:
    return _key(name).removesuffix(".jpg") + ".json"


def _draw(store: Store, name: str, rows: list[dict[str, Any]], shown: Mapping[str, str]) -> bool:
    """Draw a sheet and tell whether there was anything to show."""
    pictures = {row["clip_id"]: picture for row in rows if (picture := _picture(store, row)) is not None}
    # again, just before it is published: a takedown may have come meanwhile
    hidden = taken_down(store).hidden_among(store, {str(row["video_id"]) for row in rows})
    clips = [row["clip_id"] for row in rows if row["clip_id"] in pictures and row["video_id"] not in hidden]
    if not clips:
        return False
    about = {"sheet": name, "shown": clips, "clips": {clip: sha for clip, sha in shown.items() if clip in clips}}
    sheet = jpeg_bytes(contact_sheet([pictures[clip] for clip in clips], _COLUMNS), _QUALITY)
    replace_picture(store, _key(name), sheet, _about_key(name), about)
    return True


def _picture(store: Store, row: Mapping[str, Any]) -> Picture | None:
    """Return a frame of a clip; None where its bytes are gone or damaged: the sheet shows the others."""
    try:
        frame = Image.fromarray(read_frames(store, row)[_FRAME])
    except (OSError, EOFError, ValueError, DamagedError):
        return None
    return np.asarray(frame.convert("RGB").resize((_WIDTH, _HEIGHT), Image.Resampling.BOX))
