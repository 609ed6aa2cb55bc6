"""`lampworks study NAME` of runs by seeds prints its section, writes it, and goes on where it was stopped."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from assets.cli.main import main
from models.studies.catalogue import STUDIES, Entry
from models.studies.settings import small_world
from models.studies.study import Curves, Finished, Intervals, Report, Run, Scope, Size, Study, Table
from pipeline.config.demo import demo
from pipeline.progress import ProgressCallback

MADE: list[int] = []


class Fake(Study):
    """A study without any training."""

    name, version, title, about = "scaling", 1, "Is more <better>?", "Counted."

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def runs(self) -> list[Run]:
        return [Run("all", seed, {"size": self.scope.size}) for seed in range(self.scope.seeds)]

    def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
        MADE.append(run.seed)
        return {"loss": 2.0 - run.seed}

    def report(self, finished: Sequence[Finished]) -> Report:
        points = [(1.0 + each.run.seed, each.result["loss"]) for each in finished]
        chart = Curves("loss & size", {"a <b>": points}, {"a <b>": [(x, y - 1, y + 1) for x, y in points]}, "x", True)
        dots = Intervals("arms", [("one", 1.0, 0.5, 1.5), ("none", 1.0, None, None)], mark=0.0)
        return Report(
            ["More is better."], [Table(["arm", "loss"], [["a|b", "1"]], "Losses")], [chart, dots], {"points": points}
        )


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    MADE.clear()
    monkeypatch.setitem(STUDIES, "scaling", Entry(Fake, "nothing", 0))


def test_the_section_is_printed_and_written_and_more_seeds_make_their_runs_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "docs" / "studies.md", tmp_path / "out"
    command = ["study", "scaling", "--out", str(out), "--page", str(page)]
    assert main([*command, "--seeds", "2"]) == 0
    assert MADE == [0, 1]
    shown = capsys.readouterr().out
    for part in ("## Is more <better>?", "- More is better.", "| a\\|b | 1 |", "\nlampworks study scaling --seeds 2\n"):
        assert part in shown
        assert part in page.read_text()
    assert main([*command, "--json"]) == 0
    assert MADE == [0, 1, 2]
    found = json.loads(capsys.readouterr().out)
    assert found["points"] == [[1.0, 2.0], [2.0, 1.0], [3.0, 0.0]]
    assert json.loads((out / "study.json").read_text()) == found
    assert page.read_text().count("## Is more") == 1
    assert "seeds 0, 1, 2 of each arm" in page.read_text()
    assert re.search(r", \d{4}-\d\d-\d\d; 0\.0 CPU-minutes for 3 runs", page.read_text())
    for name in ("scaling-1.svg", "scaling-2.svg"):
        drawn = (page.parent / "studies" / name).read_text()
        assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"


def test_studies_train_on_one_thread_as_several_run_beside_each_other_unless_another_number_is_given() -> None:
    of_size = {size: small_world(Scope(Path(), size=size), 0).training.threads for size in get_args(Size)}
    assert of_size == {"tiny": 1, "toy": 1, "full": demo().training.threads}
    assert small_world(Scope(Path(), size="toy", threads=3), 0).training.threads == 3


@pytest.mark.parametrize("option", ["seeds", "steps", "threads"])
def test_a_number_below_1_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["study", "scaling", "--out", str(tmp_path / "out"), f"--{option}", "0"]) == 2
    assert f"--{option} = 0: must be at least 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_other_clips_get_a_section_and_a_folder_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STUDIES, "curation", Entry(Fake, "nothing", 0, reads_clips=True))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root" / "tables").mkdir(parents=True)
    monkeypatch.setenv("LAMPWORKS_ROOT", str(tmp_path / "root"))
    command = ["study", "curation", "--seeds", "1", "--page", "studies.md"]
    assert main(command) == 0
    assert main([*command, "--on", "recordings"]) == 0
    page = (tmp_path / "studies.md").read_text()
    assert "## Is more <better>?\n" in page
    assert "## Is more <better>? On: recordings\n" in page
    assert "\nlampworks study curation --seeds 1 --on recordings --root DIR\n" in page
    assert (tmp_path / "studies" / "scaling-recordings-1.svg").is_file()
    assert (tmp_path / "build" / "studies" / "curation-recordings" / "study.json").is_file()
    capsys.readouterr()
    assert main([*command, "--on", "../x"]) == 2
    assert "--on = '../x': write a word of a-z, 0-9 and -" in capsys.readouterr().err
