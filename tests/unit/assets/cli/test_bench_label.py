"""`lampworks bench label`: it measures the real page, and says so where there is no browser."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from assets.cli import bench_label
from assets.cli.main import main
from classifier.labels import page_bench
from classifier.labels.page_bench import times_of
from pipeline.bench.browser import why_no_browser


def test_times_are_summarized_by_median_and_percentile():
    times = times_of([float(value) for value in range(100, 0, -1)])
    assert (times.count, times.median_ms, times.p95_ms, times.worst_ms) == (100, 50.5, 95.0, 100.0)


def test_without_a_browser_the_answers_alone_are_measured_and_the_way_to_get_one_is_told(monkeypatch, capsys):
    @contextmanager
    def served(root):
        yield "http://none/"

    monkeypatch.setenv("PATH", "")
    assert "apt-get install chromium" in str(why_no_browser())
    monkeypatch.setattr(bench_label, "_served", served)
    monkeypatch.setattr(page_bench, "write_made_up_root", lambda root, clips: None)
    monkeypatch.setattr(page_bench, "measure_answers", lambda url, clips: {"api/state": times_of([3.0])})
    assert main(["bench", "label", "--clips", "500"]) == 0
    printed = capsys.readouterr().out
    assert "api/state             3.0 ms median, 3.0 p95  limit 20 ms" in printed
    assert "not measured: there is no Chromium (install it: apt-get install chromium)" in printed
    assert main(["bench", "label", "--clips", "500", "--labels", "251"]) == 2
    assert "--labels = 251: must be at most half of --clips = 500" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.browser
def test_the_real_page_is_measured_in_a_real_browser(capsys):
    if (missing := why_no_browser()) is not None:
        pytest.skip(missing)
    assert main(["bench", "label", "--clips", "200", "--labels", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["keys"]["count"] == 5
    assert 0 < found["keys"]["median_ms"] <= found["keys"]["worst_ms"]
    assert set(found["answers"]) == {"api/state", "next clips", "from the start"}
