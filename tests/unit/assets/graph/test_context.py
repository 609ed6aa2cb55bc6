"""Progress in Dagster's log: at once at first, ever more rarely later, and never without the end."""

from __future__ import annotations

import itertools
from pathlib import Path

import dagster as dg
import pytest

from assets.graph.checks import verdict
from assets.graph.context import Curves, materialized, table, thinned, user_failure
from assets.graph.resources import Lampworks
from pipeline.errors import UserError


def lines_of(seconds: int, every_s: int = 5) -> list[int]:
    """The times at which a stage that reports every few seconds is heard."""
    now = 0.0
    heard: list[str] = []
    on_progress = thinned(heard.append, clock=lambda: now)
    for second in range(0, seconds, every_s):
        now = float(second)
        on_progress(f"download: {second} of {seconds}")
    now = float(seconds)
    on_progress(f"download: {seconds} of {seconds}, took {seconds} s")
    return [int(line.split()[1]) for line in heard]


def test_the_first_minutes_are_told_every_ten_seconds() -> None:
    assert lines_of(120) == [*range(0, 120, 10), 120]


@pytest.mark.parametrize(("hours", "most"), [(1, 200), (24, 400), (24 * 7, 550)])
def test_a_long_stage_does_not_fill_the_log(hours: int, most: int) -> None:
    lines = lines_of(hours * 3600)
    assert 60 < len(lines) < most
    assert lines[-1] == hours * 3600
    gaps = [after - before for before, after in itertools.pairwise(lines)]
    assert max(gaps) <= hours * 3600 / 60 + 5, "no part of it is silent for more than a sixtieth of its length"


def test_the_closing_line_of_a_stage_is_told_however_soon_it_comes() -> None:
    heard: list[str] = []
    on_progress = thinned(heard.append, clock=lambda: 0.0)
    for line in ("clips: 1/2 videos", "clips: 2/2 videos, took 0.1 s", "clips: 1/9 videos"):
        on_progress(line)
    assert heard == ["clips: 1/2 videos", "clips: 2/2 videos, took 0.1 s"]


SECRET = "http://fox:SECRET@127.0.0.1/x?token=SECRET"


def test_errors_reach_dagster_without_the_secrets_of_addresses(tmp_path: Path) -> None:
    with pytest.raises(dg.Failure, match=r"'http://127\.0\.0\.1/x' is none") as failure, user_failure(Lampworks()):
        raise UserError(f"{SECRET!r} is none")
    assert "SECRET" not in str(failure.value.description)
    with pytest.raises(RuntimeError) as bug, user_failure(Lampworks()):
        raise RuntimeError("of", [SECRET], 5) from KeyError(SECRET)
    assert bug.value.args == ("of", ["http://127.0.0.1/x"], 5)
    assert "SECRET" not in str(bug.value.__cause__)


def test_tables_and_progress_reach_dagster_without_the_secrets_of_addresses() -> None:
    shown = table([{"query": SECRET, "message": f"failed: {SECRET}"}])
    assert shown is not None
    assert shown.records[0].data == {"query": "http://127.0.0.1/x", "message": "failed: http://127.0.0.1/x"}
    heard: list[str] = []
    thinned(heard.append, clock=lambda: 0.0)(f"download: 1/2 ({SECRET})")
    assert heard == ["download: 1/2 (http://127.0.0.1/x)"]


def test_metadata_values_of_dagster_stay_what_they_are() -> None:
    values = {"curve": dg.MetadataValue.md("a *b*"), "n": dg.MetadataValue.int(3), "rows": table([{"a": 1}])}
    result = materialized(1, "v", [], values)
    assert result.metadata == {"dagster/row_count": 1, **values}


def test_a_check_reaches_dagster_without_the_secrets_of_addresses() -> None:
    result = verdict("search_results", "new_videos", False, f"failed: {SECRET}", {"first": SECRET})
    assert result.description == "failed: http://127.0.0.1/x"
    assert result.metadata["first"].value == "http://127.0.0.1/x"


class Step:
    """The context of a step, as far as curves need it."""

    def __init__(self) -> None:
        self.asset_key = dg.AssetKey("world_model")
        self.events: list[dg.AssetObservation] = []

    def log_event(self, event: dg.AssetObservation) -> None:
        self.events.append(event)


def test_a_training_of_any_length_makes_at_most_200_observations_with_what_was_measured_on_the_way() -> None:
    step = Step()
    curves = Curves(step, 125_000)  # type: ignore[arg-type]
    for number in range(1, 125_001):
        measured = {"held_out/psnr": 20.0} if number == 1000 else {}
        curves(number, {"loss": 1.0, "rate/utilisation": 0.5, **measured})
    shown = [{name: value.value for name, value in event.metadata.items()} for event in step.events]
    assert len(shown) == 200
    assert shown[0] == {"train/step": 625, "train/loss": 1.0, "rate/utilisation": 0.5}
    assert shown[1] == {"train/step": 1250, "train/loss": 1.0, "rate/utilisation": 0.5, "held_out/psnr": 20.0}
