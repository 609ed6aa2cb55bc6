"""`lampworks study prompts` measures every picture once, also after a kill, and writes its section and its sheet."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from assets.cli import study_prompts
from assets.cli.main import main
from models.evaluation.evaluate import evaluate
from models.training.train import train_tokenizer, train_world_model
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.shards import add_platformer_shards
from tests.synthetic import job_of
from tests.tiny_world import CONFIG


@pytest.mark.slow
def test_a_study_of_prompts_goes_on_and_says_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "root")
    add_platformer_shards(store, home_of(store), {"train": range(2), "val": range(2, 4)}, 20)
    train_tokenizer(job_of(store, CONFIG))
    train_world_model(job_of(store, CONFIG))
    monkeypatch.setattr(study_prompts, "used_settings", lambda args: SimpleNamespace(job=lambda: job_of(store, CONFIG)))
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(photographs / "a.png")
    out, page = tmp_path / "out", tmp_path / "docs" / "studies.md"
    command = ["study", "prompts", "--pictures", "2", "--frames", "2", "--photographs", str(photographs), "--json"]
    command += ["--out", str(out), "--page", str(page)]

    def study() -> dict:
        assert main(command) == 0
        return json.loads(capsys.readouterr().out)

    before = study()
    assert before["pictures"] == {
        "held-out frames": 2, "sketches": 2, "photo-like": 2, "other games": 2, "photographs": 1,
    }  # fmt: skip
    few = before["figures"]["sketches"]["round_trip"]
    assert few["value"] is not None
    assert few["reason"] == "too few to tell an interval: 2 pictures, and 5 are needed"
    assert "not evaluated" in before["figures"]["sketches"]["doubt"]["reason"]
    assert before["figures"]["photographs"]["round_trip"]["reason"] == "too few to tell: 1 picture, and 2 are needed"
    evaluate(job_of(store, CONFIG))
    found = study()
    assert found["figures"]["sketches"]["doubt"]["value"] is not None
    with Image.open(io.BytesIO((out / "prompts-sheet.png").read_bytes())) as sheet:
        assert sheet.size[0] > 6 * 160
    assert page.read_text().count("<!-- study prompts -->") == 1
    assert str(tmp_path) not in page.read_text()
    # of a study that was killed only what is missing is measured
    newest = max((out / "cells").rglob("sketches-1-*.json"), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    looked = []
    real = __import__("models.studies.prompts", fromlist=["look_at"]).look_at
    monkeypatch.setattr("models.studies.prompts.look_at", lambda *given: looked.append(1) or real(*given))
    again = study()
    assert len(looked) == 1
    assert again["figures"] == found["figures"]
