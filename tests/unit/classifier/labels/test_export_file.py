"""An export is a table that can be imported again."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from classifier.labels.export_file import export_labels
from classifier.labels.import_file import import_labels
from pipeline.errors import UserError
from pipeline.label_events import load_labels

TEXT = """clip_id,rating,stream,inclusion,reasons
{0},5,random,0.25,
{1},1,audit_low,"0,5",face menu
"""
AGAIN = "clip_id,rating,repeat\n{0},2,true\n"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def held(store, config) -> dict[str, dict[str, tuple[object, ...]]]:
    """Return what every annotator said of each clip, and how the clip was chosen."""
    names = ("rating", "stream", "inclusion", "reasons")
    events = load_labels(store, config).events
    return {
        clip: {who: tuple(event[name] for name in names) for who, event in by.items()} for clip, by in events.items()
    }


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_an_export_comes_back_the_same(store, config, clips, tmp_path, name):
    import_labels(store, write(tmp_path / "l.csv", TEXT.format(*clips)), "ann", config)
    text = 'video,start_s,rating\n"Level 1, ""best"" of.mp4",0,2\n'
    import_labels(store, write(tmp_path / "m.csv", text), "bob", config)
    import_labels(store, write(tmp_path / "again.csv", AGAIN.format(*clips)), "ann", config)
    before = held(store, config)
    assert before[clips[0]]["ann"][0] == 5  # shown again: the first rating stays
    assert before[clips[1]] == {"ann": (1, "audit_low", 0.5, ["menu", "face"])}
    assert export_labels(store, tmp_path / name, config) == 4
    store.replace("labels", [])
    assert import_labels(store, tmp_path / name, "someone", config).added == 4
    assert held(store, config) == before
    [again] = load_labels(store, config).repeats.values()
    assert again["ann"]["rating"] == 2


def test_an_export_is_a_table_with_a_header(store, config, clips, tmp_path):
    import_labels(store, write(tmp_path / "l.csv", f"clip_id,rating\n{clips[0]},5\n"), "ann", config)
    export_labels(store, tmp_path / "out.csv", config)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    assert [(row["clip_id"], row["rating"], row["annotator"]) for row in rows] == [(clips[0], "5", "ann")]
    with pytest.raises(UserError, match="cannot be written"):
        export_labels(store, tmp_path / "no" / "folder.csv", config)
