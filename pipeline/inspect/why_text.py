"""What `why` found as text for a terminal: one stage a line, each with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.outside import shown_text

Row = Mapping[str, Any]
_SHOWN_SPANS = 5


def format_why(found: Row) -> str:
    """Return what `pipeline.inspect.why.why` found as lines of text."""
    lines = [f"{found['kind']} {found['id']}"]
    for name, text in _lines(found):
        lines.append(f"  {name:<12}{_printable(text)}")
    return "\n".join(lines)


def _lines(found: Row) -> Iterator[tuple[str, str]]:
    if found["kind"] == "channel":
        yield from _of_channel(found)
        return
    if found["kind"] == "file":
        yield from _of_file(found)
        return
    video = found["video"]
    if video is not None:
        yield "title", video["title"] or "(none)"
        yield "url", video["url"] or ""
        if video["channel_id"]:
            yield "channel", f"{video['channel'] or ''} ({video['channel_id']})"
        yield (
            "found",
            f"{_day(video['found_at'])} by {', '.join(map(repr, video['queries'] or []))} in {video['source']}",
        )
        rule = str(video["rule"])
        yield "rules", rule if rule.startswith(f"{video['verdict']}:") else f"{video['verdict']}: {rule}"
        if video.get("message"):
            yield "page", shown_text(video["message"])
        yield "batch", video["batch"] or "none: it was not kept"
    else:
        yield "video", "no row of `videos`"
    for tombstone in found["takedowns"]:
        yield (
            "taken down",
            f"as a {tombstone['kind']}, {_day(tombstone['requested_at'])}: {tombstone['reason']}",
        )
    if found["download"] is not None:
        tries = found["download"]["attempts"]
        earlier = found["download"]["earlier_file"]
        yield (
            "download",
            f"{found['download']['state']} after {tries} {'attempt' if tries == 1 else 'attempts'}"
            + ("; the file changed since it was fetched, and its clips are of the earlier one" if earlier else ""),
        )
    for attempt in found["attempts"]:
        yield "", _attempt(attempt)
    for cut in found["cuts"]:
        yield "cut", _cut(cut)
    if found["kind"] == "clip":
        yield from _of_clip(found)
    else:
        for clip in found["clips"]:
            yield "clip", _clip_of_video(clip)
    if found["models"]:
        yield "models", "trained or evaluated: " + ", ".join(model["model_id"] for model in found["models"])


def _of_clip(found: Row) -> Iterator[tuple[str, str]]:
    clip = found["clip"]
    stale = "" if clip["current"] else f" (clip_spec {clip['clip_spec']} is not the current one)"
    yield "clip", f"{_span(clip)} s, {clip['num_frames']} frames, in {clip['tar']} at byte {clip['offset']}{stale}"
    yield (
        "measured",
        ", ".join(
            f"{name.replace('_', ' ')} {clip[name]:.3g}"
            for name in ("black_share", "still_share", "letterbox_share", "num_cuts", "overlay_share", "motion")
            if clip[name] is not None
        ),
    )
    if clip["transfer"] is not None:
        changes = ", ".join(clip["changes"] or []) or "nothing changed but its size"
        yield "picture", f"transfer function {clip['transfer']}; {changes}"
    yield "flags", ", ".join(clip["flags"] or []) or "none"
    group = found["duplicates"]
    if group is None:
        yield "duplicates", "not searched yet"
    elif group["group_size"] == 1:
        yield "duplicates", f"none, but looks like {group['similar_to']}" if group.get("similar_to") else "none"
    else:
        others = [member for member in group["members"] if member != found["id"]]
        role = "represents" if group["is_representative"] else f"{_copy(group)} of {group['representative']}, with"
        yield (
            "duplicates",
            f"{role} {', '.join(others[:5])}" + (f" and {len(others) - 5} more" if len(others) > 5 else ""),
        )
    for event in found["labels"]:
        rated = f"rated {event['rating']}" if event["kind"] == "rate" else event["kind"]
        left = "; of an earlier picture of this clip, so it does not count" if event["of_earlier_picture"] else ""
        yield "label", f"{rated} by {event['annotator']}, {_day(event['labelled_at'])}, {event['origin']}{left}"
    for change in found["replaced"]:
        yield "replaced", _replaced(change)
    for row in found["embeddings"]:
        yield "embedding", f"none ({row['message']})" if row["error_class"] else f"by {row['encoder']}"
    for score in found["scores"]:
        reason = score["message"] or score["error_class"] or "no reason recorded"
        value = f"none ({reason})" if score["probability"] is None else f"{score['probability']:.4f}"
        yield "score", f"{value} by {score['model_version']}"
    decision = found["decision"]
    yield "decision", f"{decision['decision']}: {decision['reason']}" if decision else "none yet"
    if found["shard"]:
        yield "shard", f"{found['shard']['split']}: {found['shard']['path']}"


def _replaced(row: Row) -> str:
    what = "the same picture in other bytes" if row["same_picture"] else "another picture"
    if row["new_sha256"] is None:
        what = "nothing: the new file does not reach that far"
    return f"{_day(row['replaced_at'])} by {what}, as its file changed"


def _of_file(found: Row) -> Iterator[tuple[str, str]]:
    for name in found["same_bytes"]:
        yield "same bytes", name
    for match in found["matches"]:
        shift_ms = match["shift_ms"] or 0
        later = f", {abs(shift_ms) / 1000:g} s {'later' if shift_ms > 0 else 'earlier'}" if shift_ms else ""
        how = f"{match['match']} of {match['clip_id']}{' (mirrored)' if match['mirrored'] else ''}{later}"
        yield "match", f"from {match['start_ms'] / 1000:g} s: {how}"
    for video in found["videos"]:
        yield "video", video["id"]
        for name, text in _lines(video):
            yield name, f"  {text}"


def _of_channel(found: Row) -> Iterator[tuple[str, str]]:
    for video in found["videos"]:
        counted = f"{video['clips']} clips, {video['kept']} kept, {video['in_shards']} in training shards"
        yield "video", f"{video['video_id']}: {video['title'] or '(no title)'}; {video['verdict']}; {counted}"
    if found["models"]:
        yield "models", "trained or evaluated: " + ", ".join(model["model_id"] for model in found["models"])


def _copy(group: Row) -> str:
    shift_ms = group.get("shift_ms") or 0
    shift = f" that starts {abs(shift_ms) / 1000:g} s {'later' if shift_ms > 0 else 'earlier'}" if shift_ms else ""
    return f"{'mirrored ' if group.get('mirrored') else ''}copy{shift}"


def _attempt(row: Row) -> str:
    when = f"{row['attempt']}. {_day(row['finished_at'])} {row['state']}"
    if row["state"] == "ok":
        note = f"; {row['message']}" if row["message"] else ""
        return f"{when}: {row['format']}, {row['width']}x{row['height']}, {row['bytes']:,} bytes -> {row['path']}{note}"
    if row["state"] == "retried":
        return f"{when}: due again by `lampworks retry`"
    if not row["error_class"]:
        return f"{when}: {row['message']}"
    again = f"; next try {row['next_try_at']}" if row["next_try_at"] else ""
    return f"{when}: {row['error_class']}: {row['message']}{again}"


def _cut(row: Row) -> str:
    stale = "" if row["current"] else f" (clip_spec {row['clip_spec']} is not the current one)"
    if row["state"] != "ok":
        return f"{row['state']}: {row['error_class']}: {row['message']}{stale}"
    reasons = {"short": " (shorter than clips.min_seconds)", "shot": " (of shots that no clip fits into)"}
    short = reasons.get(row["remainder_reason"], "")
    return (
        f"{row['num_clips']} clips, {row['clip_ms'] / 1000:g} of {row['source_ms'] / 1000:g} s, "
        f"{row['remainder_ms'] / 1000:g} s left over{short}{_lost(row['lost'])}{_actions(row)}{stale}"
    )


def _actions(row: Row) -> str:
    """Return what became of the true actions that were fetched with a video; "" where there were none."""
    if problem := row.get("actions_problem"):
        return f"; its actions are not used: {problem}. Mend the file and run `lampworks retry {row['video_id']}`"
    return "; with true actions" if row.get("actions") else ""


def _lost(text: str | None) -> str:
    """Return the lost spans of a video, the first few of many."""
    spans = json.loads(text or "[]")
    shown = [
        f"{span['start_ms'] / 1000:g}-{span['end_ms'] / 1000:g} s {span['reason']}" for span in spans[:_SHOWN_SPANS]
    ]
    more = f" and {len(spans) - _SHOWN_SPANS} more" if len(spans) > _SHOWN_SPANS else ""
    return f", lost {', '.join(shown)}{more}" if shown else ""


def _clip_of_video(clip: Row) -> str:
    flags = f" [{', '.join(clip['flags'])}]" if clip["flags"] else ""
    decided = f"{clip['decision']}: {clip['reason']}" if clip["decision"] else "not decided"
    shard = f" -> {clip['shard']['path']}" if clip["shard"] else ""
    return f"{_span(clip)} s{flags}  {decided}{shard}"


def _span(clip: Row) -> str:
    return f"{clip['start_ms'] / 1000:g}-{clip['end_ms'] / 1000:g}"


def _day(moment: str | None) -> str:
    return (moment or "?")[:16].replace("T", " ")


def _printable(text: str) -> str:
    # titles come from the web, and a terminal obeys control characters
    return "".join(letter if letter.isprintable() else " " for letter in shown_text(text))[:400]
