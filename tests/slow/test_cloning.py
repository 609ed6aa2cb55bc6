"""Behaviour cloning in the embedded game: perfect names play like the oracle, and the command goes on after a kill."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from assets.cli.main import main
from assets.settings import load_settings, save_config
from models.studies import cloning
from models.studies.cells import Cells
from models.studies.cloning import CloningSettings, study_cloning
from models.training.train import train_tokenizer, train_world_model
from models.world.world import WorldModel
from pipeline.arcade.platformer import ACTIONS
from tests.shards import add_platformer_shards
from tests.tiny_world import CONFIG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_lam_that_names_every_action_gives_a_policy_as_good_as_the_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = np.array([5, 3, 0, 1, 4, 2])  # a name for each action, and no action keeps its number

    def perfect(world: Any, expert: Any) -> dict[str, Any]:
        return {"codes": names[expert.actions].tolist()}

    monkeypatch.setattr(cloning, "_names", perfect)
    world = SimpleNamespace(
        model_id="perfect", num_actions=6, tokenizer=SimpleNamespace(height=90, width=160),
        compute=SimpleNamespace(device=torch.device("cpu")),
    )  # fmt: skip
    settings = CloningSettings(episodes=24, levels=12, seeds=1, steps=120, labels=(2, 600))
    found = study_cloning(cast(WorldModel, world), settings, Cells(tmp_path, {}))
    scores = {(arm.name, arm.labels): float(arm.shares.mean()) for arm in found.arms}
    assert found.information == pytest.approx(found.possible)
    assert scores["expert", None] > 0.95
    # it learned more than to run, and the names cost it nothing
    assert scores["oracle", None] > scores["runs on", None] > scores["random", None]
    assert abs(scores["most frequent", 600] - scores["oracle", None]) < 0.15
    # two labels cannot tell five actions
    assert scores["drawn", 2] < scores["drawn", 600]


def test_the_command_plays_a_trained_world_s_names_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out, page = tmp_path / "root", tmp_path / "out", tmp_path / "studies.md"
    monkeypatch.chdir(tmp_path)
    settings = load_settings(str(root))
    save_config(settings.__class__(settings.store, CONFIG, settings.home))
    settings = load_settings(str(root))
    add_platformer_shards(settings.store, settings.home, {"train": [1], "val": [2]}, 16)
    train_tokenizer(settings.job())
    world = train_world_model(settings.job()).model_id
    toy = ["--seeds", "1", "--levels", "3", "--episodes", "2", "--steps", "2", "--labels", "10,40"]
    command = ["study", "cloning", "--root", str(root), "--out", str(out), "--page", str(page), *toy]

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, contextlib.redirect_stderr(io.StringIO()):
        patched.setattr(cloning, "_latent", stop)
        assert main(command) == 130
    kept = {path.name for path in out.rglob("*seed0.json")}
    assert kept == {"reference-seed0.json", "oracle-seed0.json"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        assert main([*command, "--json"]) == 0
    figures = json.loads(printed.getvalue())
    assert figures["world"] == world
    assert np.array(figures["code_counts"]).shape == (CONFIG.latent_actions.num_actions, len(ACTIONS))
    assert {(arm["name"], arm["labels"]) for arm in figures["arms"]} >= {("oracle", None), ("drawn", 10), ("drawn", 40)}
    text = page.read_text("utf-8")
    assert "## Behaviour cloning with latent actions" in text
    assert "too few to tell (1 seeds, 3 held-out sources" in text
    assert (tmp_path / "studies" / "cloning-labels.svg").is_file()
