"""Draw the asset graph as an SVG: a column for each group, a box for each asset, a curve for each dependency."""

from __future__ import annotations

import re
from html import escape

_COLUMN, _BOX_WIDTH, _BOX_HEIGHT, _ROW, _TOP = 190, 150, 30, 56, 40
_STYLE = "font: 13px sans-serif; fill: currentColor"


def graph_picture(mermaid: str) -> str:
    """Return the SVG of a `flowchart LR` whose nodes all stand in subgraphs; `[/a name/]` is a slanted box."""
    groups: dict[str, list[str]] = {}
    slanted, edges, group = set(), [], ""
    for line in map(str.strip, mermaid.splitlines()):
        if found := re.fullmatch(r"subgraph (\w+?)(?:\[(\w+)\])?", line):
            group = (found[2] or found[1]).replace("_", " ")
            groups[group] = []
        elif found := re.fullmatch(r"(\w+) --> (\w+)", line):
            edges.append((found[1], found[2]))
        elif (found := re.fullmatch(r"(\w+)(\[/\w+/\])?", line)) and line != "end":
            groups[group].append(found[1])
            if found[2]:
                slanted.add(found[1])
    at = {
        name: (column * _COLUMN, _TOP + row * _ROW)
        for column, names in enumerate(groups.values())
        for row, name in enumerate(names)
    }
    parts = [_edge(at[source], at[target]) for source, target in edges]
    parts += [_box(name, *at[name], slant=8 if name in slanted else 0) for name in at]
    parts += [
        f'<text x="{column * _COLUMN}" y="16" style="{_STYLE}; font-weight: bold">{escape(name)}</text>'
        for column, name in enumerate(groups)
    ]
    width = len(groups) * _COLUMN
    height = _TOP + max(map(len, groups.values())) * _ROW
    return (
        f'<div style="overflow-x: auto"><svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="The asset graph" viewBox="-2 0 {width} {height}" width="{width}" '
        f'style="max-width: none">{"".join(parts)}</svg></div>\n'
    )


def _box(name: str, x: int, y: int, *, slant: int) -> str:
    right, bottom = x + _BOX_WIDTH, y + _BOX_HEIGHT
    corners = f"{x + slant},{y} {right},{y} {right - slant},{bottom} {x},{bottom}"
    return (
        f'<polygon points="{corners}" style="fill: var(--md-default-bg-color); stroke: currentColor"/>'
        f'<text x="{x + 10}" y="{y + 20}" style="{_STYLE}">{escape(name)}</text>'
    )


def _edge(source: tuple[int, int], target: tuple[int, int]) -> str:
    """Return a curve from the right of one box to the left of another; inside a column, from bottom to top."""
    (x1, y1), (x2, y2) = source, target
    if x1 == x2:
        x, upper, lower = x1 + _BOX_WIDTH, y1 + _BOX_HEIGHT / 2, y2 + _BOX_HEIGHT / 2
        path = f"M {x} {upper} C {x + 26} {upper}, {x + 26} {lower}, {x} {lower}"
    else:
        start, y1, y2 = x1 + _BOX_WIDTH, y1 + _BOX_HEIGHT // 2, y2 + _BOX_HEIGHT // 2
        middle = (start + x2) / 2
        path = f"M {start} {y1} C {middle} {y1}, {middle} {y2}, {x2} {y2}"
    return f'<path d="{path}" style="fill: none; stroke: currentColor; opacity: 0.35"/>'
