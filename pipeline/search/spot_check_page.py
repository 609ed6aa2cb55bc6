"""Render the spot-check sheet; the markup is `templates/spot_check.html`.

Titles, channels, licences, rules and queries are text from strangers: the template escapes them and cuts them short.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.html import template
from pipeline.outside import shown_url
from pipeline.rules import OFF
from pipeline.search.spot_check_choice import Choice, Row
from pipeline.search.spot_check_pictures import Picture

_MAX_RULES = 60


def render_sheet(choice: Choice, pictures: Mapping[str, Picture], *, source: str, seed: int) -> str:
    """Return the sheet as HTML.

    Args:
        choice: the videos by section, and how many there are of each rule.
        pictures: by `video_id`; a video without an entry is left out.
        source: `source.spec`, for the heading.
        seed: the seed of the choice, for the heading.
    """
    sections = []
    for section in choice.sections:
        kept, rejected = (
            [_video(row, pictures[row["video_id"]]) for row in rows if row["video_id"] in pictures]
            for rows in (section.kept, section.rejected)
        )
        if kept or rejected:
            num_kept = choice.counted.get(f"kept:{section.name.removeprefix('keyword: ')}", 0)
            sections.append({"name": section.name, "num_kept": num_kept, "kept": kept, "rejected": rejected})
    num_kept = sum(count for rule, count in choice.counted.items() if _is_kept(rule))
    return template("pipeline.search", "spot_check.html").render(
        source=source,
        seed=seed,
        num_kept=num_kept,
        num_rejected=choice.counted.total() - num_kept,
        num_shown=len(pictures),
        sections=sections,
        rejections=[pair for pair in choice.counted.most_common() if not _is_kept(pair[0])][:_MAX_RULES],
    )


def _is_kept(rule: str) -> bool:
    return rule.startswith("kept:") or rule == OFF


def _video(row: Row, picture: Picture) -> dict[str, Any]:
    url = str(row["url"] or "")
    # an address that is shown in part leads elsewhere, and one that is shown whole may hold a password
    complete = shown_url(url) == url.partition("#")[0]
    facts = [row["channel"], _minutes(row["duration_s"]), row["licence"] or "licence unknown"]
    return {
        "title": row["title"] or "(no title)",
        # a link to anything but a web page could run a script, or name a file of this machine
        "link": shown_url(url) if complete and url.startswith(("http://", "https://")) else "",
        "picture": picture.uri,
        "why_none": picture.why_none or "no picture",
        "facts": " · ".join(str(fact) for fact in facts if fact),
        "rule": row["rule"],
    }


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
