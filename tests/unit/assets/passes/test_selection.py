"""Which assets `--select` means."""

from __future__ import annotations

import pytest

from assets.graph.jobs import JOBS
from assets.passes.selection import resolve_selection
from pipeline.errors import UserError


def chosen(*select: str) -> set[str]:
    return set(resolve_selection(select))


def test_nothing_selected_means_all_but_what_runs_on_request() -> None:
    every = {asset for assets in JOBS.values() for asset in assets}
    assert resolve_selection(None) == every - {"curation_ablation", "token_shards", "study"}


def test_a_name_is_that_asset_and_a_plus_adds_what_is_before_or_behind_it() -> None:
    assert chosen("clips") == {"clips"}
    assert chosen("+clips") == {"search_results", "raw_videos", "clips"}
    assert chosen("world_model+") == {"world_model", "world_evaluation", "playable_world"}
    assert chosen("clips,near_duplicates", "label_queue") == {"clips", "near_duplicates", "label_queue"}
    assert "quality_classifier" in chosen("+curated_clips")


def test_the_older_spelling_of_dagster_means_the_same() -> None:
    assert chosen("*clips") == chosen("+clips")
    assert chosen("world_model*") == chosen("world_model+")
    assert chosen("*clips*") == chosen("+clips+")


def test_what_runs_on_request_comes_only_by_its_name() -> None:
    assert chosen("curation_ablation") == {"curation_ablation"}
    assert not {"curation_ablation", "study"} & chosen("clips+")


def test_a_study_is_made_by_its_name_and_by_no_pass() -> None:
    with pytest.raises(UserError, match="`lampworks study NAME`"):
        chosen("study")


@pytest.mark.parametrize(("text", "told"), [("clip", "did you mean clips"), ("xyz", "choose from"), (",", "is empty")])
def test_a_wrong_name_is_an_error_that_helps(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        chosen(text)
