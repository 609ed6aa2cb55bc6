"""`lampworks tabletop` records a folder of episodes, and says what is wrong with what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.cli.main import main

pytest.importorskip("pymunk", reason="the extra `robotics` (pymunk) is not installed")


@pytest.mark.usefixtures("inline")
def test_it_says_how_many_episodes_are_there_and_how_many_are_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "episodes")
    for new in (1, 0):
        assert main(["tabletop", "--episodes", "1", "--seconds", "2", "--size", "48", "--out", out]) == 0
        assert capsys.readouterr().out == f"1 episodes in {out}, {new} of them new\n"
    assert main(["tabletop", "--episodes", "1", "--seconds", "3", "--size", "48", "--out", out]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert main(["tabletop", "--seconds", "nan", "--out", out]) == 2
    assert "seconds = nan" in capsys.readouterr().err
