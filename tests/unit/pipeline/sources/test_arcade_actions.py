"""The embedded source gives its recordings' true actions as a sidecar, where they are to be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.actions.sidecar import read_sidecar
from pipeline.arcade.platformer import ACTIONS
from pipeline.arcade.truth import Truth, write_truth
from pipeline.config.source import ArcadeConfig, DownloadConfig
from pipeline.sources import arcade
from pipeline.sources.arcade import ArcadeSource
from pipeline.sources.base import Fetched
from pipeline.storage.home import Home


def test_a_game_has_its_actions_and_anything_else_none(tmp_path: Path, monkeypatch) -> None:
    home = Home(tmp_path)
    played = np.array([0, 2, 2, 5], np.int8)
    write_truth(home.arcade, Truth("aaaaaaaaaaa", "platformer", 0.4, ((0.0, 0.4, 5),), played, "", 1))
    write_truth(home.arcade, Truth("bbbbbbbbbbb", "menu", 0.4, ((0.0, 0.4, 1),), None, ""))
    source = ArcadeSource(ArcadeConfig(), home)
    monkeypatch.setattr(arcade, "fetch_url", lambda url, folder, config, **more: Fetched(path=folder, format="file"))

    def fetched(native_id: str, actions: str) -> bytes | None:
        return source.fetch({"native_id": native_id}, tmp_path, DownloadConfig(actions=actions)).actions

    data = fetched("aaaaaaaaaaa", "keep")
    assert data is not None
    rows = read_sidecar("a.actions.jsonl", data)
    assert rows.labels == tuple(ACTIONS[action] for action in played)
    assert rows.times_s.tolist() == [0, 0.1, 0.2, 0.3]
    assert fetched("bbbbbbbbbbb", "keep") is fetched("aaaaaaaaaaa", "drop") is fetched("ccccccccccc", "keep") is None
