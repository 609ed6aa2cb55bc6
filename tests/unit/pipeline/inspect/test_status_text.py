"""What the terminal shows of paused sites, of videos rejected at their download, and of metrics."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from pipeline.clips.duplicates import find_duplicates
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.status_types import MetricStatus, SiteStatus, StoreStatus, ThresholdStatus
from pipeline.storage.store import Store
from tests.synthetic import CONFIG, add_clips, add_downloads, add_videos, finished_store, job_of


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> StoreStatus:
    return status(finished_store(tmp_path_factory.mktemp("text") / "root"), CONFIG)


def site(state: str, refusals: int = 1, message: str = "Sign in to confirm you're not a bot") -> SiteStatus:
    return SiteStatus(
        state=state,
        refusals=refusals,
        error_class="source_blocked",
        message=message,
        changed_at="2026-11-20T13:05:30.123456+00:00",
        next_try_at="2026-11-20T14:05:30.123456+00:00",
    )


def lines_about_sites(found: StoreStatus, sites: dict[str, SiteStatus]) -> list[str]:
    lines = format_status(dataclasses.replace(found, sites=sites)).splitlines()
    without = format_status(dataclasses.replace(found, sites={})).splitlines()
    return [line for line in lines if line not in without]


def test_a_paused_site_is_named_with_its_reason_and_the_time_to_try_again(found: StoreStatus) -> None:
    (line,) = lines_about_sites(found, {"youtube": site("open", 3), "a.example": site("closed")})
    assert line == (
        "sites        youtube: paused until 2026-11-20 14:05 UTC (3 refusals, last source_blocked: Sign in to confirm "
        "you're not a bot)"
    )


def test_a_site_whose_pause_is_over_is_tried_next(found: StoreStatus) -> None:
    (line,) = lines_about_sites(found, {"b.example": site("half_open")})
    assert "b.example: pause is over; the next run tries one video (1 refusal, last source_blocked" in line


def test_sites_that_answer_are_not_shown(found: StoreStatus) -> None:
    assert lines_about_sites(found, {"a.example": site("closed")}) == []


def test_what_a_site_said_cannot_drive_the_terminal_and_many_sites_do_not_fill_it(found: StoreStatus) -> None:
    sites = {f"{number:03d}.example": site("open", message="\x1b[2J" + "very long " * 90) for number in range(40)}
    lines = lines_about_sites(found, sites)
    assert len(lines) == 13
    assert lines[-1].strip() == "and 28 more sites"
    assert not any("\x1b" in line or len(line) > 240 for line in lines)


def test_videos_that_their_download_rejected_are_counted_with_their_class(found: StoreStatus) -> None:
    downloads = dataclasses.replace(found.downloads, rejected={"opt_out": 2})
    text = format_status(dataclasses.replace(found, downloads=downloads))
    assert "2 rejected" in next(line for line in text.splitlines() if line.startswith("downloads"))
    assert "     2  rejected: opt_out" in text
    assert "rejected: opt_out" not in format_status(found)


def test_each_metric_is_a_label_a_number_and_a_unit(found: StoreStatus) -> None:
    evaluation = {
        "psnr_t1_above_copy": MetricStatus(value=6.571, low=4.48, high=8.68),
        "delta_t_psnr_permuted": MetricStatus(value=4.97, low=None, high=None),
        "distinct_actions": MetricStatus(value=2.0, low=None, high=None, reason="too few"),
        "latent_action_mutual_information": MetricStatus(value=None, low=None, high=None),
    }
    lines = format_status(dataclasses.replace(found, evaluation=evaluation, fvd=None)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("metrics"))
    assert [re.split(r" {2,}", line) for line in lines[start : start + 4]] == [
        ["metrics", "next-frame PSNR gain over copying", "6.57 dB", "[4.48, 8.68]"],
        ["", "delta-t PSNR, permuted actions", "4.97 dB"],
        ["", "actions with an effect of their own", "2.00", "(too few)"],
        ["accounting", "OK: all totals balance"],
    ]
    assert lines[start].index("6.57") == lines[start + 1].index("4.97"), "as wide as the longest label that there is"


def test_clips_that_were_never_compared_are_not_said_to_have_no_copy(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    add_clips(store, CONFIG, add_downloads(store, add_videos(store, CONFIG)))
    shutil.rmtree(tmp_path / "root" / "tables" / "duplicates")
    assert "24 of 8 videos, copies: not compared" in format_status(status(store, CONFIG))
    assert status(store, CONFIG).to_json()["clips"]["duplicates"] is None
    find_duplicates(job_of(store))
    assert "24 of 8 videos, 1 near-duplicates, 1" in format_status(status(store, CONFIG))
    more = {**store.read("clips").to_pylist()[0], "clip_id": "arcade-v000-0099000-" + "0" * 8, "start_ms": 99_000}
    store.append("clips", [more])
    assert "1 near-duplicates (outdated)" in format_status(status(store, CONFIG))


def threshold(**changed: object) -> ThresholdStatus:
    known = ThresholdStatus(
        rule="target precision",
        threshold=0.7104,
        target_precision=0.9,
        reached=True,
        precision=0.915,
        expected=0.891,
        low=0.78,
        high=0.96,
        bound=0.84,
        confidence=0.95,
        recall=0.8,
        rated=47,
        sources=20,
        warning="",
    )
    return dataclasses.replace(known, **changed)  # type: ignore[arg-type]


def test_the_published_candidate_is_told_with_its_out_of_fold_figure_and_interval(found: StoreStatus) -> None:
    told = "models       quality classifier: measurements, out-of-fold AUC 0.96 [0.90, 0.99] (70 clips of 17 sources)"
    assert told in format_status(found).splitlines()
    assert found.classifier is not None
    few = dataclasses.replace(found, classifier=dataclasses.replace(found.classifier, few=True))
    assert "measurements, too few labels to tell how good (70 clips of 17 sources)" in format_status(few)
    older = format_status(dataclasses.replace(found, classifier=None)).split("models ")[1].splitlines()[0]
    assert older.strip() == "quality classifier: of an earlier version; `lampworks run` trains it again"


def test_labels_that_are_all_of_clips_that_are_not_there_leave_no_line_without_words(found: StoreStatus) -> None:
    none = dataclasses.replace(found.labels, total=0, unresolved=129, by_rating={}, annotators={}, left_behind=0)
    lines = [line.rstrip() for line in format_status(dataclasses.replace(found, labels=none)).splitlines()]
    assert "labels       0 clips, 129 labels without a clip" in lines
    assert not [line for line in lines if line.endswith((" by", ":"))]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (
            threshold(),
            ["kept from score 0.710 (target precision): estimated precision 0.92, 95% lower bound 0.84, "
             "on other sources",
             "0.89 [0.78, 0.96], recall 0.80 (47 rated clips of 20 sources)"],
        ),
        (
            threshold(rule="best precision", reached=False, precision=0.8571,
                      warning="no threshold reaches 0.9. Rate 34 clips of score 0.63 or more with `lampworks label`, "
                      "or add videos."),
            ["kept from score 0.710 (best precision): estimated precision 0.86, 95% lower bound 0.84, "
             "on other sources",
             "0.89 [0.78, 0.96], recall 0.80 (47 rated clips of 20 sources)",
             "WARNING: no threshold reaches 0.9. Rate 34 clips of score 0.63 or more with `lampworks label`, or add",
             "videos."],
        ),
        (threshold(rule="fixed", reached=None, precision=None, expected=None, bound=None, recall=None),
         ["kept from score 0.710 (fixed): no rated clip is above it"]),
        # the reasons of clips round down too: one of 0.7109 is kept and shown as 0.710
        (threshold(threshold=0.7109, rule="fixed", reached=None, precision=None, recall=None),
         ["kept from score 0.710 (fixed): no rated clip is above it"]),
        (None, []),
    ],
    ids=["target reached", "not reached", "fixed", "rounded down", "no scores"],
)  # fmt: skip
def test_the_keep_threshold_is_told_with_its_estimate_and_the_way_out(
    found: StoreStatus, known: ThresholdStatus | None, told: list[str]
) -> None:
    lines = format_status(dataclasses.replace(found, curated=dataclasses.replace(found.curated, threshold=known)))
    without = format_status(dataclasses.replace(found, curated=dataclasses.replace(found.curated, threshold=None)))
    assert [line[13:] for line in lines.splitlines() if line not in without.splitlines()] == told
