"""How much of a recipe is still alive: its videos that were fetched again, its clips that are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from classifier.decision.by_recipe import OTHER_PICTURE, SAME_BYTES, SAME_PICTURE, RecipeRule
from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.download.ledger import fold_all
from pipeline.label_events import load_labels
from pipeline.recipe import Recipe
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


@dataclass(frozen=True)
class RecipeReport:
    """Counts of a recipe against a store; the parts of each total add up to it."""

    videos: int
    """Videos of the recipe."""
    fetched: int
    not_fetched: Mapping[str, int]
    """Videos by why they are not here: the error class of the download, `rejected`, `pending`, `taken down`."""
    clips: int
    """Clips of the recipe."""
    same_bytes: int
    same_picture: int
    """Other bytes, and pictures within `duplicates.max_distance`: another format, or another release of a program."""
    other_picture: int
    """The video was cut, and shows something else at that time."""
    missing: int
    """The video is not here, was not cut, or lost that span."""
    same_clip_spec: bool
    """Whether clips are cut here as the recipe's author cut them; if not, no clip can be compared."""

    @property
    def alive(self) -> int:
        """Return the clips that are here with the same picture."""
        return self.same_bytes + self.same_picture

    @property
    def alive_share(self) -> float:
        """Return their share of the recipe's clips."""
        return self.alive / self.clips if self.clips else 0.0


def recipe_report(store: Store, config: Config, recipe: Recipe) -> RecipeReport:
    """Compare a recipe with what a store holds; one video of the recipe is in memory at a time."""
    states = {row["video_id"]: row for row in fold_all(store).select(["video_id", "state", "error_class"]).to_pylist()}
    rejected = set(store.read("videos", ["video_id"], pc.field("verdict") == "rejected")["video_id"].to_pylist())
    hidden = taken_down(store).hidden_videos(store)
    labels = load_labels(store, config)
    videos = fetched = clips = 0
    lost: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for video in recipe.videos():
        videos, clips = videos + 1, clips + len(video.clips)
        state = states.get(video.video_id)
        if video.video_id in hidden:
            lost["taken down"] += 1
            continue
        if state is None or state["state"] != "ok":
            known = "rejected" if video.video_id in rejected else "pending"
            lost[str(state["error_class"] or state["state"]) if state else known] += 1
            continue
        fetched += 1
        where = (pc.field("video_id") == video.video_id) & (pc.field("clip_spec") == clip_spec(config.clips))
        here = {row["clip_id"]: row for row in store.read("clips", ["clip_id", "sha256", "hashes"], where).to_pylist()}
        rule = RecipeRule(
            {clip.clip_id: (clip.sha256, clip.hashes) for clip in video.clips},
            float(config.duplicates.max_distance),
            labels,
        )
        kinds.update(rule.verdict(here[clip.clip_id], None).kind for clip in video.clips if clip.clip_id in here)
    return RecipeReport(
        videos=videos,
        fetched=fetched,
        not_fetched=dict(sorted(lost.items())),
        clips=clips,
        same_bytes=kinds[SAME_BYTES],
        same_picture=kinds[SAME_PICTURE],
        other_picture=kinds[OTHER_PICTURE],
        missing=clips - sum(kinds.values()),
        same_clip_spec=recipe.head.clip_spec == clip_spec(config.clips),
    )
