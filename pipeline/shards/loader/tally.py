"""Count the samples of a set that cannot be used, and the clips that hold no window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import UserError
from pipeline.progress import ProgressCallback, notify

_NOTICES = 20
"""Unusable clips of which each is told; the row and the checkpoints count the others too."""


class Tally:
    """The clips of a set that were met and cannot be used, with their reasons."""

    def __init__(
        self, num_clips: int, max_bad_share: float, on_progress: ProgressCallback | None = None, restore: str = ""
    ) -> None:
        """Begin with none.

        Args:
            num_clips: of the set.
            max_bad_share: more unusable clips than this share of all are an error.
            on_progress: is told of the first clips that are skipped.
            restore: a sentence that says how the clips are made whole again.
        """
        self._num_clips, self._max_bad_share = num_clips, max_bad_share
        self._on_progress, self._restore = on_progress, restore
        self._bad: dict[str, str] = {}

    @property
    def bad(self) -> dict[str, str]:
        """The clips that were met and cannot be used: id -> reason, sorted."""
        return dict(sorted(self._bad.items()))

    def __contains__(self, clip_id: object) -> bool:
        """Tell whether a clip is known to be unusable."""
        return clip_id in self._bad

    def add(self, clip_id: str, reason: str) -> None:
        """Note a clip that cannot be used.

        Raises:
            UserError: these are more than `max_bad_share` of all, or all.
        """
        if clip_id in self._bad:
            return
        self._bad[clip_id] = reason
        if len(self._bad) <= _NOTICES:
            notify(f"clip {clip_id} is left out of the training: {reason}", self._on_progress)
        if len(self._bad) > self._max_bad_share * self._num_clips or len(self._bad) >= self._num_clips:
            raise self.too_many()

    def add_known(self, known: Mapping[str, str]) -> None:
        """Note clips that an earlier part of the run could not use: id -> reason."""
        for clip_id, reason in known.items():
            self.add(clip_id, reason)

    def too_many(self) -> UserError:
        """Return the error that too few clips can be used."""
        named = "; ".join(f"{clip_id}: {reason}" for clip_id, reason in list(self.bad.items())[:3])
        ways = [self._restore] if self._restore else []
        if len(self._bad) < self._num_clips:
            ways.append("To train on the others, raise training.max_bad_share.")
        share = f"more than training.max_bad_share = {self._max_bad_share:g}"
        return UserError(
            f"{len(self._bad)} of {self._num_clips} training clips cannot be used, {share} ({named}). {' '.join(ways)}"
        )


class Passed:
    """The clips of one order that hold no window: passed over, and counted in the first epoch."""

    def __init__(self, about: Mapping[str, Any] | None = None) -> None:
        """Go on from earlier counts."""
        about = about or {}
        self.clips, self.short, self.cut = (int(about.get(name, 0)) for name in ("clips", "short", "cut"))

    def about(self) -> dict[str, int]:
        """Return the counts: clips that were met, of which `short` ones and `cut` ones hold no window."""
        return {"clips": self.clips, "short": self.short, "cut": self.cut}
