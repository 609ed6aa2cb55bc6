"""After a trial with other settings and a return, everything shows the configured world again, without training."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from assets.cli.main import main
from assets.passes.due import is_due
from assets.passes.failures import PassError
from assets.passes.reconcile import reconcile
from assets.passes.runner import Runner
from assets.report.page import write_report
from assets.settings import Settings, save_config
from models.play.packed.read import open_packed
from pipeline.config import Config
from pipeline.inspect.status import status
from pipeline.model_choice import models_in_use
from pipeline.storage.home import home_of
from pipeline.storage.models_table import all_models, replace_model
from pipeline.storage.store import Store
from tests.shards import add_platformer_shards
from tests.tiny_world import CONFIG as TINY

pytestmark = pytest.mark.heavy

CONFIG = dataclasses.replace(
    TINY,
    tokenizer=dataclasses.replace(TINY.tokenizer, start="latents"),
    evaluation=dataclasses.replace(TINY.evaluation, kmeans_patches=500),
)
TRIAL = dataclasses.replace(CONFIG, dynamics=dataclasses.replace(CONFIG.dynamics, batch=2))
LONGER = dataclasses.replace(CONFIG, dynamics=dataclasses.replace(CONFIG.dynamics, steps=2))
NEVER_TRAINED = dataclasses.replace(CONFIG, dynamics=dataclasses.replace(CONFIG.dynamics, batch=7))
TRAINED = ("video_tokenizer", "world_model", "world_evaluation", "playable_world")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LAMPWORKS_", "DAGSTER_")):
            monkeypatch.delenv(name)


def make_due(store: Store, config: Config, *, evaluate: bool = True) -> list[str]:
    """Train, evaluate and try what is due, as a pass does, and return the titles of the runs that it launched."""
    settings = Settings(store, config, home_of(store))
    save_config(settings)
    with Runner(settings, TRAINED, lambda line: None) as runner:
        runner.run_due("train_world_model", "train")
        if evaluate:
            runner.run_due("evaluate", "evaluate")
        return runner.result.runs


def worlds(store: Store) -> list[str]:
    return [row.model_id for row in all_models(store) if row.kind == "world_model"]


def lampworks(store: Store, *arguments: str) -> int:
    return main([arguments[0], "--root", store.root, *arguments[1:]])


def remember(store: Store, config: Config) -> None:
    save_config(Settings(store, config, home_of(store)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A root in which the configured world was trained and evaluated, and then one of other settings."""
    store = Store(tmp_path_factory.mktemp("identity") / "a root")
    add_platformer_shards(store, home_of(store), {"train": range(2), "val": range(2, 4)}, 20)
    assert make_due(store, CONFIG) == ["train", "evaluate"]
    playable = models_in_use(store, CONFIG).playable
    assert playable is not None
    packed = open_packed(store.url(playable.path)).manifest
    assert packed.world == worlds(store)[0]
    assert {"play.json", "starts/start-00.png", "starts/start-01.png"} <= packed.files.keys()
    assert make_due(store, TRIAL, evaluate=False) == ["train"]
    assert lampworks(store, "evaluate") == 0
    newest = all_models(store)[-1]
    assert (newest.kind, newest.inputs["world_model"]) == ("world_evaluation", worlds(store)[1])
    return store


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the play page says of its world, in place of a server that waits for visitors."""
    answers: list[Any] = []

    def run(app: Any, listening: Any) -> None:
        with TestClient(app, base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
            answers.append(client.get("/api/world").json())

    monkeypatch.setattr("assets.cli.server.run_uvicorn", run)
    return answers


def test_after_a_trial_and_a_return_nothing_is_trained_and_everything_shows_the_configured_world(
    store: Store, served: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    configured, trial = worlds(store)
    before = len(all_models(store))
    assert make_due(store, CONFIG) == []
    assert len(all_models(store)) == before
    used = models_in_use(store, CONFIG)
    assert used.world is not None
    assert used.evaluation is not None
    assert used.world.model_id == configured
    assert (used.evaluation.inputs["world_model"], used.evaluation_is_current) == (configured, True)
    found = status(store, CONFIG)
    assert found.models.in_use["world_model"].model_id == configured
    assert found.evaluation["psnr_t1"].value == used.evaluation.metrics["psnr_t1"]["value"]
    page = store.read_blob(write_report(store, CONFIG)).decode()
    assert f"<code>{configured}</code>" in page
    assert trial not in page
    capsys.readouterr()
    assert lampworks(store, "models", "--json") == 0
    listed = {run["name"]: run["in_use"] for run in json.loads(capsys.readouterr().out) if run["kind"] == "world_model"}
    assert listed == {configured: True, trial: False}
    assert lampworks(store, "play", "--port", "0") == 0
    assert served[0]["note"].startswith("The keys do not control") or "unknown" in served[0]["note"]
    assert reconcile(Settings(store, CONFIG, home_of(store))).reported.get("world_model") == 1, "the trial's was newer"


def test_where_the_configured_world_is_not_trained_the_error_names_the_newest_and_what_it_says_works(
    store: Store, served: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    remember(store, NEVER_TRAINED)
    _, trial = worlds(store)
    for command in ("play", "evaluate"):
        assert lampworks(store, command) == 2
        error = capsys.readouterr().err
        assert "no world model of the present settings" in error
        assert f"`--model {trial}`" in error
    assert lampworks(store, "report", "--model", trial[:8]) == 0
    assert f"<code>{trial}</code>" in Path(capsys.readouterr().out.strip()).read_text("utf-8")
    option = error.split("with `")[1].split("`")[0]
    assert lampworks(store, "play", "--port", "0", *shlex.split(option)) == 0
    assert len(served[0]["actions"]) == 8
    assert lampworks(store, "evaluate", *shlex.split(option)) == 0
    assert "published before" in capsys.readouterr().out
    assert lampworks(store, "play", "--model", "zz") == 2
    assert "no world model has an id that begins with 'zz'" in capsys.readouterr().err


def test_more_steps_make_another_model_of_the_same_run_and_fewer_find_the_one_before(store: Store) -> None:
    assert make_due(store, LONGER, evaluate=False) == ["train"]
    rows = [row for row in all_models(store) if row.kind == "world_model"]
    assert rows[-1].inputs["run"] == rows[0].inputs["run"]
    assert (rows[0].steps, rows[-1].steps) == (1, 2)
    assert make_due(store, CONFIG) == []
    used = models_in_use(store, CONFIG)
    assert used.world == rows[0]


def with_floor(psnr: float) -> Config:
    return dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, min_psnr=psnr))


def test_a_changed_floor_is_judged_again_from_the_row_without_training(store: Store) -> None:
    before = {row.model_id: row.created_at for row in all_models(store)}
    reached = next(row for row in all_models(store) if row.kind == "video_tokenizer").metrics["psnr"]
    with pytest.raises(PassError, match="psnr_floor"):
        make_due(store, with_floor(reached + 1))
    assert is_due("video_tokenizer", Settings(store, with_floor(reached + 1), home_of(store))), "it fails again"
    assert make_due(store, with_floor(reached - 1)) == ["train"], "the check is made again"
    assert make_due(store, with_floor(reached - 1)) == []
    assert {row.model_id: row.created_at for row in all_models(store)} == before


def test_models_of_older_shards_are_used_until_new_ones_are_trained_and_the_reader_is_told(
    store: Store, tmp_path: Path
) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    copy.replace("shards", [{**row, "version": "v2"} for row in copy.read("shards").to_pylist()])
    used = models_in_use(copy, CONFIG)
    assert used.world is not None
    assert used.world.model_id == worlds(store)[0]
    assert [note.split(" was trained")[1] for note in used.notes] == [
        " on older shards (v1); `lampworks run` trains it again"
    ] * 2
    assert not used.evaluation_is_current


def test_a_world_of_an_older_version_is_played_by_its_id_and_never_stands_for_the_configuration(
    store: Store, tmp_path: Path, served: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.root, copy.root)
    for row in all_models(copy):
        inputs = {key: value for key, value in row.inputs.items() if key not in ("settings", "run", "lineage")}
        replace_model(copy, dataclasses.replace(row, inputs=inputs))
    remember(copy, CONFIG)
    used = models_in_use(copy, CONFIG)
    assert (used.tokenizer, used.world, used.evaluation, used.playable) == (None, None, None, None)
    assert lampworks(copy, "play") == 2
    named = capsys.readouterr().err.split("`--model ")[1].split("`")[0]
    assert lampworks(copy, "play", "--port", "0", "--model", named) == 0
    assert len(served[0]["actions"]) == 8
