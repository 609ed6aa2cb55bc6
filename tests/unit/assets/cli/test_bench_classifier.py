"""`lampworks bench classifier` prints the table of candidates of any root, by sources or by groups of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.cli.bench_classifier import candidates_table, sides
from assets.cli.main import main
from tests.synthetic import classifier_figures, finished_store

QUICK = ["--candidates", "measurements", "--folds", "2", "--repeats", "1"]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifier.training.candidates.measurements.TREES", 10)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with 24 rated clips of eight videos; no test may write to it."""
    folder = tmp_path_factory.mktemp("bench") / "root"
    finished_store(folder)
    return folder


def test_folds_divide_no_group_of_the_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    games = tmp_path / "games.jsonl"
    games.write_text("".join(json.dumps({"id": f"v{k:03d}", "game": f"game {k % 3}"}) + "\n" for k in range(22)))
    assert main(["bench", "classifier", "--root", str(root), "--groups", f"{games}:game", "--json", *QUICK]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["clips"], found["groups"], found["grouped_by"]) == (24, 3, "game")
    assert (found["folds"], found["repeats"], found["published"]) == (2, 1, "measurements")
    assert {row["name"] for row in found["candidates"]} >= {"measurements", "motion_alone"}
    assert "3 groups, 20 videos with a group, 2 rows that name no video of this root" in shown.err


def test_the_table_says_on_what_it_rests_and_what_would_be_published(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(root.rglob("*"))
    assert main(["bench", "classifier", "--root", str(root), *QUICK]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("24 rated clips of 7 groups by source: 8 rated 1, 0 rated 2")
    assert "2 folds that divide no source, drawn 1 times" in shown
    assert "16 clips of 7 groups rated 4 or more against 8 of" in shown
    assert "would be published: too few to tell candidates apart" in shown
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--candidates", "trees"], "'trees' is none of measurements, embedding, blend, network"),
        (["--folds", "1"], "classifier.folds = 1: must be at least 2"),
        (["--repeats", "0"], "classifier.repeats = 0: must be at least 1"),
        (["--groups", "absent.csv:game"], "group file 'absent.csv' cannot be read"),
        (["--groups", "one.csv:game"], "all 24 rated clips are in one group"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_is_wrong(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], told: str,
) -> None:  # fmt: skip
    (tmp_path / "one.csv").write_text("file,game\n" + "".join(f"v{k:03d},fox\n" for k in range(22)))
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "classifier", "--root", str(root), *QUICK, *arguments]) == 2
    assert told in capsys.readouterr().err


def test_figures_on_too_few_clips_are_called_so_and_the_published_one_is_marked() -> None:
    rows = classifier_figures()["candidates"]
    table = candidates_table(rows, "measurements")
    assert table[1].split() == [
        "measurements",
        "(published)",
        "0.962",
        "[0.90,",
        "0.99]",
        "too",
        "few",
        "to",
        "tell",
        "1.5",
    ]
    assert "left out: fewer than 300 labels" in table[4]
    assert "(reference)" in table[-1]
    assert sides(rows, 4) == [
        "  40 clips of 12 groups rated 4 or more against 30 of 8 rated 2 or less",
        "  9 clips of 4 groups rated 5 against 30 of 8 rated 1: too few to tell",
    ]
