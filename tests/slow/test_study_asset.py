"""The asset `study` clones behaviour with the root's own world, and publishes the page of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets.graph.definitions import graph_of
from assets.passes.instance import open_instance
from assets.settings import load_settings, save_config
from models.training.train import train_tokenizer, train_world_model
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.shards import add_platformer_shards
from tests.synthetic import job_of
from tests.tiny_world import CONFIG

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]


def test_cloning_reads_the_world_of_the_root_and_its_page_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    add_platformer_shards(store, home_of(store), {"train": range(2), "val": range(2, 4)}, 20)
    train_tokenizer(job_of(store, CONFIG))
    world = train_world_model(job_of(store, CONFIG)).model_id
    settings = replace(load_settings(str(store.root)), config=CONFIG)
    assert save_config(settings)
    asked = {"ops": {"study": {"config": {"confirm": True, "study": "cloning", "size": "tiny", "seeds": 1}}}}
    with open_instance(settings.home) as instance:
        job = graph_of(load_settings(str(store.root))).resolve_job_def("make_study")
        result = job.execute_in_process(instance=instance, raise_on_error=False, run_config=asked)
    assert result.success
    page = store.read_blob("reports/studies/cloning/study.md").decode()
    assert f"world `{world}`; seeds 0 to 0; 6 recorded levels" in page
    assert "--seeds 1 --levels 2 --episodes 6 --steps 10 --labels 10,25" in page
    assert json.loads(store.read_blob("reports/studies/cloning/study.json"))["world"] == world
    [check] = result.get_asset_check_evaluations()
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert not check.passed, "one seed is too few to tell"
