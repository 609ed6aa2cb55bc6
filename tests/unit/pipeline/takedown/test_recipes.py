"""The copies of recipes that a home keeps name no video that was taken down."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.inspect.export_recipe import export_recipe
from pipeline.recipe import Recipe
from pipeline.storage.home import Home
from pipeline.takedown.home import take_out_of_home
from pipeline.takedown.mentions import Mentions
from tests.synthetic import CONFIG, finished_store


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
def test_a_taken_down_video_leaves_the_copies_of_recipes(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / "home")
    home.recipes.mkdir(parents=True)
    export_recipe(finished_store(tmp_path / "root"), CONFIG, home.recipes / name)
    first, *others = Recipe(home.recipes / name).videos()
    mine = Mentions(videos=frozenset({first.video_id}))

    assert take_out_of_home(home, mine, dry_run=True).files == [home.recipes / name]
    assert take_out_of_home(home, mine).files == [home.recipes / name]

    assert list(Recipe(home.recipes / name).videos()) == others
    data = (home.recipes / name).read_bytes()
    text = gzip.decompress(data) if name.endswith(".gz") else data
    assert first.video_id.encode() not in text
    assert take_out_of_home(home, mine).files == []
