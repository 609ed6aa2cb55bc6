"""Decide by a recipe: keep the clips that it lists, where their pictures are those that it describes.

The video may have been fetched in another format, cut by another release of a decoder, or replaced by its uploader.
Equal bytes are the same clip; pictures whose hashes are near are a re-encode of it; anything else is another picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from classifier.decision.rule import Verdict
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.label_events import Labels
from pipeline.recipe import Recipe

SAME_BYTES, SAME_PICTURE, OTHER_PICTURE, NOT_LISTED = (
    "recipe: same bytes", "recipe: same picture", "recipe: another picture", "recipe: not listed",
)  # fmt: skip
"""Kinds of verdicts."""
_FRAME_BYTES = 8


@dataclass(frozen=True)
class RecipeRule:
    """The clips that a recipe lists, and how far their pictures may differ."""

    listed: Mapping[str, tuple[str, bytes]]
    """By clip_id: the SHA-256 of the mp4, and the hashes of its pictures."""
    max_distance: float
    """Largest mean Hamming distance of the 64-bit hashes of its frames."""
    labels: Labels

    columns = ("sha256", "hashes")
    """Columns of `clips` that the rule reads."""

    def verdict(self, clip: Mapping[str, Any], score: Mapping[str, Any] | None) -> Verdict:
        """Return the verdict on a clip (its row, with `columns`); it has no score."""
        listed = self.listed.get(clip["clip_id"])
        if listed is None:
            return Verdict("drop", "not in the recipe", NOT_LISTED)
        if clip["sha256"] == listed[0]:
            return Verdict("keep", "in the recipe, with the same bytes", SAME_BYTES)
        distance = picture_distance(clip["hashes"] or b"", listed[1])
        if distance is not None and distance <= self.max_distance:
            return Verdict("keep", f"in the recipe, the same picture (distance {distance:.1f} of 64)", SAME_PICTURE)
        how = "it was measured by another version" if distance is None else f"distance {distance:.1f} of 64"
        return Verdict("drop", f"in the recipe, but another picture ({how})", OTHER_PICTURE)


def picture_distance(first: bytes, second: bytes) -> float | None:
    """Return the mean Hamming distance of two clips' frames, of 64; None where they are measured in different ways."""
    if len(first) != len(second) or not first:
        return None
    bits = np.frombuffer(first, np.uint8) ^ np.frombuffer(second, np.uint8)
    return float(np.bitwise_count(bits).sum() * _FRAME_BYTES / len(first))


def recipe_of(config: Config) -> Recipe:
    """Return the recipe that the source names; UserError where it is no recipe."""
    if config.source.kind != "recipe":
        raise UserError(
            f"decision.mode = recipe needs source.spec = recipe:FILE, not {config.source.spec!r}: `lampworks rebuild "
            "FILE` sets both"
        )
    return Recipe(config.source.argument)


def recipe_rule(config: Config, labels: Labels) -> RecipeRule:
    """Return the rule of the configured recipe (about 500 bytes a clip)."""
    listed = {clip.clip_id: (clip.sha256, clip.hashes) for video in recipe_of(config).videos() for clip in video.clips}
    return RecipeRule(listed, float(config.duplicates.max_distance), labels)
