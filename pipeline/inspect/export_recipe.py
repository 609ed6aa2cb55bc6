"""Write the training set as a recipe (`pipeline.recipe`): ids, addresses, spans, hashes, licences, rules; no pixels.

export_recipe(store, config, "set.recipe.jsonl.gz")
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.read import scan_clips
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.outside import shown_url
from pipeline.recipe import FORMAT, RecipeClip, RecipeVideo, opened_for_writing, video_line
from pipeline.shards.plan import plan_shards
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

_OF_CLIPS = ("seconds", "fps", "width", "height", "aspect", "crf", "gop")
_VIDEO_COLUMNS = [
    "video_id",
    "extractor",
    "native_id",
    "url",
    "title",
    "channel_id",
    "channel",
    "licence",
    "duration_s",
]


@dataclass(frozen=True)
class RecipeExport:
    """What was written."""

    videos: int
    clips: int
    secrets: int
    """Videos whose address holds a password or a query that was left out: these cannot be fetched by it."""
    own_files: int
    """Videos that are files of this machine: named by their relative path."""


def export_recipe(store: Store, config: Config, path: str | Path) -> RecipeExport:
    """Write the set that follows from the present decision as a recipe.

    Raises:
        UserError: there is no such set (the message says why), or the file cannot be written.
    """
    target = Path(path).absolute()
    temporary = target.parent / f".tmp-{uuid.uuid4().hex}{target.suffix}"
    try:
        found = repeat_after_takedown(store, lambda: _write(store, config, temporary))
        temporary.replace(target)
    except OSError as exc:
        raise UserError(f"export to {str(target)!r} failed: {exc.strerror or exc}. Choose another file.") from exc
    finally:
        temporary.unlink(missing_ok=True)
    return found


def _write(store: Store, config: Config, path: Path) -> RecipeExport:
    plan = plan_shards(store, config)
    clips = _with_hashes(
        store, config, plan.clips.select(["clip_id", "video_id", "start_ms", "end_ms", "split", "sha256"])
    )
    videos = {
        str(row["video_id"]): row
        for row in store.read(
            "videos", _VIDEO_COLUMNS, pc.field("video_id").isin(clips["video_id"].unique())
        ).to_pylist()
    }
    secrets = own_files = 0
    with opened_for_writing(path) as file:
        _add(file, _head(config, plan.version, len(videos), len(clips)))
        for video_id, rows in groupby(_rows(clips), key=lambda row: row["video_id"]):
            video = _video(videos[video_id], list(rows))
            own_files += not video.url
            secrets += bool(video.url) and video.url != videos[video_id]["url"]
            _add(file, video_line(video))
    return RecipeExport(len(videos), len(clips), secrets, own_files)


def _with_hashes(store: Store, config: Config, clips: pa.Table) -> pa.Table:
    """Return clips in the order of their ids, with the hashes of their pictures and of the file that they are from."""
    wanted = clips["clip_id"].combine_chunks()
    columns = ["clip_id", "hashes", "source_sha256"]
    parts = [part.filter(pc.is_in(part["clip_id"], value_set=wanted)) for part in scan_clips(store, config, columns)]
    return clips.join(pa.concat_tables(parts), "clip_id").sort_by(
        [("video_id", "ascending"), ("start_ms", "ascending")]
    )


def _rows(clips: pa.Table) -> Iterator[dict[str, Any]]:
    for part in clips.to_batches(max_chunksize=4096):
        yield from part.to_pylist()


def _head(config: Config, version: str, videos: int, clips: int) -> dict[str, Any]:
    return {
        "lampworks_recipe": FORMAT,
        "set": version,
        "clip_spec": clip_spec(config.clips),
        "videos": videos,
        "num_clips": clips,
        "clips": _plain(vars(config.clips)),
        "split": _plain(vars(config.split)),
        "shards": _plain(vars(config.shards)),
        "rules": {"search": fingerprint(config.rules), "decision": fingerprint(config.decision)},
    }


def _plain(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if isinstance(value, str | int | float | bool)}


def _video(row: dict[str, Any], clips: list[dict[str, Any]]) -> RecipeVideo:
    url = str(row["url"] or "")
    is_address = url.startswith(("http://", "https://"))
    return RecipeVideo(
        **{name: row[name] for name in _VIDEO_COLUMNS if name not in ("url", "title")},
        title=row["title"] or "",
        # a recipe is passed on: passwords and tokens of addresses, and paths of this machine, stay in the store
        url=shown_url(url) if is_address else "",
        source_sha256=clips[0]["source_sha256"],
        clips=tuple(
            RecipeClip(**{name: clip[name] for name in ("clip_id", "start_ms", "end_ms", "split", "sha256", "hashes")})
            for clip in clips
        ),
    )


def _add(file: Any, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False, sort_keys=True).encode() + b"\n")
