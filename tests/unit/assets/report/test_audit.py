"""The report shows the slices of an audited decision, and sheets of its clips as long as none is taken down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assets.report.curation import curation_view
from assets.report.page import report_html
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.synthetic import CONFIG, finished_store, png, scene


def document(**changed: Any) -> dict[str, Any]:
    estimate = {"value": 0.92, "interval": [0.86, 0.96], "source_interval": [0.8, 0.97], "clips": 60, "sources": 14,
                "few": False}  # fmt: skip
    row = {"name": "Channel <b>", "clips": 24, "kept": 24, "keep_rate": 1.0, "rated": 9, "good": 8}
    of_channel = {"count": 3, "largest": [row], "extremes": [row], "num_extremes": 1}
    return {
        "format": 1, "made_from": "x", "decision": "d", "target_precision": 0.9,
        "audit": {
            "decision": "d", "is_present": True, "drawn": {"audit_high": 60, "audit_low": 40},
            "rated": {"audit_high": 60, "audit_low": 40}, "by_stand_in": False,
            "figures": {"precision": estimate, "whole_precision": estimate, "recall": {**estimate, "few": True}},
        },
        "slices": {"channel": of_channel, "year": {"count": 1, "largest": [row], "extremes": [], "num_extremes": 0}},
        "changes": {
            "entered": 7, "left": 2, "new": 5, "gone": 0, "churn": 0.04, "flipped": 3, "clips": 24, "kept": 14,
            "why": [{"change": "entered", "before": "drop: score", "now": "keep: score", "clips": 7}],
            "probabilities": {"psi": 0.31, "ks": 0.2}, "measurements": [{"name": "motion", "psi": 0.04, "ks": 0.1}],
            "models_agree": None, "psi_by_chance": 0.12,
        },
        **changed,
    }  # fmt: skip


@pytest.fixture
def audited(tmp_path: Path) -> Store:
    store = finished_store(tmp_path / "root")
    store.replace("curated", store.read("curated"), inputs={**store.inputs("curated"), "content": "d"})
    store.write_blob("reports/curation/audit.json", json.dumps(document(takedowns=store.version("takedowns"))).encode())
    for name, video in (("best", "arcade-v000"), ("worst", "arcade-v004"), ("drop flag still", "arcade-v005")):
        about = {"sheet": name, "shown": [f"{video}-000016000-4b6374f0"], "clips": {}}
        stem = f"reports/curation/{name.replace(' ', '-')}"
        store.write_blob(f"{stem}.json", json.dumps(about).encode())
        store.write_blob(f"{stem}.jpg", png(scene("good", 1)[0], "JPEG"))
    return store


def test_slices_and_a_sheet_for_each_reason_are_shown(audited: Store) -> None:
    page, clip_ids = report_html(audited, CONFIG)
    for told in (
        "0.92 (0.86 to 0.96 in this set; 0.80 to 0.97 over sources), 60 clips of 14 sources.",
        "too few to tell (60 clips of 14 sources rated)",
        'Channel &lt;b&gt;</td><td class="n">24</td><td class="n">100%</td><td class="n">8 of 9</td>',
        "The best scores",
        "<h3>drop flag still</h3>",
    ):
        assert told in page, told
    view = curation_view(audited)
    assert view is not None
    assert list(view.keep_rates) == ["channel"]
    assert "arcade-v005-000016000-4b6374f0" in clip_ids


def test_after_a_takedown_its_sheet_is_left_out_and_slices_until_the_next_audit(audited: Store) -> None:
    request_takedown(audited, "video", "arcade-v004", "asked")
    audited.delete("reports/curation/best.json")  # without its list of clips a takedown could not find the page
    view = curation_view(audited)
    assert view is not None
    assert [sheet.name for sheet in (*view.sheets, *view.reason_sheets)] == ["drop flag still"]
    assert (view.keep_rates, view.slices) == ({}, [])
    assert view.changes
