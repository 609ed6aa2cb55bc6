"""A blob is there before the row that names it: a reader of a committed row finds what it names."""

from __future__ import annotations

import pytest

from tests.laws.stages import STAGES, World

every_stage = pytest.mark.parametrize("stage", [stage.name for stage in STAGES])


@every_stage
def test_what_a_row_names_is_there_when_it_is_committed(stage: str, world: World) -> None:
    assert world.logs[stage].missing == []


@every_stage
def test_the_folder_that_a_row_names_is_complete_when_it_is_committed(stage: str, world: World) -> None:
    now = {folder: world.finished.list_blobs(folder) for folder in world.logs[stage].folders}
    then = {
        folder: [key for key in keys if "/checkpoints/" not in key]
        for folder, keys in world.logs[stage].folders.items()
    }
    assert then == now


def test_the_stages_name_files_and_folders(world: World) -> None:
    folders = {stage for stage, log in world.logs.items() if log.folders}
    assert folders == {"classifier", "tokenizer", "world model", "evaluation", "packed world"}


def test_the_manifest_of_the_shards_comes_before_their_rows(world: World) -> None:
    events = [(event.kind, event.name.rsplit("/", 1)[-1]) for event in world.logs["shards"].events]
    assert events.index(("blob", "manifest.json")) < events.index(("commit", "shards"))
