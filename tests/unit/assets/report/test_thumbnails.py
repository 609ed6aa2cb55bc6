import base64
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from assets.report.thumbnails import (
    MAX_URI_CHARS,
    bars_svg,
    contact_sheet,
    histogram_svg,
    jpeg_bytes,
    short_number,
    sparkline_svg,
    svg_markdown,
    svg_uri,
)

HOSTILE = "</text><script>alert(1)</script>\x00\n\"'&🎮"


@pytest.mark.parametrize(
    "svg",
    [
        sparkline_svg([]),
        sparkline_svg([1.0]),
        sparkline_svg([3.0, 3.0, 3.0]),
        sparkline_svg([float("nan"), float("inf")]),
        sparkline_svg(np.random.default_rng(0).normal(0, 1e7, 5000).tolist()),
        bars_svg([]),
        bars_svg([("zero", 0), ("less", -4)]),
        bars_svg([(HOSTILE * 9, 1e12)] * 40),
        bars_svg([("🎮" * 30, 12345.678)] * 40),
        histogram_svg([], low=0, high=1),
        histogram_svg(np.random.default_rng(0).random(9999).tolist(), low=0, high=1),
    ],
)
def test_every_chart_is_an_svg_that_fits_in_one_line_of_metadata(svg: str):
    assert len(svg_uri(svg)) <= MAX_URI_CHARS
    root = ET.fromstring(svg)
    assert {child.tag.split("}")[1] for child in root.iter()} <= {"svg", "text", "path", "polyline"}


def test_markdown_holds_the_chart_and_nothing_of_a_hostile_name():
    svg = bars_svg([(HOSTILE, 3)])
    line = svg_markdown(svg, HOSTILE + "](http://elsewhere)")
    assert "\n" not in line
    assert line.count("](") == 1
    assert base64.b64decode(line.split("base64,")[1].rstrip(")")).decode() == svg


def test_surplus_bars_are_summed_not_dropped():
    texts = [node.text for node in ET.fromstring(bars_svg([(f"n{k}", 1) for k in range(30)])).iter() if node.text]
    shown = [float(text) for text in texts if text.replace(".", "").isdigit()]
    assert "others" in texts
    assert sum(shown) == 30


def test_the_line_goes_down_when_the_loss_does():
    points = ET.fromstring(sparkline_svg([5.0, 4.0, 1.0]))[0].attrib["points"].split()
    heights = [int(point.split(",")[1]) for point in points]
    assert heights == sorted(heights)  # y grows downwards


def test_contact_sheet_places_each_picture_in_reading_order():
    pictures = [np.full((4, 6, 3), 40 * k, np.uint8) for k in range(5)]
    sheet = contact_sheet(pictures, columns=3, gap=1, shade=7)
    assert sheet.shape == (9, 20, 3)
    assert sheet[0, 0, 0] == 0
    assert sheet[0, 14, 0] == 80
    assert sheet[5, 7, 0] == 160
    assert sheet[8, 19, 0] == 7  # the empty place
    assert contact_sheet([], columns=3).shape == (1, 1, 3)


def test_pictures_encode_to_the_same_bytes_each_time():
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    assert jpeg_bytes(picture) == jpeg_bytes(picture)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0421, "0.0421"), (3.14159, "3.14"), (120.4, "120"), (12345, "12.3k"), (4.5e6, "4.5M")],
)
def test_short_numbers(value: float, text: str):
    assert short_number(value) == text
