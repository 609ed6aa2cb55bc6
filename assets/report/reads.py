"""What the report shows of a store beyond `status`: examples with their frames, histograms, curves, pictures.

Everything is read by columns and byte ranges, a bounded number of clips is looked at in full, and the same store
gives the same values. Videos that were taken down are not shown.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from assets.report.thumbnails import Picture, contact_sheet, data_uri, jpeg_bytes
from pipeline.clip_spec import clip_spec
from pipeline.clips.read import FRAME_COLUMNS, read_clips, read_frames
from pipeline.config import Config
from pipeline.download.ledger import fold_attempts
from pipeline.ids import split_clip_id
from pipeline.storage.arrow import counts, pc, rows_with, rows_without, texts, unique
from pipeline.storage.models_table import ModelRecord, read_model_file
from pipeline.storage.run_pictures import RunPicture, folder_of_pictures, list_pictures
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

HISTOGRAM_BINS = 20
_SHOWN_FRAMES = (1, 4, 6)
_PER_REASON, _KEPT, _NOT_KEPT = 2, 9, 15
_BATCH_ROWS = 1 << 18


@dataclass(frozen=True)
class Example:
    """A clip with what was decided of it and a strip of its frames."""

    clip_id: str
    title: str
    start_s: float
    decision: str
    reason: str
    probability: float | None
    rating: int | None
    strip: str
    """JPEG as a data URI; empty where the frames could not be read."""


@dataclass(frozen=True)
class Decided:
    """Scores of all clips by decision, and the clips chosen as examples."""

    histogram: dict[str, list[int]]
    """decision -> clips per bin of probability, 0 to 1."""
    kept: list[Example]
    others: list[Example]


def decided_clips(store: Store, config: Config) -> Decided:
    """Return the histogram of scores and examples of every decision and reason, of as many videos as there are.

    Kept examples are the best scores, one a video; the others take each kind of reason in turn.
    """
    spec, hidden = clip_spec(config.clips), taken_down(store).hidden_videos(store)
    bins = {decision: np.zeros(HISTOGRAM_BINS, np.int64) for decision in ("keep", "review", "drop")}
    candidates: dict[str, list[dict[str, Any]]] = {}
    columns = ["clip_id", "video_id", "clip_spec", "decision", "reason", "probability", "rating"]
    for batch in store.scan("curated", columns, None, _BATCH_ROWS):
        rows = rows_with(pa.Table.from_batches([batch]), "clip_spec", spec)
        rows = rows_without(rows, "video_id", hidden)
        for decision, found in bins.items():
            own = rows_with(rows, "decision", decision)
            values = own["probability"].drop_null().to_numpy()
            found += np.histogram(values, HISTOGRAM_BINS, (0.0, 1.0))[0]
            _choose(candidates, own, decision)
    kept = sorted(candidates.pop("keep", []), key=lambda row: (-(row["probability"] or 0), row["clip_id"]))
    chosen = _one_a_video(kept)[:_KEPT]
    others = _in_turn(candidates)[:_NOT_KEPT]
    shown = _examples(store, config, [*chosen, *others])
    return Decided(
        {decision: counts.tolist() for decision, counts in bins.items()},
        [example for example in shown if example.decision == "keep"],
        [example for example in shown if example.decision != "keep"],
    )


def _choose(candidates: dict[str, list[dict[str, Any]]], rows: pa.Table, decision: str) -> None:
    """Keep a few candidates of each kind of reason; which ones does not depend on the order of the table."""
    if not len(rows):
        return
    if decision == "keep":
        best = rows.take(pc.sort_indices(rows, [("probability", "descending"), ("clip_id", "ascending")]))
        candidates["keep"] = candidates.get("keep", []) + best.slice(0, 200).to_pylist()
        return
    kinds = pc.replace_substring_regex(rows["reason"], r"[0-9.]+|duplicate of .*", "")
    for kind in unique(kinds):
        own = rows.filter(pc.equal(kinds, kind)).sort_by("clip_id").slice(0, 50).to_pylist()
        pool = candidates.setdefault(f"{decision} {kind}", [])
        pool.extend(own)
        pool.sort(key=lambda row: str(row["clip_id"]))
        del pool[50:]


def _one_a_video(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["video_id"], row)
    return list(first.values())


def _in_turn(candidates: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    pools = [_one_a_video(candidates[kind])[:_PER_REASON] for kind in sorted(candidates)]
    return [pool[turn] for turn in range(_PER_REASON) for pool in pools if turn < len(pool)]


def _examples(store: Store, config: Config, rows: list[dict[str, Any]]) -> list[Example]:
    ids = [row["clip_id"] for row in rows]
    columns = ["clip_id", "start_ms", *FRAME_COLUMNS]
    where = pc.field("clip_id").isin(texts(ids))
    clips = {clip["clip_id"]: clip for clip in read_clips(store, config, columns, where).to_pylist()}
    videos = pc.field("video_id").isin(texts({row["video_id"] for row in rows}))
    named = store.read("videos", ["video_id", "title"], videos)
    titles = dict(zip(named["video_id"].to_pylist(), named["title"].to_pylist(), strict=True))
    return [
        Example(
            clip_id=row["clip_id"],
            title=titles.get(row["video_id"]) or row["video_id"],
            start_s=clips[row["clip_id"]]["start_ms"] / 1000,
            decision=row["decision"],
            reason=row["reason"],
            probability=row["probability"],
            rating=row["rating"],
            strip=_strip(store, clips[row["clip_id"]]),
        )
        for row in rows
        if row["clip_id"] in clips
    ]


def _strip(store: Store, clip: Mapping[str, Any]) -> str:
    try:
        frames: Picture = read_frames(store, clip)
    except (OSError, EOFError, ValueError):  # a damaged or missing tar: the report shows the other clips
        return ""
    return data_uri(jpeg_bytes(contact_sheet([frames[k] for k in _SHOWN_FRAMES], 3), 72), "image/jpeg")


# -- videos that never became clips -------------------------------------------------------------------------------


def rejected_videos(store: Store, per_rule: int = 3) -> dict[str, tuple[int, list[str]]]:
    """Return rule -> (videos, a few of their titles), the most frequent rule first."""
    hidden = taken_down(store).hidden_videos(store)
    rows = store.read("videos", ["video_id", "title", "rule"], pc.field("verdict") != "kept").sort_by("video_id")
    rows = rows_without(rows, "video_id", hidden)
    by_rule = counts(rows["rule"])
    found = {}
    for rule in sorted(by_rule, key=lambda name: (-by_rule[name], name))[:40]:
        titles = rows_with(rows, "rule", rule)["title"].slice(0, per_rule).to_pylist()
        found[rule] = (by_rule[rule], [title or "(no title)" for title in titles])
    return found


def failures(store: Store, config: Config, most: int = 12) -> list[dict[str, str]]:
    """Return videos whose download or cut failed: title, stage, error class and message."""
    hidden = taken_down(store).hidden_videos(store)
    columns = ["video_id", "error_class", "message"]
    spec = pc.field("clip_spec") == clip_spec(config.clips)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for stage, table, where in (
        ("download", "downloads", pc.field("state") == "failed"),
        ("clips", "clippings", spec & (pc.field("state") == "failed")),
    ):
        rows = rows_without(store.read(table, columns, where), "video_id", hidden).sort_by("video_id")
        if stage == "download":
            # an attempt that failed and was tried again, or a file that was replaced since, is no failure any more
            states = fold_attempts(store)
            failed = states.filter(pc.equal(states["state"], "failed"))["video_id"]
            rows = rows.filter(pc.is_in(rows["video_id"], value_set=failed.combine_chunks()))
        # several attempts of one video may have failed: the first `most` videos lie within a multiple of it
        for row in rows.slice(0, 20 * most).to_pylist():
            found[row["video_id"], stage] = {**row, "stage": stage}
    chosen = list(found.values())[:most]
    ids = pc.field("video_id").isin(texts({row["video_id"] for row in chosen}))
    named = store.read("videos", ["video_id", "title"], ids)
    titles = dict(zip(named["video_id"].to_pylist(), named["title"].to_pylist(), strict=True))
    return [{**row, "title": titles.get(row["video_id"]) or row["video_id"]} for row in chosen]


# -- what models left ---------------------------------------------------------------------------------------------


def curve(store: Store, model: ModelRecord) -> dict[str, list[tuple[float, float]]]:
    """Return a training's curve, name -> points (step, value), from `curve.json` beside the model; {} without one."""
    points = model.metrics.get("curve")
    try:
        points = json.loads(read_model_file(store, model, "curve.json"))
    except FileNotFoundError:
        points = points or []
    return curve_points(points)


def curve_points(points: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return name -> points (step, value) of the metrics of recorded steps."""
    found: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        for name, value in point.items():
            if name != "step" and isinstance(value, int | float):
                found.setdefault(name, []).append((float(point.get("step", 0)), float(value)))
    return found


@dataclass(frozen=True)
class Pictures:
    """Pictures of an evaluation, and the clips that they show."""

    uris: dict[str, str]
    """Name (`rollouts.gif`, ...) -> data URI."""
    clip_ids: list[str]
    withheld: bool
    """True where a clip that they show was taken down since: none is shown then."""


def evaluation_pictures(store: Store, evaluation: ModelRecord, most_bytes: int = 1_600_000) -> Pictures:
    """Return an evaluation's pictures as data URIs; one larger than `most_bytes` becomes a JPEG."""
    folder = evaluation.path
    names = ("rollouts.gif", "rollouts.png", "contact-sheet.png")
    try:
        about = json.loads(read_model_file(store, evaluation, "pictures.json"))
    except FileNotFoundError:
        about = {}
    clip_ids = sorted(
        {str(clip) for name in ("contact_sheet", "rollouts") for clip in about.get(name, {}).get("clips", [])}
    )
    hidden = taken_down(store).hidden_videos(store)
    if any(split_clip_id(clip_id)[0] in hidden for clip_id in clip_ids):
        return Pictures({}, [], True)
    uris = {}
    for name in names:
        if store.exists(f"{folder}/{name}"):
            data = read_model_file(store, evaluation, name)
            kind = name.rsplit(".", 1)[1]
            if len(data) > most_bytes and kind == "png":
                with Image.open(io.BytesIO(data)) as picture:
                    data, kind = jpeg_bytes(np.asarray(picture.convert("RGB"))), "jpeg"
            if len(data) <= most_bytes:
                uris[name] = data_uri(data, f"image/{kind}")
    return Pictures(uris, clip_ids if uris else [], False)


def run_picture(store: Store, kind: str, run: str, steps: int) -> RunPicture | None:
    """Return the last picture that a run drew on its way; None where there is none, or a clip of it was taken down."""
    # a training with fewer steps than an earlier one of the same settings has a folder of its own
    for name in (f"{run}-{steps}", run):
        found = [one for one in list_pictures(store, folder_of_pictures(kind, name)) if one.step <= steps]
        if found:
            clips = found[-1].clip_ids
            videos = [split_clip_id(clip_id)[0] for clip_id in clips or []]
            withheld = clips is None or taken_down(store).hidden_among(store, videos)
            return None if withheld else found[-1]
    return None
