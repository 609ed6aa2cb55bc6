"""Lost seconds as a row stores them: a JSON list of spans on the picture's time line, each with its reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

REASONS = {
    "head": "before the first picture that can be decoded",
    "damaged": "pictures that are damaged, or refer to damaged ones",
    "gap": "missing, beside a place where the container is damaged",
    "still": "one picture that stands still for more than ten minutes",
    "missing": "named by the index of the file and not in it",
    "appended": "a film that was appended to an MP4 byte by byte, of which players show the first",
}
"""Why seconds are lost."""
_MOST_SPANS = 100


@dataclass(frozen=True)
class Loss:
    """A lost span."""

    start_ms: int
    end_ms: int
    reason: str

    @property
    def ms(self) -> int:
        """Its length."""
        return self.end_ms - self.start_ms


def losses_to_text(losses: Sequence[Loss]) -> str:
    """Return losses as JSON; beyond a hundred, one entry per reason sums up the rest in `spans` and `lost_ms`."""
    spans: list[dict[str, object]] = [vars(loss) for loss in losses[:_MOST_SPANS]]
    rest = losses[_MOST_SPANS:]
    for reason in dict.fromkeys(loss.reason for loss in rest):
        same = [loss for loss in rest if loss.reason == reason]
        whole = Loss(same[0].start_ms, same[-1].end_ms, reason)
        spans.append(vars(whole) | {"spans": len(same), "lost_ms": sum(loss.ms for loss in same)})
    return json.dumps(spans, separators=(",", ":"))


def disagrees(source_ms: int, lost: str | None, packets_ms: int | None) -> bool:
    """Tell whether the packets of a video hold another time than the pictures that were found and lost.

    Packets know nothing of what an index names and the file has not, nor of a film behind it. A second or a fiftieth
    are forgiven: the first and the last packets of a file often say too little of their time.
    """
    if packets_ms is None:  # a row of an older version
        return False
    by_reason = lost_ms_by_reason([lost])
    unread_ms = by_reason.get("missing", 0) + by_reason.get("appended", 0)
    return abs(source_ms - unread_ms - packets_ms) > max(1000, source_ms // 50)


def lost_ms_by_reason(texts: Iterable[str | None]) -> dict[str, int]:
    """Return the lost milliseconds of rows of `clippings` by reason."""
    found: Counter[str] = Counter()
    for text in texts:
        for span in json.loads(text or "[]"):
            found[span["reason"]] += span.get("lost_ms", span["end_ms"] - span["start_ms"])
    return dict(sorted(found.items()))
