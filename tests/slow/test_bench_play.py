"""`lampworks bench play` measures the page of a server and an exported page, on a world that was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from assets.cli.main import main
from assets.settings import config_changes
from models.evaluation.evaluate import evaluate
from models.training.train import train_tokenizer, train_world_model
from pipeline.bench.browser import why_no_browser
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.shards import add_platformer_shards
from tests.synthetic import job_of
from tests.tiny_world import CONFIG

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = Store(tmp_path_factory.mktemp("bench-play") / "root")
    add_platformer_shards(store, home_of(store), {"train": range(2), "val": range(2, 4)}, 20)
    job = job_of(store, CONFIG)
    train_tokenizer(job)
    train_world_model(job)
    evaluate(job)
    config = yaml.safe_dump(config_changes(CONFIG), sort_keys=False)
    (Path(store.root) / "config.yaml").write_text(config, "utf-8")
    return str(store.root)


def measure(root: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["bench", "play", "--root", root, *options]) == 0
    return capsys.readouterr().out


@pytest.mark.browser
def test_frames_of_an_exported_page_are_timed_and_compared_with_a_servers(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if (missing := why_no_browser()) is not None:
        pytest.skip(missing)
    found = json.loads(measure(root, capsys, "--exported", "--presses", "6", "--json"))
    half, full = found["pages"]
    assert (half["weights"], full["weights"]) == ("fp16", "fp32")
    assert half["size_mb"] < full["size_mb"]
    for page in (half, full):
        assert (page["backend"], page["threads"]) == ("WASM", 2)
        assert page["held_fps"] > 0
        assert 0 < page["median_ms"] <= page["p95_ms"] <= page["worst_ms"]
    assert (full["equal"], full["equal_until"]) == (6, 6)
    assert full["largest_difference"] <= 1


def test_keys_of_one_player_and_of_two_are_timed(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = json.loads(measure(root, capsys, "--presses", "4", "--json"))["times"]
    assert (one["players"], one["presses"], two["players"], two["presses"]) == (1, 4, 2, 8)
    assert 0 < one["median_ms"] <= one["p95_ms"] <= one["worst_ms"]
    assert one["parts_ms"]["dynamics"] > 0
    assert one["parts_ms"]["doubt"] > 0, "the residual is measured at every second frame"


def test_without_a_browser_an_exported_page_is_not_measured_and_the_way_to_get_one_is_told(
    root: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["bench", "play", "--root", root, "--exported"]) == 2
    assert "install it: apt-get install chromium" in capsys.readouterr().err
