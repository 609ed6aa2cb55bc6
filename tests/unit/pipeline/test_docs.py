"""docs/data.md describes every column of every table, in order, with its type: no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.storage.schemas import SCHEMAS

TEXT = (Path(__file__).parents[3] / "docs" / "data.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
WORDS = {
    pa.string(): "text",
    pa.int64(): "integer",
    pa.float64(): "float",
    pa.bool_(): "boolean",
    pa.binary(): "bytes",
    pa.list_(pa.string()): "list of text",
    pa.list_(pa.float32()): "list of float32",
    pa.list_(pa.int32()): "list of int32",
    pa.timestamp("us", tz="UTC"): "time",
}


def test_every_table_has_a_section_in_the_order_of_the_code():
    assert list(SECTIONS) == list(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_is_described(name: str):
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", SECTIONS[name], re.MULTILINE)
    assert [(column, kind) for column, kind, _ in rows] == [(field.name, WORDS[field.type]) for field in SCHEMAS[name]]
    assert all(meaning.endswith(".") for _, _, meaning in rows)
