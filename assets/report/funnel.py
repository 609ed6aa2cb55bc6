"""The report's funnel: how many videos and clips passed each stage, and why the others did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.inspect.status_types import StoreStatus

_MOST_REASONS = 14
# width of the longest bar, in percent: its count stands behind it
_FULL_WIDTH = 82


@dataclass(frozen=True)
class Stage:
    """A stage of the funnel."""

    name: str
    count: int
    width: float
    """Length of its bar, in percent."""
    lost: list[tuple[str, int]]
    """(reason, count) of what did not reach this stage, the most frequent first."""


@dataclass(frozen=True)
class Funnel:
    """Stages of videos, and of the clips cut from them."""

    videos: list[Stage]
    clips: list[Stage]


def funnel_of(status: StoreStatus) -> Funnel:
    """Return the funnel of a store's status."""
    videos, downloads, clips, curated = status.videos, status.downloads, status.clips, status.curated
    removed = {"removed by takedowns": videos.removed} if videos.removed else {}
    not_kept_by_rules = _by_family(videos.rejected) | removed
    not_downloaded = {
        **_prefixed("failed", downloads.failed),
        **_prefixed("rejected", downloads.rejected),
        "pending": downloads.pending,
        "taken down": downloads.taken_down,
    }
    not_cut = {**_prefixed("failed", clips.failed), "not yet cut": clips.videos_pending}
    not_kept = {reason: count for reason, count in curated.reasons.items() if not reason.startswith("keep")}
    return Funnel(
        _stages([
            ("found", videos.found, {}),
            ("kept by the rules", videos.kept, not_kept_by_rules),
            ("downloaded", downloads.ok, not_downloaded),
            ("cut into clips", clips.videos_cut, not_cut),
        ]),
        _stages([
            ("cut", clips.total, {}),
            ("kept", curated.keep, {**not_kept, "not yet decided": curated.undecided}),
        ]),
    )  # fmt: skip


def _stages(stages: list[tuple[str, int, dict[str, int]]]) -> list[Stage]:
    top = max(count for _, count, _ in stages) or 1
    return [Stage(name, count, count / top * _FULL_WIDTH, _most_frequent(lost)) for name, count, lost in stages]


def _most_frequent(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    found = sorted(((reason, n) for reason, n in reasons.items() if n), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in found[_MOST_REASONS:])
    return found[:_MOST_REASONS] + ([("for other reasons", rest)] if rest else [])


def _prefixed(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {f"{prefix}: {name}": n for name, n in counts.items()}


def _by_family(rules: Mapping[str, int]) -> dict[str, int]:
    """Return counts by rule, or by the rule's part before the colon where there are many rules."""
    if len(rules) <= _MOST_REASONS:
        return dict(rules)
    families: dict[str, int] = {}
    for rule, count in rules.items():
        name = rule.split(":")[0]
        families[name] = families.get(name, 0) + count
    return families
