"""Gather what a packed world holds, from a store: rows, settings, files of models, start frames and their sources.

Videos that were taken down are left out: their start frames, clips and names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from models.evaluation.pictures import png_of
from models.play.packed.layout import CARD_FILE, FORMAT, PLAY_FILE, SOURCES_FILE, WORLD_FILE, Entry
from models.play.starts.held_out import start_frames
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.model_choice import models_in_use, pick_model, require_world
from pipeline.model_ids import TOKENIZER
from pipeline.outside import shown_url
from pipeline.shards.index import read_shard, samples_of
from pipeline.shards.manifest import card_keys
from pipeline.shards.read import current_shards, find_samples, shard_rows
from pipeline.shards.splits import SPLITS
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord, all_models, check_model_file
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_MODEL_FILES = ("config.json", "curve.json", "weights.safetensors")
_WEIGHTS = "weights.safetensors"
_SOURCE = ("video_id", "url", "channel", "title", "licence")


@dataclass(frozen=True)
class Contents:
    """What a packed world holds."""

    world: str
    """Id of the world."""
    files: dict[str, bytes | str]
    """Name -> its bytes, or the key of the blob of the store that they are in."""
    entries: dict[str, Entry]
    """Name -> size and SHA-256."""
    videos: frozenset[str]
    """Ids of the videos that it shows or names."""

    @property
    def packed_id(self) -> str:
        """An id that other contents do not have."""
        return fingerprint("packed", FORMAT, {name: entry.sha256 for name, entry in self.entries.items()})


def packed_from(config: Config, world: ModelRecord, evaluation: ModelRecord | None) -> str:
    """Return a fingerprint of what a packed world is made from: where it is another one, it is packed anew."""
    evaluated = None if evaluation is None else evaluation.model_id
    return fingerprint("packed from", FORMAT, world.model_id, evaluated, _settings(config))


def contents_of(store: Store, config: Config, model: str | None = None) -> Contents:
    """Return what a packed world holds.

    Args:
        store: holds the world.
        config: the configured world is packed, with these settings of play.
        model: id of another world, or the unique start of one.

    Raises:
        UserError: there is no such world, it has no start frame, or a file of it is gone or damaged.
    """
    world = require_world(store, config, model)
    tokenizer = pick_model(all_models(store), str(world.inputs["tokenizer"]), TOKENIZER)
    evaluation = models_in_use(store, config, world.model_id).evaluation
    starts = start_frames(store, config, world.model_id)
    if not starts:
        raise UserError(
            f"world {world.model_id} has no start frame: no source is held out, or all were taken down. Raise "
            "split.val_share, or add or keep more videos."
        )
    training = _training_videos(store, world.shards_version)
    pictures: dict[str, bytes | str] = {}
    described = []
    for index, start in enumerate(starts):
        name, clip_name = f"starts/start-{index:02d}.png", f"clips/start-{index:02d}.mp4"
        clip = _clip(store, start.clip_id) if config.play.pack_clips else None
        pictures |= {name: png_of(start.frame_HWC)} | ({} if clip is None else {clip_name: clip})
        described.append(
            {"file": name, "clip_id": start.clip_id, "frame": start.index, "clip": None if clip is None else clip_name}
        )
    shown = {split_clip_id(start.clip_id)[0] for start in starts}
    play = {"settings": _settings(config), "starts": described, "sources": _sources(store, shown)}
    files: dict[str, bytes | str] = {
        # what says whose videos a world shows is written before what shows them
        PLAY_FILE: _json(play),
        SOURCES_FILE: _json(training),
        WORLD_FILE: _json({"world": world.model_id, "models": _rows(tokenizer, world, evaluation)}),
        **_card(store, world.shards_version),
        **dict(_model_files(store, tokenizer, world)),
        **pictures,
    }
    entries = {name: _entry(store, content) for name, content in files.items()}
    named = shown.union(*training.values()) if training else shown
    return Contents(world.model_id, files, entries, frozenset(named))


def _settings(config: Config) -> dict[str, Any]:
    # the data type decides how numbers round, and so which frames come
    return {"play": asdict(config.play), "training": {"dtype": config.training.dtype}}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _rows(*rows: ModelRecord | None) -> list[dict[str, Any]]:
    return [_plain(row) for row in rows if row is not None]


def _plain(row: ModelRecord) -> dict[str, Any]:
    return {
        "model_id": row.model_id,
        "kind": row.kind,
        "path": row.path,
        "parameters": row.parameters,
        "steps": row.steps,
        "config": row.config,
        "figures": row.metrics,
        "inputs": row.inputs,
        "shards_version": row.shards_version,
        "created_at": row.created_at.isoformat(),
    }


def _model_files(store: Store, *rows: ModelRecord) -> Iterator[tuple[str, str]]:
    for row in rows:
        for name in _MODEL_FILES:
            key = f"{row.path}/{name}"
            # a curve may be missing, weights may not
            if name == _WEIGHTS or store.exists(key):
                check_model_file(store, row, name)
                if not store.exists(key):
                    raise UserError(f"world {row.model_id} cannot be packed: {key} is not there. Restore it.")
                yield key, key


def _entry(store: Store, content: bytes | str) -> Entry:
    if isinstance(content, bytes):
        return Entry(hashlib.sha256(content).hexdigest(), len(content))
    return Entry(store.sha256(content), store.size(content))


def _card(store: Store, version: str | None) -> dict[str, bytes | str]:
    key = None if version is None else next(key for key in card_keys(version) if key.endswith(".json"))
    return {CARD_FILE: key} if key is not None and store.exists(key) else {}


def _training_videos(store: Store, version: str | None) -> dict[str, list[str]]:
    """Return the ids of the videos of each split of a set; empty for a set that is not published any more."""
    if version is None or version != current_shards(store):
        return {}
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for row in shard_rows(store, version):
        ids = read_shard(store, row, lambda _: None)["video_id"].unique().to_pylist()
        found[str(row["split"])].update(map(str, ids))
    hidden = taken_down(store).hidden_among(store, set().union(*found.values()))
    return {split: sorted(ids - hidden) for split, ids in found.items() if ids - hidden}


def _sources(store: Store, videos: set[str]) -> list[dict[str, Any]]:
    """Return what is known of the videos that start frames are from, without passwords and tokens of addresses."""
    rows = store.read("videos", list(_SOURCE), pc.field("video_id").isin(pa.array(sorted(videos), pa.string())))
    found = sorted(rows.to_pylist(), key=lambda row: str(row["video_id"]))
    return [{**row, "url": None if row["url"] is None else shown_url(row["url"])} for row in found]


def _clip(store: Store, clip_id: str) -> bytes | None:
    """Return the MP4 of a clip; None where no shard holds it."""
    version = current_shards(store)
    row = None if version is None else find_samples(store, version, [clip_id]).get(clip_id)
    if row is None:
        return None
    for sample in samples_of(read_shard(store, row, lambda _: None), str(row["path"])):
        if sample.clip_id == clip_id:
            return sample.read_mp4(store)
    return None
