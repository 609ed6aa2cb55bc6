"""What `lampworks similar` prints, for a clip and for a file, and what it says where nothing is embedded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.cli.main import main
from pipeline.storage.store import Store
from tests.folders import Folder


@pytest.mark.usefixtures("inline")
def test_the_nearest_clips_of_a_clip_and_of_a_file_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Folder(Store(tmp_path / "root"), tmp_path / "videos")
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        folder.write(seed, 4, name)
    folder.collect()
    small = "embedding: {width: 32, height: 32, frames: 2, threads: 1}"
    settings = f"source: {{spec: 'folder:{folder.folder}'}}\nclips: {{seconds: 2}}\n{small}\n"
    (tmp_path / "lamp.yaml").write_text(settings)
    root = ["--root", str(tmp_path / "root"), "--config", "lamp.yaml"]
    first, second = sorted(folder.store.read("clips", ["clip_id"])["clip_id"].to_pylist())[:2]

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["similar", *words, *root])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    code, _, error = run(first)
    assert code == 2
    assert f"clip {first}: it is not embedded: run `lampworks run --select clip_embeddings --root " in error
    code, _, error = run(str(folder.folder / "a.mp4"))
    assert code == 2
    assert "no clip of" in error
    assert "run `lampworks run --select clip_embeddings --root " in error

    assert main(["run", "--select", "clip_embeddings", *root]) == 0
    code, out, _ = run(first, "--top", "1")
    assert code == 0
    assert out.splitlines()[0] == f"{first}:"
    assert out.splitlines()[1].split()[1] == second
    code, out, _ = run(str(folder.folder / "a.mp4"), "--json", "--top", "2")
    found = json.loads(out)
    assert list(found) == ["a.mp4 from 0.0 s", "a.mp4 from 2.0 s"]
    best = found["a.mp4 from 0.0 s"][0]
    assert best["clip_id"] == first
    assert best["cosine"] > 0.999

    (tmp_path / "text.mp4").write_text("no video")
    assert run("text.mp4")[2].startswith("error: text.mp4 cannot be read as a video")
    assert "name one of its clips, such as" in run("a.mp4")[2]
    assert "nothing is known of 'nobody'" in run("nobody")[2]
    assert "--top = 0: must be at least 1" in run(first, "--top", "0")[2]
