"""Figures of fidelity as lines for a terminal: values with intervals and floors, networks, what is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_I3D = "Compare figures of one network, hash and number of videos alone; none is the FVD of papers, which is on I3D."
_COLUMNS = ("figure", "value", "95 % interval", "tokenizer", "halves", "on halves", "videos")


def is_figure(name: str, value: object) -> bool:
    """Tell whether an entry of an evaluation's metrics is a figure of fidelity."""
    return isinstance(value, Mapping) and (name.startswith(("FVD[", "FID[", "MMD[", "rollout_")))


def fidelity_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of fidelity among the metrics of an evaluation."""
    return {name: value for name, value in metrics.items() if is_figure(name, value)}


def figure_lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as a table, then the networks with their hashes, then notes; none without figures."""
    if not figures:
        return []
    rows = [_COLUMNS, *(_row(name, figure) for name, figure in figures.items() if figure["value"] is not None)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(rows) == 1:
        lines = []
    lines += [f"{name}: {figure['reason']}" for name, figure in figures.items() if figure["value"] is None]
    nets = {net["name"]: net for figure in figures.values() if (net := figure.get("net"))}
    for net in nets.values():
        note = f"; {net['note']}" if net["note"] else ""
        lines.append(
            f"network {net['name']}: SHA-256 {net['sha256'][:16]}, {net['dimension']} features, {net['input']}{note}"
        )
    lines += [f"{name}: {note}" for name, figure in figures.items() if (note := figure.get("note"))]
    if nets:
        lines += [
            "floors: `tokenizer` is the same figure of its reconstructions; `halves` that of two halves of the true "
            "videos by source, which compares with `on halves`: rollouts of one half against the truth of the other",
            NOT_I3D,
        ]
    return lines


def number(value: float | None) -> str:
    """Return a value with three significant digits; a dash where there is none."""
    return "-" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _row(name: str, figure: Mapping[str, Any]) -> tuple[str, ...]:
    floors = figure.get("floors") or {}
    low, high = figure.get("low"), figure.get("high")
    return (
        name,
        number(figure["value"]),
        "" if low is None else f"[{number(low)}, {number(high)}]",
        *(number(floor["value"]) if (floor := floors.get(each)) else "" for each in ("tokenizer", "halves")),
        number(figure["on_halves"]["value"]) if figure.get("on_halves") else "",
        f"{figure.get('num_samples', 0)} of {figure['num_sources']} sources",
    )
