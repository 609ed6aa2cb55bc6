"""The status of a store for a terminal: the funnel line by line, what was lost and why, and the law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN_REASONS = 12
# the figures that matter most, in the order in which they are read
_FIGURES = {
    "psnr": ("tokenizer PSNR", "dB"),
    "psnr_above_mean_frame": ("  above the mean frame", "dB"),
    "psnr_t1_above_copy": ("first frame above a copy", "dB"),
    "delta_t_psnr": ("delta-t PSNR", "dB"),
    "delta_t_psnr_permuted": ("  own actions permuted", "dB"),
    "drift_psnr_prefill": ("long rollouts, past the window", "dB"),
    "drift_ring_below_prefill": ("  lost where the past is kept", "dB"),
    "latent_action_mutual_information": ("action information", "nat"),
    "latent_action_mutual_information_shuffled": ("  shuffled", "nat"),
}


def format_status(status: Mapping[str, Any]) -> str:
    """Return what `pipeline.inspect.status.status` found, for people.

    Args:
        status: that object, or the same read back from JSON.
    """
    videos, downloads, clips = status["videos"], status["downloads"], status["clips"]
    lines = [str(status["root"])]
    rejected = sum(videos["rejected"].values())
    lines.append(_line("videos", f"{videos['found']} found, {videos['kept']} kept, {rejected} rejected"))
    lines += _reasons(videos["rejected"])
    lines += _downloads(downloads)
    lines += _sites(status["sites"])
    lines += _clips(clips)
    lines += _labels(status["labels"])
    lines += _curated(status["curated"])
    lines += _shards(status["shards"])
    lines += _models(status["models"], status["evaluation"], status["evaluation_current"])
    if status["conserved"]:
        lines.append(_line("law", "every sum holds: nothing is unaccounted for"))
    else:
        lines.append(_line("law", "BROKEN"))
        lines += [f"{'':13}{sentence}" for sentence in status["violations"]]
    return "\n".join(lines)


def _downloads(downloads: Mapping[str, Any]) -> list[str]:
    failed, rejected = downloads["failed"], downloads["rejected"]
    parts = {
        "ok": downloads["ok"],
        "failed": sum(failed.values()),
        # learnt at the download alone, which is seldom: no need to say that there are none
        **({"rejected": sum(rejected.values())} if rejected else {}),
        "pending": downloads["pending"],
        "taken_down": downloads["taken_down"],
    }
    pending = {name: count for name, count in downloads["pending_by_class"].items() if name != "new"}
    return [
        _line("downloads", _parts(**parts)),
        *_reasons(failed),
        *_reasons(rejected, "rejected: "),
        *_reasons(pending, "pending: "),
    ]


def _sites(sites: Mapping[str, Any]) -> list[str]:
    """Return a line per site that rests after it refused; those that answer are not news."""
    lines: list[str] = []
    for site, found in sorted(sites.items()):
        if found["state"] == "closed":
            continue
        until = f" until {str(found['next_try_at'])[:16].replace('T', ' ')} UTC" if found["state"] == "open" else ""
        rests = "rests" + until if until else "rested; the next run asks with one video"
        times = f"{found['refusals']} refusals" if found["refusals"] != 1 else "1 refusal"
        said = _printable(f"{found['error_class']}: {found['message']}")
        lines.append(_line("" if lines else "sites", f"{_printable(site)} {rests} ({times}, last {said})"))
    if len(lines) > _SHOWN_REASONS:
        lines = [*lines[:_SHOWN_REASONS], _line("", f"and {len(lines) - _SHOWN_REASONS} more sites")]
    return lines


def _clips(clips: Mapping[str, Any]) -> list[str]:
    pending = f", {clips['videos_pending']} videos not yet cut" if clips["videos_pending"] else ""
    lines = [
        _line("clips", f"{clips['total']} of {clips['videos_cut']} videos, {clips['duplicates']} copies{pending}"),
        _line(
            "", f"{clips['source_seconds']:,.0f} s of video = {clips['clip_seconds']:,.0f} s in clips"
            f" + {clips['remainder_seconds']:,.0f} s left over",
        ),
    ]  # fmt: skip
    if clips["flagged"]:
        lines.append(_line("", "flagged: " + ", ".join(f"{count} {flag}" for flag, count in clips["flagged"].items())))
    return [*lines, *_reasons(clips["failed"], "failed: ")]


def _labels(labels: Mapping[str, Any]) -> list[str]:
    if not labels["total"] and not labels["unresolved"]:
        return [_line("labels", "none")]
    rated = ", ".join(f"{count} rated {rating}" for rating, count in labels["by_rating"].items() if count)
    who = ", ".join(f"{name} {count}" for name, count in labels["annotators"].items())
    lost = f", {labels['unresolved']} without a clip" if labels["unresolved"] else ""
    return [_line("labels", f"{labels['total']} clips{lost}: {rated}"), _line("", f"by {who}")]


def _curated(curated: Mapping[str, Any]) -> list[str]:
    if not curated["keep"] + curated["drop"] + curated["review"]:
        return [_line("decision", "none")]
    stale = "" if curated["current"] else " (something moved since: not current)"
    counts = {name: curated[name] for name in ("keep", "drop", "review", "undecided")}
    lines = [_line("decision", _parts(**counts) + stale)]
    return [*lines, *_reasons({name: n for name, n in curated["reasons"].items() if not name.startswith("keep")})]


def _shards(shards: Mapping[str, Any]) -> list[str]:
    if shards["version"] is None:
        return [_line("shards", "none")]
    sizes = ", ".join(f"{split} {shards[split]['samples']} in {shards[split]['shards']}" for split in ("train", "val"))
    return [_line("shards", f"{shards['version']}: {sizes}" + ("" if shards["current"] else " (not current)"))]


def _models(models: Mapping[str, Any], evaluation: Mapping[str, Any], current: bool) -> list[str]:
    lines: list[str] = []
    for kind in ("quality_classifier", "video_tokenizer", "world_model"):
        if kind in models:
            model = models[kind]
            size = f"{model['parameters'] or 0:,} parameters, {model['steps'] or 0:,} steps"
            lines.append(_line("models" if not lines else "", f"{kind.replace('_', ' ')}: {size}"))
    if not lines:
        lines.append(_line("models", "none"))
    shown = [name for name in _FIGURES if evaluation.get(name, {}).get("value") is not None]
    if shown and not current:
        lines.append(_line("figures", "of the world before this one; `lampworks run` measures the newest"))
    for name in shown:
        figure, (text, unit) = evaluation[name], _FIGURES[name]
        ends = "" if figure["low"] is None else f"  [{figure['low']:.2f}, {figure['high']:.2f}]"
        head = "figures" if current and name == shown[0] else ""
        lines.append(_line(head, f"{text:<28}{figure['value']:7.2f} {unit}{ends}"))
    return lines


def _line(name: str, text: str) -> str:
    return f"{name:<11}  {text}"


def _parts(**counts: int) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _reasons(reasons: Mapping[str, int], prefix: str = "") -> list[str]:
    order = sorted((name for name in reasons if reasons[name]), key=lambda name: (-reasons[name], name))
    lines = [f"{'':13}{reasons[name]:>6}  {prefix}{_printable(name)}" for name in order[:_SHOWN_REASONS]]
    if len(order) > _SHOWN_REASONS:
        lines.append(f"{'':13}{sum(reasons[name] for name in order[_SHOWN_REASONS:]):>6}  for other reasons")
    return lines


def _printable(text: str) -> str:
    # a reason may quote what a stranger wrote; a terminal obeys control characters
    return "".join(letter if letter.isprintable() else " " for letter in text)[:100]
