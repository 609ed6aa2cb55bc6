"""What `lampworks retry` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.cli.main import main
from pipeline.storage.store import Store
from tests.folders import Folder


@pytest.mark.usefixtures("inline")
def test_retry_prints_how_many_of_which_class_are_due_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Folder(Store(tmp_path / "root"), tmp_path / "videos")
    for name in ("a.mp4", "b.mp4"):
        (folder.folder / name).write_bytes(b"no video")
        folder.touch(name)
    folder.write(1, 4, "c.mp4")
    folder.collect()
    (tmp_path / "lamp.yaml").write_text(f"source: {{spec: 'folder:{folder.folder}'}}\nclips: {{seconds: 2}}\n")
    root = ["--root", str(tmp_path / "root"), "--config", "lamp.yaml"]
    capsys.readouterr()

    assert main(["retry", "c.mp4", *root]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert "nothing of it failed (`lampworks why folder-c-" in line
    assert main(["retry", "--class", "other", *root]) == 2
    assert "these classes have: 2 invalid_media" in capsys.readouterr().err
    assert main(["retry", "nobody", *root]) == 2
    assert "nothing is known of 'nobody'" in capsys.readouterr().err

    assert main(["retry", *root]) == 0
    assert capsys.readouterr().out == (
        "2 downloads due again: 2 invalid_media\n"
        f"`lampworks run --root {tmp_path / 'root'} --config lamp.yaml` tries them\n"
    )
    assert main(["retry", *root]) == 0
    assert capsys.readouterr().out == "nothing has failed: nothing is due again\n"
    assert main(["retry", "--json", *root]) == 0
    assert json.loads(capsys.readouterr().out) == {"due": {}, "items": [], "not_failed": [], "left": 0}
