"""What `lampworks uncovered` lists, and that the commands which it names work."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.cli.main import main
from classifier.embedding.situations import clips_like
from classifier.embedding.stored import packed
from classifier.embedding.weights import encoder_id
from pipeline.clip_spec import clip_spec
from pipeline.config import Config, EmbeddingConfig
from pipeline.ids import clip_id_of
from pipeline.storage.store import Store
from pipeline.uncovered import Situation, record_situations

CONFIG = Config(embedding=EmbeddingConfig(width=32, height=32, frames=2, threads=1, device="cpu"))
SETTINGS = "embedding: {width: 32, height: 32, frames: 2, threads: 1, device: cpu}\n"


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    Image.fromarray(np.kron(pixels, np.ones((10, 10, 1), np.uint8))).save(buffer, "PNG")
    return buffer.getvalue()


def situation(seed: int) -> Situation:
    return Situation(
        world="w1", start="held_out:0", clip_id=None, link=f"#seed={seed}&actions=0(12)", t=12, score=0.91, entropy=1.0,
        residual=2.0, disagreement=0.1, expected_psnr=18.0, pictures=(picture(seed), picture(seed)),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of three clips, each of which looks like a picture."""
    monkeypatch.chdir(tmp_path)
    Path("lamp.yaml").write_text(SETTINGS)
    store, spec = Store(tmp_path / "root"), clip_spec(CONFIG.clips)
    store.check_writable()
    names = ["va", "vb", "vc"]
    common = {"batch": "2026w47-0001", "clip_spec": spec, "source_sha256": "0"}
    store.append(
        "videos",
        [{"video_id": name, "verdict": "kept", "queries": ["run"], "channel": f"of {name}"} for name in names],
    )
    store.append("clippings", [{**common, "video_id": name, "state": "ok", "num_clips": 1} for name in names])
    store.append(
        "clips", [{**common, "clip_id": clip_id_of(name, 0, spec), "video_id": name, "flags": []} for name in names]
    )
    return store


def embed(store: Store) -> None:
    """Embed the picture of each clip."""
    from classifier.embedding.situations import _embedded

    rows = store.read("clips", ["clip_id"]).to_pylist()
    vectors = _embedded(CONFIG, [situation(seed) for seed in range(3)])
    half = vectors.shape[1] // 2
    store.append("embeddings", [
        {
            "clip_id": row["clip_id"], "batch": "2026w47-0001", "encoder": encoder_id(CONFIG.embedding),
            "mean": packed(vector[:half]), "spread": packed(vector[half:]),
        }
        for row, vector in zip(rows, vectors, strict=True)
    ])  # fmt: skip


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main([*words, "--root", "root", "--config", "lamp.yaml"]) == 0
    return capsys.readouterr().out


def test_situations_are_listed_with_the_clips_that_look_like_them(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no situation is noted" in listed(capsys, "uncovered")
    assert record_situations(store, [situation(0)], lambda some: clips_like(store, CONFIG, some)) == 1
    out = listed(capsys, "uncovered")
    command = "`lampworks run --select clip_embeddings --root root --config lamp.yaml`"
    assert f"like     no clip: no clip is embedded: run {command}" in out
    assert "1 situation that a world could only guess, 1 of them like no clip" in listed(capsys, "status")

    embed(store)
    record_situations(store, [situation(0), situation(1)], lambda some: clips_like(store, CONFIG, some))
    ids = store.read("clips", ["clip_id"])["clip_id"].to_pylist()
    rows = json.loads(listed(capsys, "uncovered", "--json"))
    assert {row["link"]: row["nearest"][0] for row in rows} == {
        "#seed=0&actions=0(12)": ids[0], "#seed=1&actions=0(12)": ids[1]
    }  # fmt: skip
    assert sorted(rows[0]["nearest"]) == sorted(ids)
    out = listed(capsys, "uncovered", "--top", "1", "--pictures", "unseen")
    assert "and 1 more (`--top 2` lists all)" in out
    assert "queries of the clips that look like them, by situations: run (2)" in out
    assert "#seed=" in out
    [path] = Path("unseen").iterdir()
    assert str(path) in out
    assert path.read_bytes() in (picture(0), picture(1))
    # the command that is named for the clip works
    [line] = [line for line in out.splitlines() if "lampworks similar" in line]
    assert "cosine" not in listed(capsys, "similar", line.split()[1], "--top", "1")


def test_a_folder_of_pictures_that_is_a_file_and_an_odd_number_are_refused(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["uncovered", "--pictures", "lamp.yaml", "--root", "root", "--config", "lamp.yaml"]) == 2
    assert "--pictures = lamp.yaml: is a file; name a folder" in capsys.readouterr().err
    assert main(["uncovered", "--top", "0", "--root", "root"]) == 2
    assert "--top = 0" in capsys.readouterr().err
