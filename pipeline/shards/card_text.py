"""The data card as Markdown. What strangers wrote (channels, licences) is shown as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.outside import shown_text

_MOST_CHARACTERS = 80
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>])")


def markdown_text(text: object) -> str:
    """Return a stranger's text as it is read, on one line: no mark, link or tag in it has an effect in Markdown."""
    line = " ".join(shown_text(text).split())
    if len(line) > _MOST_CHARACTERS:
        line = line[: _MOST_CHARACTERS - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    # a scheme without its colon is no address that a viewer makes a link of
    return _SPECIAL.sub(r"\\\1", line).replace("://", ":\u200b//").replace("@", "&#64;")


def card_text(facts: Mapping[str, Any]) -> str:
    """Return a card as Markdown."""
    clip = facts["clip"]
    lines = [
        f"# Data card: training shards {facts['version']}",
        "",
        f"{facts['clips']:,} clips, {facts['hours']:,} hours, of {facts['videos']:,} videos from {facts['sources']:,} "
        "sources (a source is a channel, or a video whose channel is not known).",
        "",
        f"A clip has {clip['frames']} frames: {clip['seconds']:g} s at {clip['fps']} frames a second, "
        f"{clip['width']}x{clip['height']} pixels (other aspects: {clip['aspect']}), {clip['codec']} in "
        f"{clip['container']}, crf {clip['crf']}, a key frame every {clip['gop']} frames. clip_spec "
        f"{clip['clip_spec']}; format of the shards {facts['format']}.",
        "",
        *_splits(facts),
        *_names("Licences", facts["licences"], "As the sources say."),
        *_names("Channels", facts["channels"], ""),
        *_distribution("Scores", facts["score"], "Probability of being good, as the classifier gives it."),
        *_distribution("Motion", facts["motion"], "Mean difference between neighbouring frames."),
        *_left_out(facts["left_out"]),
        *_rules(facts["rules"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _splits(facts: Mapping[str, Any]) -> list[str]:
    rule = facts["split_rule"]
    columns = ("clips", "hours", "videos", "sources", "tars", "bytes")
    rows = ([split, *(f"{own[name]:,}" for name in columns)] for split, own in facts["splits"].items())
    return [
        "## Splits",
        "",
        f"By source, by a hash that never moves: val has {rule['val_share']:.0%} of all hashes, test "
        f"{rule['test_share']:.0%}, train the others. No source and no group of near-duplicates lies in two.",
        *(f"\n{note}" for note in facts["notes"]),
        "",
        *_table(["split", *columns], rows),
    ]


def _names(title: str, entries: Sequence[Mapping[str, Any]], note: str) -> list[str]:
    rows = (
        [markdown_text(one["name"]), *(f"{one[name]:,}" for name in ("clips", "videos", "hours"))] for one in entries
    )
    return [f"## {title}", "", *([note, ""] if note else []), *_table(["name", "clips", "videos", "hours"], rows)]


def _distribution(title: str, found: Mapping[str, Any], note: str) -> list[str]:
    head = [f"## {title}", "", f"{note} Known of {found['known']:,} clips, unknown of {found['unknown']:,}.", ""]
    if not found["known"]:
        return head
    histogram = found["histogram"]
    step = (histogram["high"] - histogram["low"]) / len(histogram["counts"])
    edges = [histogram["low"] + step * number for number in range(len(histogram["counts"]) + 1)]
    bins = ([f"{a:.3f} to {b:.3f}", f"{n:,}"] for a, b, n in zip(edges, edges[1:], histogram["counts"], strict=False))
    percentiles = [[f"{found['mean']:.3f}", *(f"{value:.3f}" for value in found["percentiles"].values())]]
    names = ["mean", *(f"{name} %" for name in found["percentiles"])]
    return [*head, *_table(names, percentiles), *_table(["from ... to", "clips"], bins)]


def _left_out(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = ["## What was left out, and why", ""]
    for what, reasons in found.items():
        rows = ([markdown_text(reason), f"{count:,}"] for reason, count in reasons.items() if count)
        lines += _table([what, "number"], rows)
    return lines


def _rules(rules: Mapping[str, Any]) -> list[str]:
    words = ("keywords", "action_words", "negations")
    ids = ("search_rules", "decision_rules", "classifiers")
    return [
        "## Rules",
        "",
        *_table(["rule", "ids, and what each decided"], ([name.replace("_", " "), _ids(rules[name])] for name in ids)),
        *_table(
            ["setting", "value"],
            ([f"`decision.{name}`", _value(value)] for name, value in rules["decision"].items()),
        ),
        "Words of the search rules:",
        "",
        *(f"- `rules.{name}`: {', '.join(markdown_text(word) for word in rules[name]) or 'none'}" for name in words),
    ]


def _value(value: object) -> str:
    return ", ".join(map(markdown_text, value)) if isinstance(value, list | tuple) else markdown_text(value)


def _ids(found: Mapping[str, int]) -> str:
    return ", ".join(f"{markdown_text(name)} ({count:,})" for name, count in found.items()) or "none"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines, ""]
