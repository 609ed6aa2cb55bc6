"""Tell by two numbers whether two sets hold the same clips, whatever the order in which their rows are read."""

from __future__ import annotations

import hashlib
from typing import Any

_MODULUS = 1 << 256


class Contents:
    """How many clips, and the sum of the hashes of what is said of each."""

    def __init__(self) -> None:
        self._clips = self._sum = 0

    def add(self, clip: bytes) -> None:
        """Count a clip, by all that a set says of it."""
        self._clips += 1
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(clip).digest(), "big")) % _MODULUS

    def told(self) -> dict[str, Any]:
        """Return both numbers as JSON holds them."""
        return {"clips": self._clips, "sum": f"{self._sum:064x}"}
