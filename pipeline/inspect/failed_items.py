"""Find every item of a store that failed, by kind and class: what `lampworks retry` can make due again.

    pages       a video whose page the search could not read (rejected as `no metadata: <class>`)
    downloads   a video whose last attempt failed for good
    cuts        a downloaded video that could not be cut under the current clip_spec
    actions     a video whose true actions cannot be used, while its clips can
    embeddings  a clip whose frames could not be embedded
    scores      a clip that has no probability

A download that waits for its next try has not failed; it is found apart, as one that can be tried at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from pipeline.actions.columns import BAD_ACTIONS
from pipeline.clip_spec import clip_spec
from pipeline.clips.actions_left_out import actions_left_out
from pipeline.config import Config
from pipeline.download.ledger import fold_all
from pipeline.rules import NO_METADATA
from pipeline.storage.arrow import Column, pc, rows_with, rows_without, texts
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

Kind = Literal["pages", "downloads", "cuts", "actions", "embeddings", "scores"]
KINDS: tuple[Kind, ...] = ("pages", "downloads", "cuts", "actions", "embeddings", "scores")
_OF_CLIPS: tuple[Kind, ...] = ("embeddings", "scores")


@dataclass(frozen=True)
class FailedItem:
    """One item that failed."""

    kind: Kind
    id: str
    """A video's id, of an embedding and a score the clip's."""
    video_id: str
    error_class: str
    waits: bool = False
    """Whether it has not failed: it is pending, and its next try is later."""


def failed_items(store: Store, config: Config, now: datetime) -> list[FailedItem]:
    """Return the items that failed, and the downloads that wait, of videos that are not taken down, by kind and id."""
    hidden = texts(taken_down(store).hidden_videos(store))
    found = [
        *_pages(store, hidden),
        *_downloads(store, now),
        *_cuts(store, config, hidden),
        *_actions(store, config, hidden),
        *_of_clips(store, config, hidden),
    ]
    return sorted(found, key=lambda item: (KINDS.index(item.kind), item.id))


def _pages(store: Store, hidden: Column) -> Iterable[FailedItem]:
    rows = store.read("videos", ["video_id", "rule"], pc.field("verdict") == "rejected")
    rows = rows_without(rows.filter(pc.starts_with(rows["rule"], NO_METADATA)), "video_id", hidden)
    for row in rows.to_pylist():
        yield FailedItem("pages", row["video_id"], row["video_id"], row["rule"].removeprefix(NO_METADATA))


def _downloads(store: Store, now: datetime) -> Iterable[FailedItem]:
    states = fold_all(store).select(["video_id", "state", "error_class", "next_try_at"])
    for row in rows_with(states, "state", "failed").to_pylist():
        yield FailedItem("downloads", row["video_id"], row["video_id"], row["error_class"] or "unknown")
    later = states.filter(pc.greater(states["next_try_at"], pa.scalar(now, states["next_try_at"].type)))
    for row in rows_with(later, "state", "pending").to_pylist():
        yield FailedItem("downloads", row["video_id"], row["video_id"], row["error_class"] or "unknown", waits=True)


def _cuts(store: Store, config: Config, hidden: Column) -> Iterable[FailedItem]:
    where = (pc.field("clip_spec") == clip_spec(config.clips)) & (pc.field("state") == "failed")
    rows = rows_without(store.read("clippings", ["video_id", "error_class"], where), "video_id", hidden)
    for row in rows.to_pylist():
        yield FailedItem("cuts", row["video_id"], row["video_id"], row["error_class"] or "unknown")


def _actions(store: Store, config: Config, hidden: Column) -> Iterable[FailedItem]:
    for video_id in sorted(actions_left_out(store, clip_spec(config.clips)).keys() - set(hidden.to_pylist())):
        yield FailedItem("actions", video_id, video_id, BAD_ACTIONS)


def _of_clips(store: Store, config: Config, hidden: Column) -> Iterable[FailedItem]:
    where = (pc.field("clip_spec") == clip_spec(config.clips)) & pc.is_valid(pc.field("error_class"))
    for kind in _OF_CLIPS:
        rows = rows_without(store.read(kind, ["clip_id", "video_id", "error_class"], where), "video_id", hidden)
        for row in rows.to_pylist():
            yield FailedItem(kind, row["clip_id"], row["video_id"], row["error_class"])
