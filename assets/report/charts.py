"""Charts of the report: inline SVG that scales with the page and takes its colours from the page's style.

Every function returns one `<svg>`; names and labels are escaped, because some come from strangers. Colours are CSS
classes (`c0`, `c1`, `c2`, `line`, `band`, `axis`), so that light and dark share one drawing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from assets.report.thumbnails import short_number
from pipeline.html import escape

COLOURS = 8
"""Colours of lines; a ninth line has that of the first."""
Series = Sequence[tuple[float, float]]
"""Points (x, y), in order of x."""


def columns_chart(
    groups: Sequence[tuple[str, Sequence[float]]],
    *,
    width: int = 480,
    height: int = 150,
    axis: tuple[str, str] | None = None,
    label: str = "",
) -> Markup:
    """Return stacked columns: one per (label, values), value k drawn in colour k from the bottom up.

    Args:
        groups: label below the column (empty for none), and its parts.
        width: units of the drawing.
        height: units of the drawing.
        axis: texts at the left and right end below a chart without labels (a histogram).
        label: what the chart shows, for readers of screens.
    """
    floor = height - 22
    top = max((sum(values) for _, values in groups), default=0) or 1
    step = width / max(len(groups), 1)
    gap = min(step * 0.18, 14)
    parts = [f'<line class="axis" x1="0" y1="{floor}" x2="{width}" y2="{floor}"/>']
    for k, (name, values) in enumerate(groups):
        left, y = k * step + gap / 2, float(floor)
        for colour, value in enumerate(values):
            tall = value / top * (floor - 18)
            y -= tall
            if tall > 0:
                parts.append(
                    f'<rect class="c{colour}" x="{left:.1f}" y="{y:.1f}" width="{step - gap:.1f}" height="{tall:.1f}"/>'
                )
        if name:
            parts.append(_text(left + (step - gap) / 2, floor + 16, name, "middle"))
            parts.append(_text(left + (step - gap) / 2, y - 5, short_number(sum(values)), "middle", "strong"))
    if axis is not None:
        parts += [_text(0, floor + 16, axis[0]), _text(width, floor + 16, axis[1], "end")]
    return _svg(width, height, parts, label)


def curves_chart(
    series: Mapping[str, Series],
    *,
    bands: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    width: int = 480,
    height: int = 200,
    x_label: str = "",
    span: tuple[float, float] | None = None,
    mark: float | None = None,
    log_x: bool = False,
    label: str = "",
) -> Markup:
    """Return lines over one pair of axes, a logarithmic one where the values span more than a factor of 30.

    Args:
        series: name -> points; colours follow the order.
        bands: name -> (x, low, high), drawn behind the line of that name.
        width: units of the drawing.
        height: units of the drawing.
        x_label: what the horizontal axis counts.
        span: ends of the vertical axis, in place of those of the values; it is linear then.
        mark: a place on the horizontal axis to mark with a dashed line.
        log_x: whether the horizontal axis is logarithmic; its values are above 0 then.
        label: what the chart shows, for readers of screens.
    """
    shown = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    areas = {name: list(points) for name, points in (bands or {}).items()}
    xs = [x for points in shown.values() for x, _ in points]
    ys = [y for points in shown.values() for _, y in points]
    ys += [y for points in areas.values() for _, *ends in points for y in ends]
    if not xs:
        return _svg(width, 30, [_text(0, 18, "no values")])
    log = span is None and min(ys) > 0 and max(ys) / min(ys) > 30
    left, right, bottom = 56, width - 8, height - 30
    low, high = (math.log10(min(ys)), math.log10(max(ys))) if log else span or (min(ys), max(ys))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    first, last = min(xs), max(max(xs), min(xs) + 1e-9)
    scale = math.log if log_x else float

    def at(x: float, y: float) -> tuple[float, float]:
        value = math.log10(y) if log else y
        share = (scale(x) - scale(first)) / (scale(last) - scale(first))
        return left + share * (right - left), bottom - (value - low) / (high - low) * (bottom - 12)

    parts = []
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        y = bottom - share * (bottom - 12)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(_text(left - 6, y + 4, short_number(_rounded(10**value if log else value)), "end"))
    if mark is not None and first <= mark <= last:
        x = at(mark, ys[0])[0]
        parts.append(f'<line class="mark" x1="{x:.1f}" y1="12" x2="{x:.1f}" y2="{bottom}"/>')
    for name, area in areas.items():
        colour = list(shown).index(name)
        around = [at(x, high_) for x, _, high_ in area] + [at(x, low_) for x, low_, _ in reversed(area)]
        parts.append(f'<polygon class="band b{colour % COLOURS}" points="{_points(around)}"/>')
    for colour, points in enumerate(shown.values()):
        placed = [at(x, y) for x, y in _thinned(points)]
        parts.append(f'<polyline class="line s{colour % COLOURS}" points="{_points(placed)}"/>')
        if len(placed) <= 12:
            parts += [f'<circle class="f{colour % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed]
    parts += [
        _text(left, height - 8, short_number(first)),
        _text(right, height - 8, f"{short_number(last)} {x_label}".strip(), "end"),
    ]
    return _svg(width, height, parts, label)


def intervals_chart(
    rows: Sequence[tuple[str, float, float | None, float | None]],
    *,
    low: float,
    high: float,
    mark: float | None = None,
    label: str = "",
    colours: Sequence[int] | None = None,
) -> Markup:
    """Return one line per (name, value, low, high): a dot with its interval on a common axis.

    Args:
        rows: an end that is None means that the interval is not known.
        low: left end of the axis.
        high: right end of the axis.
        mark: a value to mark with a dashed line (chance, a threshold).
        label: what the chart shows, for readers of screens.
        colours: of the dots, by number; by default the first is blue and the others are grey.
    """
    width, left, step = 480, 186, 26
    floor = 8 + step * len(rows)

    def at(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (width - left - 52)

    parts = [f'<line class="axis" x1="{left}" y1="{floor}" x2="{width - 52}" y2="{floor}"/>']
    if mark is not None:
        parts.append(f'<line class="mark" x1="{at(mark):.1f}" y1="4" x2="{at(mark):.1f}" y2="{floor}"/>')
    for k, (name, value, start, end) in enumerate(rows):
        y, colour = 8 + step * (k + 0.5), f"f{colours[k] % COLOURS}" if colours else "f0" if k == 0 else "f3"
        parts.append(_text(left - 10, y + 4, name if len(name) < 30 else name[:28] + "…", "end"))
        if start is not None and end is not None:
            parts.append(f'<line class="whisker" x1="{at(start):.1f}" y1="{y}" x2="{at(end):.1f}" y2="{y}"/>')
        parts.append(f'<circle class="{colour}" cx="{at(value):.1f}" cy="{y}" r="5"/>')
        parts.append(_text(width, y + 4, f"{value:.3f}", "end", "strong"))
    parts += [_text(left, floor + 16, short_number(low)), _text(width - 52, floor + 16, short_number(high), "end")]
    return _svg(width, floor + 22, parts, label)


def reliability_chart(bins: Sequence[Mapping[str, float]], label: str = "") -> Markup:
    """Return said probability against the share that was good: dots on the diagonal mean honest probabilities."""
    size, left = 220, 30

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * (size - left - 8), (size - 30) - y * (size - 40)

    corner, far = at(0, 0), at(1, 1)
    wide, tall = far[0] - corner[0], corner[1] - far[1]
    parts = [
        f'<rect class="frame" x="{corner[0]}" y="{far[1]}" width="{wide}" height="{tall}"/>',
        f'<line class="mark" x1="{corner[0]}" y1="{corner[1]}" x2="{far[0]}" y2="{far[1]}"/>',
    ]
    most = max((bin_["clips"] for bin_ in bins), default=1)
    for bin_ in bins:
        x, y = at(bin_["probability"], bin_["good"])
        parts.append(
            f'<circle class="f0" cx="{x:.1f}" cy="{y:.1f}" r="{3 + 4 * math.sqrt(bin_["clips"] / most):.1f}"/>'
        )
    parts += [
        _text(corner[0], size - 12, "0"),
        _text(far[0], size - 12, "probability 1", "end"),
        _text(left - 6, far[1] + 8, "1", "end"),
        _text(left - 6, corner[1], "0", "end"),
        _text(corner[0] + 6, far[1] + 14, "share good"),
    ]
    return _svg(size, size, parts, label)


def _thinned(points: Series, most: int = 240) -> Series:
    if len(points) <= most:
        return points
    # the mean of each stretch: a single noisy step says little
    size = len(points) / most
    stretches = [points[int(k * size) : max(int((k + 1) * size), int(k * size) + 1)] for k in range(most)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in stretches]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _points(placed: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def _svg(width: float, height: float, parts: Sequence[str], label: str = "") -> Markup:
    name = f' aria-label="{escape(label)}"' if label else ""
    return Markup(f'<svg viewBox="0 0 {width:g} {height:g}" role="img"{name}>{"".join(parts)}</svg>')
