"""What the checks of the token shards ask: is every clip there, and are its tokens those of the tokenizer?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.registry import load_tokenizer
from models.runtime.compute import choose_compute
from models.tokens.windows import WindowEncoder
from pipeline.clips.stored import decode_stored_clip
from pipeline.job import Job
from pipeline.shards.sample import read_sample
from pipeline.tokens.files import layout_of, read_token_index
from pipeline.tokens.plan import plan_token_files
from pipeline.tokens.read import TokenClip, clips_of


@dataclass
class TokensCheck:
    """What was found in the published token shards."""

    missing: list[str] = field(default_factory=list)
    """Clips of the shards, not taken down, that no index names."""
    encoded_again: int = 0
    differing: list[str] = field(default_factory=list)
    """Clips that were encoded again and have other tokens."""


def check_tokens(job: Job, most: int) -> TokensCheck:
    """Compare every index with its training tar, and encode one clip of up to `most` files again."""
    rows = {row["path"]: row for row in job.store.read("tokens").sort_by("path").to_pylist()}
    found = TokensCheck()
    if not rows:
        return found
    layout = layout_of(next(iter(rows.values())))
    encoder = WindowEncoder(load_tokenizer(job.store, layout.tokenizer), choose_compute(job.config.training))
    chosen = set(list(rows)[:: max(1, len(rows) // most)][:most])
    for planned in plan_token_files(job.store, layout.version):
        row = rows.get(planned.key)
        known = set() if row is None else set(read_token_index(job.store, row)["clip_id"].to_pylist())
        found.missing += [clip["clip_id"] for clip in planned.clips if clip["clip_id"] not in known]
        first = next(clips_of(job.store, row), None) if row is not None and planned.key in chosen else None
        if first is not None:
            source = next(clip for clip in planned.clips if clip["clip_id"] == first.clip_id)
            found.encoded_again += 1
            if not _is_same(job, encoder, first, planned.shard, source):
                found.differing.append(first.clip_id)
    return found


def _is_same(job: Job, encoder: WindowEncoder, clip: TokenClip, shard: str, source: dict[str, Any]) -> bool:
    mp4 = read_sample(job.store, shard, source["offset"], source["size"], source["clip_sha256"])
    frames_THWC = decode_stored_clip(mp4)
    windows = (frames_THWC[start : start + clip.layout.window] for start in clip.starts)
    return np.array_equal(np.stack(list(encoder.encode(windows))), clip.read(job.store))
