"""`lampworks bench s3` goes through every stage of a batch on a server of its own, a takedown at the end."""

from __future__ import annotations

import json

import pytest

from assets.cli.main import main

pytest.importorskip("moto", reason="the S3 tests need the dev extra: moto")
MOST = {
    "search": 100, "download": 100, "clips": 260, "near-duplicates": 70, "embeddings": 120, "decision": 150,
    "shards": 280, "status": 350, "takedown of a video": 1300,
}  # fmt: skip
"""Requests of each stage for a batch of four videos, about a third more than were counted."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_stage_of_a_batch_ends_and_sends_no_more_than_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "s3", "--videos", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = {one["stage"]: sum(one["by_operation"].values()) for one in found["stages"]}
    assert counts.keys() == MOST.keys()
    assert found["clips"] == 12
    assert all(0 < counts[stage] <= most for stage, most in MOST.items()), counts


def test_too_few_films_for_a_set_are_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "s3", "--videos", "3"]) == 2
    assert "--videos = 3: must be at least 4" in capsys.readouterr().err
