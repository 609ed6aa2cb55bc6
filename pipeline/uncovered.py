"""Situations that a world has not seen: frames of games that it could only guess, one row of `uncovered` each.

`lampworks play` appends them in batches; the labelling queue, `lampworks status` and `lampworks uncovered` read them.
The table is bounded: beyond `MOST` rows the oldest go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown, taken_down

MOST = 2_000
"""Most situations that a store keeps."""
_TEXT_COLUMNS = (
    "situation_id", "clip_id", "video_id", "clip_spec", "world", "start", "link", "t", "score", "entropy", "residual",
    "disagreement", "expected_psnr", "nearest", "state", "message", "seen_at",
)  # fmt: skip


class NearClips(NamedTuple):
    """The clips that look most like a situation, the nearest first, or why none can be named."""

    clip_ids: list[str]
    reason: str = ""


@dataclass(frozen=True)
class Situation:
    """A frame of a game at which a world began to guess."""

    world: str
    """Id of the world."""
    start: str
    """Name of the start of the game."""
    clip_id: str | None
    """Clip of the start frame; None for a picture."""
    link: str
    """What follows `/` in the address of the play page: start, seed, settings and the actions up to this frame."""
    t: int
    """Frames since the start."""
    score: float
    entropy: float
    residual: float
    disagreement: float
    expected_psnr: float
    pictures: tuple[bytes, ...]
    """PNG of the newest frames of the path, in order of time; the last is this frame."""
    keeps_picture: bool = True
    """Whether the frame is written: not where the game began at a picture of a person's own."""
    seen_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def situation_id(self) -> str:
        """Return an id that the same path of the same world has each time it is played."""
        return hashlib.sha256(f"{self.world}\n{self.start}\n{self.link}".encode()).hexdigest()[:16]


Nearest = Callable[[Sequence[Situation]], Sequence[NearClips]]
"""Finds the clips that look like some situations."""


def no_clips(situations: Sequence[Situation]) -> list[NearClips]:
    """Return that no clips are looked for."""
    return [NearClips([], "no clips were looked for")] * len(situations)


def record_situations(store: Store, situations: Sequence[Situation], nearest: Nearest) -> int:
    """Write situations to the table, and return how many.

    One that is there already is replaced. Those that name a video which was taken down are left out.

    Args:
        store: the store.
        situations: what to write.
        nearest: finds the clips that look like them, of videos that may be shown.
    """
    once = list({situation.situation_id: situation for situation in situations}.values())

    def made() -> list[dict[str, Any]]:
        found = nearest(once)
        return _shown(store, [_row(situation, near) for situation, near in zip(once, found, strict=True)])

    shown = repeat_after_takedown(store, made)
    store.merge("uncovered", shown, on=["situation_id"])
    _drop_oldest(store)
    return len(shown)


def read_situations(store: Store, world: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of the table but for their pictures, the newest first; those of one world where it is named."""
    where = None if world is None else pc.field("world") == world
    rows = _shown(store, store.read("uncovered", _TEXT_COLUMNS, where).to_pylist())
    return sorted(rows, key=lambda row: (row["seen_at"], row["situation_id"]), reverse=True)


def count_situations(store: Store) -> tuple[int, int]:
    """Return how many situations there are, and how many of them name no clip that looks like them."""
    rows = read_situations(store)
    return len(rows), sum(not row["nearest"] for row in rows)


def picture_of(store: Store, situation_id: str) -> bytes | None:
    """Return the PNG of a situation; None where there is no such row."""
    found = store.read("uncovered", ["picture"], pc.field("situation_id") == situation_id)["picture"].to_pylist()
    return found[0] if found else None


def _row(situation: Situation, near: NearClips) -> dict[str, Any]:
    return {
        "situation_id": situation.situation_id,
        "clip_id": situation.clip_id,
        "world": situation.world,
        "start": situation.start,
        "link": situation.link,
        "t": situation.t,
        "score": situation.score,
        "entropy": situation.entropy,
        "residual": situation.residual,
        "disagreement": situation.disagreement,
        "expected_psnr": situation.expected_psnr,
        "nearest": near.clip_ids,
        "state": "ok" if near.clip_ids else "no_clip",
        "message": None if near.clip_ids else near.reason,
        "picture": situation.pictures[-1] if situation.keeps_picture else None,
        "seen_at": situation.seen_at,
    }


def _shown(store: Store, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without those that name a video which was taken down."""
    videos = [{clip_id.rsplit("-", 2)[0] for clip_id in (row["clip_id"], *row["nearest"]) if clip_id} for row in rows]
    hidden = taken_down(store).hidden_among(store, set().union(*videos))
    return [row for row, own in zip(rows, videos, strict=True) if not own & hidden]


def _drop_oldest(store: Store) -> None:
    rows = store.read("uncovered", ["situation_id", "seen_at"])
    if len(rows) > MOST:
        newest_first = rows.sort_by([("seen_at", "descending")])["situation_id"].to_pylist()
        store.delete_rows("uncovered", "situation_id", [str(name) for name in newest_first[MOST:]])
