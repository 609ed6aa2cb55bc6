"""The cost of scoring beside the network alone: the same clips both times, and nothing written to the root."""

from __future__ import annotations

import dataclasses

import pytest

from assets.cli.main import main
from classifier.decision.bench_scoring import ScoringCost, bench_scoring
from pipeline.config import Config
from pipeline.errors import UserError
from tests.snapshots import snapshot


def test_both_networks_are_measured_on_made_up_clips_round_by_round(config: Config):
    said: list[str] = []
    found = bench_scoring(None, config, 3, 2, said.append)
    assert [(one.kind, one.clips, len(one.alone), len(one.whole)) for one in found] == [
        ("embedding", 3, 2, 2), ("network", 3, 2, 2),
    ]  # fmt: skip
    assert all(time > 0 for one in found for time in (*one.alone, *one.whole))
    assert len(said) == 6


def test_a_root_is_measured_with_what_it_has_published_and_stays_as_it_is(trained):
    before = snapshot(trained.store.root)
    found = bench_scoring(trained.store, trained.config, 5, 1, lambda text: None)
    assert [one.kind.split()[0] for one in found] == ["embedding", "network", "published"]
    assert {one.clips for one in found} == {5}
    assert snapshot(trained.store.root) == before


def test_a_root_without_clips_has_nothing_to_measure(job):
    with pytest.raises(UserError, match="has no clips to score: run `lampworks run --select clips` first"):
        bench_scoring(job.store, job.config, 5, 1, lambda text: None)


def test_the_share_is_that_of_the_least_times():
    cost = ScoringCost("network", 10, [1.0, 9.0, 1.2], [2.0, 2.4, 30.0])
    assert (cost.share, cost.clips_per_cpu_s) == (0.5, (10.0, 5.0))
    assert dataclasses.asdict(cost)["clips"] == 10


def test_counts_below_one_are_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "score", "--clips", "0"]) == 2
    assert "--clips = 0: must be at least 1" in capsys.readouterr().err
