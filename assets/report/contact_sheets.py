"""A contact sheet per batch: one small frame of up to 24 of its downloaded videos, for a look at what came in.

The picture is a blob, `reports/contact/<batch>.jpg`; the `.json` beside it names the videos that it shows, so that a
takedown finds it: `withdraw_sheets` redraws the sheets that show a video which was taken down.

    key = draw_sheet(store, config, "2026w47-0001")
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from assets.report.thumbnails import Picture, contact_sheet, jpeg_bytes
from pipeline.config import Config
from pipeline.download.ledger import State, download_states
from pipeline.ids import short_hash
from pipeline.storage.arrow import pc
from pipeline.storage.named_pictures import replace_picture
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.workers.engine import make_engine

FOLDER = "reports/contact"
MOST_PICTURES = 24
_COLUMNS, _WIDTH, _HEIGHT = 6, 128, 72
_QUALITY = 72
_DEADLINE_S = 60.0


def draw_sheet(store: Store, config: Config, batch: str) -> str | None:
    """Draw a batch's contact sheet, if it would change, and return its key; None where there is nothing to show.

    Args:
        store: raw files are read from here (or clips, where the raw file was dropped), the sheet is written here.
        config: engine and clip settings.
        batch: the batch; its videos are chosen by a hash of their ids, so that the choice hardly moves as it grows.
    """
    states = [state for state in download_states(store, batch).values() if state.state == "ok"]
    chosen = sorted(states, key=lambda state: short_hash(state.video_id))[:MOST_PICTURES]
    chosen.sort(key=lambda state: state.video_id)
    wanted = {state.video_id: str(state.sha256) for state in chosen}
    key = sheet_key(batch)
    if not wanted:
        _remove(store, batch)
        return None
    about = sheet_about(store, batch)
    if about.get("videos") == wanted and store.exists(key) and _sha256(store.read_blob(key)) == about.get("sha256"):
        return key
    pictures = _pictures(store, config, chosen)
    # again, just before it is published: a takedown may have come meanwhile
    hidden = taken_down(store).hidden_among(store, wanted)
    shown = {name: picture for name, picture in pictures.items() if name not in hidden}
    if not shown:
        _remove(store, batch)
        return None
    sheet = jpeg_bytes(contact_sheet(list(shown.values()), _COLUMNS), _QUALITY)
    videos = {name: sha256 for name, sha256 in wanted.items() if name not in hidden}
    facts = {"batch": batch, "shown": list(shown), "videos": videos, "sha256": _sha256(sheet)}
    replace_picture(store, key, sheet, _about_key(batch), facts)
    return key


def withdraw_sheets(store: Store, config: Config) -> list[str]:
    """Redraw the sheets that show a video which was taken down; return their batches."""
    hidden = taken_down(store).hidden_videos(store)
    if not hidden:
        return []
    where = pc.field("video_id").isin(pa.array(sorted(hidden), pa.string()))
    batches = sorted({str(name) for name in store.read("videos", ["batch"], where)["batch"].to_pylist() if name})
    stale = [batch for batch in batches if _may_show(store, batch, hidden)]
    for batch in stale:
        _remove(store, batch)
        draw_sheet(store, config, batch)
    return stale


def _may_show(store: Store, batch: str, hidden: Collection[str]) -> bool:
    """Tell whether a sheet shows one of some videos; one whose list of videos is lost may show any of them."""
    shown = sheet_about(store, batch).get("shown")
    if not isinstance(shown, list):
        return store.exists(sheet_key(batch))
    return not frozenset(hidden).isdisjoint(map(str, shown))


def sheet_key(batch: str) -> str:
    """Return the blob key of a batch's sheet."""
    return f"{FOLDER}/{batch}.jpg"


def sheet_about(store: Store, batch: str) -> dict[str, Any]:
    """Return what the sheet shows: `shown` (ids, in the order of the pictures), `videos`, `sha256`; {} without one."""
    try:
        found = json.loads(store.read_blob(_about_key(batch)))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _about_key(batch: str) -> str:
    return f"{FOLDER}/{batch}.json"


def _remove(store: Store, batch: str) -> None:
    store.delete(sheet_key(batch))
    store.delete(_about_key(batch))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- one frame of a video -----------------------------------------------------------------------------------------


def _pictures(store: Store, config: Config, states: Iterable[State]) -> dict[str, Picture]:
    """Return a picture per video that has one, in the order given; one that cannot be decoded is left out."""
    items = [(store, state.video_id, str(state.path), float(state.duration_s or 0)) for state in states]
    # in a process of its own: a file that crashes the decoder costs its own picture
    engine = make_engine(config.engine, workers=1, deadline_s=_DEADLINE_S, here=True)
    drawn = {item[1]: outcome.value for item, outcome in engine.run(_picture, items) if outcome.ok}
    found: dict[str, Picture] = {}
    for _, video_id, _, _ in items:
        picture = drawn.get(video_id)
        if picture is None:
            picture = _from_clip(store, config, video_id)
        if picture is not None:
            found[video_id] = picture
    return found


def _picture(item: tuple[Store, str, str, float]) -> Picture | None:
    """Return a frame of a raw file at a third of its length, on a small canvas; None where the file is gone."""
    from pipeline.clips.thumbnail import frame_at_a_third  # imported here: only workers need the decoder

    store, _, key, seconds = item
    try:
        with store.local_file(key) as path:
            frame = frame_at_a_third(path, seconds)
    except FileNotFoundError:
        return None
    return None if frame is None else _fitted(frame)


def _from_clip(store: Store, config: Config, video_id: str) -> Picture | None:
    from pipeline.clips.read import FRAME_COLUMNS, read_clips, read_frames

    columns = ["clip_id", *FRAME_COLUMNS]
    rows = read_clips(store, config, columns, pc.field("video_id") == video_id).sort_by("clip_id")
    if not len(rows):
        return None
    row = rows.slice(len(rows) // 3, 1).to_pylist()[0]
    try:
        return _fitted(Image.fromarray(read_frames(store, row)[0]))
    except (OSError, EOFError, ValueError):  # a damaged or missing tar: the sheet shows the other videos
        return None


def _fitted(image: Image.Image) -> Picture:
    """Return a picture scaled to fit the canvas, on black."""
    image = image.convert("RGB")
    scale = min(_WIDTH / image.width, _HEIGHT / image.height)
    small = image.resize(
        (max(round(image.width * scale), 1), max(round(image.height * scale), 1)), Image.Resampling.BOX
    )
    canvas = Image.new("RGB", (_WIDTH, _HEIGHT))
    canvas.paste(small, ((_WIDTH - small.width) // 2, (_HEIGHT - small.height) // 2))
    return np.asarray(canvas)
