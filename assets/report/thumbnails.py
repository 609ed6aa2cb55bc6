"""Small pictures: charts of a few hundred bytes for Dagster's metadata, contact sheets of real frames for blobs.

Dagster shows markdown inline while it is shorter than about 1000 characters and strips raw HTML, so a chart is an
SVG small enough to travel as a data URI in one line of markdown. Charts hold numbers only; pictures of real video
are blobs of the store, so that a takedown reaches them.

    metadata = {"loss": dg.MetadataValue.md(svg_markdown(sparkline_svg(losses), "loss"))}
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.html import escape

Picture = npt.NDArray[np.uint8]

MAX_URI_CHARS = 700
_MAX_SVG_BYTES = (MAX_URI_CHARS - len("data:image/svg+xml;base64,")) // 4 * 3
# readable on Dagster's white and on its dark page
_INK, _TEXT = "#5b8def", "#8a8f98"


def sparkline_svg(values: Sequence[float], *, width: int = 240, height: int = 48) -> str:
    """Return a line through the values with its last value written beside it.

    Args:
        values: numbers in order; non-finite ones are left out. None at all gives an empty frame.
        width: pixels of the chart.
        height: pixels of the chart.
    """
    points = [(k, float(value)) for k, value in enumerate(values) if math.isfinite(value)]
    if not points:
        return _svg(width, height, _text(2, height - 4, "no values"))
    # as many points as the limit on length holds; a curve of thousands of steps keeps its shape
    for most in (60, 45, 30, 20):
        kept = _thinned(points, most)
        low, high = min(value for _, value in kept), max(value for _, value in kept)
        span_x, span_y = max(kept[-1][0] - kept[0][0], 1), (high - low) or 1.0
        room = width - 54
        path = " ".join(
            f"{round(2 + (x - kept[0][0]) / span_x * room)},{round(3 + (high - y) / span_y * (height - 6))}"
            for x, y in kept
        )
        line = f'<polyline fill="none" stroke="{_INK}" stroke-width="1.5" points="{path}"/>'
        svg = _svg(width, height, line + _text(width - 48, height // 2 + 4, short_number(kept[-1][1])))
        if len(svg.encode()) <= _MAX_SVG_BYTES:
            return svg
    return svg


def bars_svg(pairs: Iterable[tuple[str, float]], *, width: int = 240) -> str:
    """Return horizontal bars, one per (name, value), largest names cut and surplus bars summed as `others`.

    Values below zero count as zero. Names may come from outside: they are escaped.
    """
    everything = [(name, max(float(value), 0.0)) for name, value in pairs if math.isfinite(value)]
    for rows, letters in ((7, 16), (6, 14), (5, 12), (4, 10), (3, 8), (2, 6), (1, 2)):
        shown = everything[:rows]
        if len(everything) > rows:
            shown = [*everything[: rows - 1], ("others", sum(value for _, value in everything[rows - 1 :]))]
        svg = _bars(shown, letters, width)
        if len(svg.encode()) <= _MAX_SVG_BYTES:
            return svg
    return svg


def histogram_svg(values: Sequence[float], *, low: float, high: float, bins: int = 20, width: int = 240) -> str:
    """Return the histogram of the values between low and high (those outside are left out)."""
    counts, _ = np.histogram(np.asarray([v for v in values if math.isfinite(v)], np.float64), bins, (low, high))
    height, floor = 48, 36
    top = max(int(counts.max(initial=0)), 1)
    step = width / bins
    # one thick vertical stroke per bin is the shortest way to write it
    path = "".join(
        f"M{round((k + 0.5) * step)} {floor}v-{max(round(count / top * (floor - 2)), 1)}"
        for k, count in enumerate(counts.tolist())
        if count
    )
    line = f'<path stroke="{_INK}" stroke-width="{max(int(step) - 1, 1)}" d="{path}"/>'
    ends = _text(0, height - 1, short_number(low)) + _text(width - 26, height - 1, short_number(high))
    return _svg(width, height, line + ends)


def svg_uri(svg: str) -> str:
    """Return the SVG as a data URI (base64: Dagster's markdown keeps that form untouched)."""
    return data_uri(svg.encode(), "image/svg+xml")


def svg_markdown(svg: str, alt: str = "chart") -> str:
    """Return one line of markdown that shows the SVG, short enough for Dagster to show without a click."""
    plain = "".join(letter for letter in alt if letter.isalnum() or letter in " -_.%")
    return f"![{plain}]({svg_uri(svg)})"


def data_uri(data: bytes, mime: str) -> str:
    """Return bytes as a `data:` URI."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def contact_sheet(pictures: Sequence[Picture], columns: int, *, gap: int = 2, shade: int = 24) -> Picture:
    """Return pictures of one size (H, W, 3) uint8 laid out in rows of `columns` with a gap between them."""
    if not len(pictures):
        return np.full((1, 1, 3), shade, np.uint8)
    height, width = pictures[0].shape[:2]
    columns = max(min(columns, len(pictures)), 1)
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), shade, np.uint8)
    for k, picture in enumerate(pictures):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def jpeg_bytes(picture: Picture, quality: int = 75) -> bytes:
    """Return a (H, W, 3) uint8 picture as JPEG, the same bytes for the same picture."""
    return _encoded(picture, "JPEG", quality=quality, optimize=True)


def short_number(value: float) -> str:
    """Return a number in at most about seven characters: 9.8e-05, 0.042, 3.14, 120, 12.3k, 4.5M."""
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}" if size >= 1e-3 else f"{value:.2g}"


def _encoded(picture: Picture, kind: str, **options: int | bool) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def _thinned(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    if len(points) <= most:
        return points
    picks = np.linspace(0, len(points) - 1, most).round().astype(int)
    return [points[k] for k in picks]


def _bars(pairs: list[tuple[str, float]], letters: int, width: int) -> str:
    left = 8 + 6 * min(max((len(name) for name, _ in pairs), default=0), letters)
    room = width - left - 44
    top = max((value for _, value in pairs), default=0.0) or 1.0
    path = texts = ""
    for k, (name, value) in enumerate(pairs):
        y = 14 * k
        length = max(round(value / top * room), 1)
        path += f"M{left} {y + 2}h{length}v10h-{length}z"
        texts += _text(0, y + 11, name[:letters]) + _text(left + length + 4, y + 11, short_number(value))
    return _svg(width, max(14 * len(pairs), 14), f'<path fill="{_INK}" d="{path}"/>{texts}')


def _text(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(text)}</text>'


def _svg(width: int, height: int, inner: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="10" fill="{_TEXT}">{inner}</svg>'
    )
