"""The cost of scoring beside the network alone: the same clips both times, and nothing written to the root."""

from __future__ import annotations

import pytest

from assets.cli.main import main
from classifier.decision import bench_scoring as bench
from classifier.decision.bench_scoring import ScoringCost, bench_scoring
from classifier.decision.scoring import ScoreReport, score_batch
from classifier.embedding.embed import EmbedReport, embed_clips
from classifier.training.published import latest_classifier
from pipeline.config import Config
from pipeline.errors import UserError
from tests.snapshots import snapshot


def test_both_networks_are_measured_on_made_up_clips_round_by_round(config: Config):
    said: list[str] = []
    found = bench_scoring(None, config, 2, 2, said.append)
    assert [(one.kind.split()[0], one.clips, len(one.alone), len(one.whole)) for one in found] == [
        ("embedding", 2, 2, 2), ("network", 2, 2, 2),
    ]  # fmt: skip
    assert all(time > 0 for one in found for time in (*one.alone, *one.whole))
    assert len(said) == 6


def test_what_is_measured_is_the_whole_stage_on_a_copy_of_the_clips_and_the_classifier(trained, monkeypatch):
    reports: list[EmbedReport | ScoreReport] = []
    for stage in (embed_clips, score_batch):
        name = stage.__name__
        monkeypatch.setattr(bench, name, lambda job, stage=stage: reports.append(stage(job)))
    before = snapshot(trained.store.root)
    found = bench_scoring(trained.store, trained.config, 3, 1, lambda text: None)
    assert [one.kind.split()[0] for one in found] == ["embedding", "network", "published"]
    assert {one.clips for one in found} == {3}
    assert snapshot(trained.store.root) == before
    # every clip of every batch was computed, none a second time
    assert [report.clips for report in reports] == [3] * 6
    assert all(report.written and not report.failed for report in reports)
    assert len({report.batch for report in reports}) == 6
    published = latest_classifier(trained.store)
    assert published is not None
    assert reports[-1].model_version == published.model_id


def test_a_root_without_clips_has_nothing_to_measure(job):
    with pytest.raises(UserError, match="has no clips to score: run `lampworks run --select clips` first"):
        bench_scoring(job.store, job.config, 5, 1, lambda text: None)


def test_the_share_is_the_median_of_the_rounds_and_held_against_the_limit():
    cost = ScoringCost("network", 10, [1.0, 9.0, 1.2], [2.0, 10.0, 30.0])
    assert (cost.share, cost.limit, cost.passes) == (0.5, 0.9, False)
    assert cost.clips_per_cpu_s == (10 / 1.2, 1.0)
    assert ScoringCost("network", 10, [0.9], [1.0]).passes
    # a forward pass of 9 ms a clip is too short beside the reading of a picture to be held to it
    short = ScoringCost("network", 100, [0.9], [1.8])
    assert (short.share, short.limit, short.passes) == (0.5, None, True)


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(("alone", "code"), [(0.9, 0), (0.89, 1)])
def test_a_share_below_the_limit_is_exit_code_1(monkeypatch, capsys, alone, code, options):
    costs = [ScoringCost("embedding", 4, [0.95], [1.0]), ScoringCost("network", 4, [alone], [1.0])]
    monkeypatch.setattr(bench, "bench_scoring", lambda *args: costs)
    monkeypatch.setattr(bench, "bench_network", lambda *args: costs[0])
    assert main(["bench", "score", *options]) == code
    assert ("BELOW THE LIMIT" in capsys.readouterr().out) == (code == 1 and not options)


def test_counts_below_one_are_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "score", "--clips", "0"]) == 2
    assert "--clips = 0: must be at least 1" in capsys.readouterr().err
