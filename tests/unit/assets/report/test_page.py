"""The report is one page that needs nothing else, hurts nobody, and says what is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from assets.report.classifier import classifier_view
from assets.report.economy import economy_view
from assets.report.evaluation import evaluation_view
from assets.report.page import FOLDER, report_html, write_report
from pipeline.shards.read import current_shards
from pipeline.storage.models_table import ModelRecord, append_model, newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.synthetic import (
    CONFIG,
    add_clips,
    add_downloads,
    add_labels,
    add_videos,
    classifier_figures,
    decide_all,
    finished_store,
)

VOID = {"meta", "img", "br", "rect", "line", "circle", "polyline", "polygon"}


class Balanced(HTMLParser):
    """Collects tags, attributes and text, and fails on a tag that is closed by another."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset"}]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        # lines between tags are the templates' own
        self.text += data.replace("\n", " ") if data.strip() else ""


def copy_of(store: Store, root: Path) -> Store:
    return Store(shutil.copytree(store.root, root))


def page_of(store: Store) -> str:
    return report_html(store, CONFIG)[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with every stage done; no test may write to it."""
    return finished_store(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def finished_page(finished: Store) -> tuple[str, list[str]]:
    """The page of that store, and the clips that it shows."""
    return report_html(finished, CONFIG)


def test_the_page_holds_everything_it_shows_and_asks_no_other_host(
    finished: Store, finished_page: tuple[str, list[str]]
):
    page, _ = finished_page
    parsed = Balanced(page)
    assert "script" not in parsed.tags
    assert parsed.links
    # beside pictures in the page itself, one relative link: the data card of the shards
    parsed.links.remove(f"../../shards/{current_shards(finished)}/card.md")
    assert all(re.match(r"data:image/(jpeg|png|gif);base64,", link) for link in parsed.links)
    assert "url(" not in page
    assert "@import" not in page
    assert len(page.encode()) < 6_000_000


def test_a_hostile_title_is_text_and_nothing_else(finished_page: tuple[str, list[str]]):
    page, _ = finished_page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "\x00" not in page
    assert "ada &lt;i&gt;" in page


def test_the_page_tells_the_funnel_the_reasons_and_the_figures(finished_page: tuple[str, list[str]]):
    text = Balanced(finished_page[0]).text
    for expected in (
        "20 videos found, 12 kept by the search rules",
        "negation:unboxing",
        "UNBOXING a platformer speedrun talk",
        "failed: not_found",
        "HTTP Error 404: Not Found",
        "drop: duplicate",
        "accounting OK: all totals balance",
        "stood in for the labeller",
        # the out-of-fold figure comes first, with its interval and what it is measured on
        "Published: measurements, with an out-of-fold AUC of 0.96 (0.90 to 0.99; 70 clips of 17 sources)",
        "the cheapest <i>.",
        "measurementspublished0.962 [0.90, 0.99]too few to tell–5",
        "network––––1.5left out: fewer than 300 labels",
        "best flagreference0.710 [0.65, 0.74]too few to tell0.252 [0.02, 0.20]5",
        "expected calibration error 0.041 [0.02, 0.08]",
        "With fewer than 300 labels all sources are used.",
        "Clips from score 0.740 on are kept: estimated precision 0.92, 95% lower bound 0.80, on other sources 0.89",
        "no keep threshold reaches decision.target_precision = 0.95. Rate 34 clips",
        "0.10 h at the threshold in use",
        "flag still8361",
        "world model: lam psnr",
        "delta-t PSNR, permuted actions",
        "[3.30, 4.50]",
        "(lower end)",
        "too few to tell: 3 sources <b>",
        # long rollouts at the frames where a window of four is full: once, twice, three times
        "frames aheadanewkeptloses95 % interval118.2517.500.75[0.45, 1.05]417.9517.200.45[0.15, 0.75]817.55",
        "1217.1516.40-0.35[-0.65, -0.05]",
        # what stays in the picture after 1, 8 and 30 frames of a key that is held
        "key heldstands for18304jump-left1.000.75–",
        "Character kept, 8 frames ahead, key held",
        # a distance with its interval and floors, and the network that it is on
        "FVD[random3d]2.5[1.9, 3.1]1.258.59.7518",
        "SHA-256 1f1642b71f1642b7, 192 features",
        "failed",
        "not known",
        "run right 70%",
    ):
        assert expected in text, expected
    assert "not run yet" not in text


def test_examples_of_every_decision_are_shown_with_their_frames(finished: Store, finished_page: tuple[str, list[str]]):
    page, clip_ids = finished_page
    decisions = {row["clip_id"]: row["decision"] for row in finished.read("curated").to_pylist()}
    assert {decisions[clip_id] for clip_id in clip_ids} >= {"keep", "drop"}
    assert page.count('alt="three frames of the clip"') >= 10


def test_the_same_store_gives_the_same_page_wherever_it_lies(
    finished: Store, finished_page: tuple[str, list[str]], tmp_path: Path
):
    assert report_html(copy_of(finished, tmp_path / "elsewhere"), CONFIG) == finished_page


def test_the_page_is_written_only_when_something_changed(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    key = write_report(store, CONFIG)
    assert key == f"{FOLDER}/index.html"
    files = {key: os.stat(store.url(key)).st_mtime_ns for key in store.list_blobs("reports")}
    write_report(store, CONFIG)
    assert {key: os.stat(store.url(key)).st_mtime_ns for key in store.list_blobs("reports")} == files
    request_takedown(store, "video", "arcade-v004", "asked")
    write_report(store, CONFIG)
    assert os.stat(store.url(key)).st_mtime_ns != files[key]


def test_the_clips_that_the_page_shows_are_listed_beside_it(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    write_report(store, CONFIG)
    listed = json.loads(store.read_blob(f"{FOLDER}/clips.json"))
    known = set(store.read("clips")["clip_id"].to_pylist())
    assert set(listed) <= known
    assert len(listed) >= 10


def test_a_video_that_was_taken_down_is_not_shown(
    finished: Store, finished_page: tuple[str, list[str]], tmp_path: Path
):
    store = copy_of(finished, tmp_path / "root")
    before = finished_page[1]
    video = next(clip_id for clip_id in before if clip_id.startswith("arcade-v000")).rsplit("-", 2)[0]
    request_takedown(store, "video", video, "asked")
    request_takedown(store, "video", "arcade-v002", "asked")  # its failure is listed
    request_takedown(store, "video", "arcade-v012", "asked")  # its title is listed
    page, after = report_html(store, CONFIG)
    assert not any(clip_id.startswith(video) for clip_id in after)
    assert "taken down since" in page  # the evaluation's pictures show it, so they are withheld
    assert "rollout per latent action" not in page
    assert "HTTP Error 404" not in page


def test_a_store_that_is_not_finished_has_a_page_that_says_what_is_missing(store: Store):
    def check(*, decided: bool) -> None:
        text = Balanced(page_of(store)).text
        assert "Training of the world has not run yet" in text
        assert ("The decision has not run yet" in text) != decided
        assert "accounting OK: all totals balance" in text

    check(decided=False)
    videos = add_videos(store, CONFIG)
    check(decided=False)
    downloads = add_downloads(store, videos)
    check(decided=False)
    clips = add_clips(store, CONFIG, downloads)
    check(decided=False)
    decide_all(store, CONFIG, clips, add_labels(store, clips))
    check(decided=True)


def test_lost_frames_and_pictures_leave_a_page_that_says_so(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    for key in [*store.list_blobs("clips"), *store.list_blobs("models")]:
        store.delete(key)
    page = page_of(store)
    Balanced(page)
    assert "its frames cannot be read" in page


def test_a_broken_sum_is_told_at_the_top_and_in_the_funnel(finished: Store, tmp_path: Path):
    from deltalake import DeltaTable

    store = copy_of(finished, tmp_path / "root")
    DeltaTable(f"{store.root}/tables/clips").delete("start_ms = 16000 AND video_id = 'arcade-v004'")
    text = Balanced(page_of(store)).text
    assert "out of balance: see the funnel" in text
    assert "clips that the cuts announced: 24 is not 23 rows of clips" in text


@pytest.mark.browser
def test_the_page_loads_in_a_browser_without_a_request_and_fits_a_phone(finished: Store, tmp_path: Path):
    playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need the dev extra: playwright")
    chromium = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    store = copy_of(finished, tmp_path / "root")
    page_file = store.url(write_report(store, CONFIG))
    asked: list[str] = []
    said: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"file://{page_file}")
        assert page.title() == "Lampworks report"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        browser.close()
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert said == []


def classifier_of(**changed: object) -> ModelRecord:
    metrics = {**classifier_figures(), **changed}
    return ModelRecord(model_id="c", kind="quality_classifier", path="", config={}, metrics=metrics, inputs={})


def test_figures_on_too_few_clips_are_called_so_and_not_drawn() -> None:
    figures = classifier_figures()
    few = [{**row, "auc": {**row["auc"], "few": True} if row["auc"] else None} for row in figures["candidates"]]
    headline = {**figures["headline"], "few": True}
    calibration = {**figures["calibration"], "few": True}
    view = classifier_view(classifier_of(candidates=few, headline=headline, calibration=calibration))
    assert view is not None
    assert view.headline.endswith("too few to tell")
    assert {row.auc for row in view.candidates} == {"too few to tell", "–"}
    assert (view.auc_chart, view.reliability_chart) == (None, None)


def test_charts_say_what_they_show() -> None:
    view = classifier_view(classifier_of())
    assert view is not None
    assert view.auc_chart is not None
    assert 'aria-label="AUC of every candidate, with its interval"' in view.auc_chart
    assert view.auc_chart.index("measurements") < view.auc_chart.index("embedding")
    assert ">network<" not in view.auc_chart


def test_what_labels_are_worth_is_shown_where_it_was_measured(store: Store) -> None:
    assert economy_view(store) is None
    auc = {**classifier_figures()["headline"], "interval": [0.8, 0.99]}
    points = [
        {
            "order": order,
            "labels": labels,
            "auc": {**auc, "auc": 0.9},
            "keep_precision": 0.8,
            "keep_interval": [0.7, 0.9],
        }
        for order in ("random", "active")
        for labels in (10, 40, 1250)
    ]
    gain = {"difference": 0.012, "interval": [-0.01, 0.03], "clips": 70, "sources": 17, "few": False}
    economy = {
        "format": 1, "candidate": "measurements", "clips": 105, "sources": 29, "good_share": 0.47, "kept_share": 0.25,
        "grouped_by": "source", "folds": 5, "repeats": 5, "points": points, "gains": [{"labels": 40, "gain": gain}],
    }  # fmt: skip
    store.write_blob("labels/economy.json", json.dumps(economy).encode())
    text = Balanced(page_of(store)).text
    assert "AUC on 105 rated clips of 29 sources by source, 5 folds drawn 5 times" in text
    assert "Active order less random order: +0.012 [-0.01, +0.03] after 40 labels." in text
    store.write_blob("labels/economy.json", b"{")
    assert "Measure it again with `lampworks bench economy --save`" in Balanced(page_of(store)).text


def test_a_classifier_of_an_earlier_version_is_not_told_as_a_present_one() -> None:
    assert classifier_view(classifier_of(format=1)) is None


def test_the_page_shows_the_configured_world_and_not_the_newest(
    finished: Store, finished_page: tuple[str, list[str]], tmp_path: Path
):
    store = copy_of(finished, tmp_path / "root")
    world = newest_model(store, "world_model")
    evaluation = newest_model(store, "world_evaluation")
    assert world is not None
    assert evaluation is not None
    later, inputs = datetime.now(UTC), {**world.inputs, "settings": "others"}
    append_model(store, replace(world, model_id="trial", parameters=7, inputs=inputs, created_at=later))
    append_model(
        store, replace(evaluation, model_id="e2", metrics={}, inputs={"world_model": "trial"}, created_at=later)
    )
    assert page_of(store) == finished_page[0]


def test_metrics_of_other_settings_are_said_to_be_of_those(finished: Store, finished_page: tuple[str, list[str]]):
    assert "measured with other settings" not in finished_page[0]
    other = replace(CONFIG, evaluation=replace(CONFIG.evaluation, seed=5))
    assert "measured with other settings" in report_html(finished, other)[0]


def test_a_stored_interval_of_one_source_is_shown_as_too_few_to_tell(finished: Store) -> None:
    evaluation = newest_model(finished, "world_evaluation")
    assert evaluation is not None
    one = {"value": 20.3, "low": 20.3, "high": 20.3, "num_sources": 1}
    shown = evaluation_view(replace(evaluation, metrics={**evaluation.metrics, "psnr": one})).metrics["psnr"]
    assert (shown["value"], shown["low"], shown["high"]) == (20.3, None, None)
    assert shown["reason"] == "too few to tell an interval: 1 source, and 5 are needed"
