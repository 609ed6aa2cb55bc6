"""The whole graph on clips of another shape: 64x64, as the `coinrun` preset cuts them, and of 4 s to be short."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from starlette.testclient import TestClient

from models.play.page import play_app
from models.play.starts.held_out import start_frames
from models.world.load import load_world
from pipeline.clips.read import read_clip
from pipeline.clips.stored import decode_clip
from pipeline.config import load_config, preset
from pipeline.ids import split_clip_id
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

SQUARE = {"width": 64, "height": 64, "aspect": "crop"}


def test_the_coinrun_preset_cuts_the_case_studys_frames() -> None:
    config = preset("coinrun")
    assert {name: getattr(config.clips, name) for name in SQUARE} == SQUARE
    assert (config.clips.width // config.tokenizer.patch) * (config.clips.height // config.tokenizer.patch) == 256


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
def test_square_clips_go_through_the_whole_graph(tmp_path: Path, tiny_settings: dict[str, Any], lampworks: Any) -> None:
    settings = {
        **tiny_settings,
        "arcade": {"videos": 24, "seconds": 4.2, "rounds": 1},
        "clips": {**SQUARE, "seconds": 4},
        "rules": {"min_duration_s": 0.0},
        "tokenizer": {**tiny_settings["tokenizer"], "patch": 4},
        "latent_actions": {**tiny_settings["latent_actions"], "patch": 16},
    }
    path, root = tmp_path / "square.yaml", tmp_path / "root"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    lampworks.here("demo", "--root", str(root), "--config", str(path))
    state = json.loads(lampworks.here("status", "--root", str(root), "--json"))
    assert state["conserved"] is True
    assert state["curated"]["keep"] >= 10

    config, store = load_config(path), Store(str(root))
    clips = store.read("clips", ["clip_id", "video_id", "tar", "offset", "size", "sha256", "flags"]).to_pylist()
    assert decode_clip(read_clip(store, clips[0])).shape == (40, 64, 64, 3)
    # a cropped picture has no bars, which would be flagged
    assert not any("letterbox" in (row["flags"] or ()) for row in clips)
    assert max(row["group_size"] for row in store.read("duplicates").to_pylist()) < len(clips) / 2

    world = load_world(store, config)
    assert world.num_tokens == 256
    app = play_app(world, start_frames(store, config, world.model_id), config.play)
    with TestClient(app, base_url="http://127.0.0.1:8000") as page:
        about = page.get("/api/world").json()
        assert (about["width"], about["height"]) == (64, 64)
        assert Image.open(io.BytesIO(page.get("/api/starts/held_out:0.png").content)).size == (64, 64)

    # the world as one page; a video that is taken down gives no start frame any more
    before = exported(lampworks, tmp_path / "world.html", root)
    assert (before["width"], before["height"], before["num_codes"]) == (64, 64, config.tokenizer.codebook_size)
    shown = [start["clip_id"] for start in before["starts"]]
    assert len(shown) >= 2
    request_takedown(store, "video", split_clip_id(shown[0])[0], "asked by its author")
    after = [start["clip_id"] for start in exported(lampworks, tmp_path / "world.html", root)["starts"]]
    assert after == [clip for clip in shown if split_clip_id(clip)[0] != split_clip_id(shown[0])[0]]


def exported(lampworks: Any, path: Path, root: Path) -> dict[str, Any]:
    """Export the world as a page, and return what its scripts read."""
    lampworks.here("export", str(path), "--backends", "wasm", "--root", str(root))
    [about] = re.findall(r'<script type="application/json" id="about">(.*?)</script>', path.read_text("utf-8"))
    return dict(json.loads(about))
