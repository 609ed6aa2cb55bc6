"""Which files of tokens follow from the published shards, the tokenizer and the settings: one per training tar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config, fingerprint
from pipeline.config.tokens import TokensConfig
from pipeline.shards.index import read_shard
from pipeline.shards.sample import DamagedSample
from pipeline.shards.splits import SPLITS, Split
from pipeline.storage.arrow import unique
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.tokens.files import file_key

FORMAT = 1
"""Raise it when a change changes the bytes of the files."""


@dataclass(frozen=True)
class PlannedFile:
    """A file of tokens and the clips that it is made of."""

    split: Split
    key: str
    shard: str
    """Blob key of the training tar."""
    clips: list[dict[str, Any]]
    """`clip_id`, `video_id`, `clip_sha256`, `cut_ms`, and the place of the mp4: `offset`, `size`, `fps`."""


def settings_of(config: Config) -> TokensConfig:
    """Return the settings with the numbers that 0 stands for."""
    window = config.tokens.window or config.tokenizer.window
    return TokensConfig(
        window=window,
        stride=config.tokens.stride or window,
        avoid_cuts=config.tokens.avoid_cuts,
        packing=config.tokens.packing,
    )


def tokens_version(config: Config, tokenizer: str) -> str:
    """Return the id of the set that a tokenizer (its `model_id`) and the settings make."""
    return fingerprint("tokens", FORMAT, tokenizer, settings_of(config))


def plan_token_files(store: Store, version: str) -> Iterator[PlannedFile]:
    """Yield the files of a token set over the published shards, without the clips of videos that are taken down."""
    tombstones = taken_down(store)
    rows = store.read("shards").sort_by("path").to_pylist()
    for split in SPLITS:
        for row in rows:
            if row["split"] == split:
                damaged: list[DamagedSample] = []
                index = read_shard(store, row, damaged.append)
                hidden = tombstones.hidden_among(store, unique(index["video_id"]))
                clips = [_source(entry) for entry in index.to_pylist() if entry["video_id"] not in hidden]
                if clips:
                    yield PlannedFile(split, file_key(version, split, _number(row["path"]), clips), row["path"], clips)


def token_inputs(store: Store, version: str) -> dict[str, Any]:
    """Return what a set is made from; while it does not change, the set does not either."""
    return {"set": version, "shards": store.version("shards"), "takedowns": store.version("takedowns")}


def _source(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("clip_id", "video_id", "offset", "size", "fps")
    return {name: entry[name] for name in names} | {"clip_sha256": entry["sha256"], "cut_ms": entry["cut_ms"] or []}


def _number(path: str) -> int:
    # a tar that was written again after a takedown has the number of the one before
    found = re.search(r"clips-(\d+)", path)
    assert found is not None, path
    return int(found[1])
