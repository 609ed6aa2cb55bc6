"""The report: one HTML page that holds everything it shows, from the funnel to the rollouts, for people without tools.

    key = write_report(store, config)      # reports/latest/index.html

The page has no script, asks no other host and shows no time of day: the same store gives the same bytes, and the page
is written only when it changed. `clips.json` beside it names the clips that it shows, so that a takedown finds them.
A stage that has not run yet is named as missing. The HTML is in `templates/`; this package computes what they show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from assets.report import wording
from assets.report.charts import columns_chart, curves_chart
from assets.report.classifier import classifier_view
from assets.report.evaluation import action_views, evaluation_view
from assets.report.funnel import funnel_of
from assets.report.reads import curve, decided_clips, evaluation_pictures, failures, rejected_videos
from pipeline.config import Config
from pipeline.html import template
from pipeline.inspect.status import evaluation_is_current, status
from pipeline.storage.models_table import ModelRecord, newest_models
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

FOLDER = "reports/latest"
# what the embedded source rated of its own recordings: no person did
_STAND_IN = "arcade"
_MOST_CURVES = 8


def write_report(store: Store, config: Config) -> str:
    """Write the report of a store, if anything in it changed, and return its key.

    Args:
        store: everything is read from here, the page is written here.
        config: names the current clip_spec and the source.
    """
    page, clip_ids = repeat_after_takedown(store, lambda: report_html(store, config))
    key = f"{FOLDER}/index.html"
    _write_if_changed(store, f"{FOLDER}/clips.json", json.dumps(clip_ids, indent=0).encode())
    _write_if_changed(store, key, page.encode())
    return key


def _write_if_changed(store: Store, key: str, data: bytes) -> None:
    if not store.exists(key) or store.read_blob(key) != data:
        store.write_blob(key, data)


def report_html(store: Store, config: Config) -> tuple[str, list[str]]:
    """Return the page and the ids of the clips that it shows."""
    found = status(store, config)
    newest = newest_models(store)
    decided = decided_clips(store, config)
    evaluation, classifier = newest.get("world_evaluation"), newest.get("quality_classifier")
    pictures = evaluation_pictures(store, evaluation) if evaluation else None
    labels = found.labels
    scores = _scores(decided.histogram)
    page = template("assets.report", "page.html").render(
        **{name: getattr(wording, name) for name in ("amount", "number", "percent", "interval")},
        metric_name=wording.metric_name,
        metric_unit=wording.metric_unit,
        style=Markup(files("assets.report").joinpath("static", "report.css").read_text("utf-8")),
        config=config,
        status=found,
        newest=newest,
        pictures=pictures,
        actions=action_views(evaluation) if evaluation else [],
        funnel=funnel_of(found),
        rejected=rejected_videos(store),
        failures=failures(store, config),
        decided=decided,
        ratings_chart=columns_chart([(str(rating), [count]) for rating, count in labels.by_rating.items()]),
        annotators={name: count for name, count in labels.annotators.items() if name != _STAND_IN},
        score_names=list(scores),
        score_chart=_score_chart(scores),
        classifier=classifier_view(classifier) if classifier else None,
        curves=_curves(store, newest),
        evaluation=evaluation_view(evaluation) if evaluation else None,
        evaluation_is_current=evaluation_is_current(newest),
    )
    shown = [example.clip_id for example in (*decided.kept, *decided.others) if example.strip]
    return page, sorted({*shown, *(pictures.clip_ids if pictures else [])})


def _scores(histogram: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return decision -> clips per bin of probability; empty where no clip was scored."""
    if not any(sum(bins) for bins in histogram.values()):
        return {}
    return {name: histogram[name] for name in ("keep", "drop", "review") if name in histogram}


def _score_chart(scores: Mapping[str, list[int]]) -> Markup | None:
    if not scores:
        return None
    columns = [("", column) for column in zip(*scores.values(), strict=True)]
    return columns_chart(columns, axis=("0", "probability of being good 1"))


@dataclass(frozen=True)
class CurveView:
    """One learning curve."""

    title: str
    chart: Markup
    last: float


def _curves(store: Store, newest: Mapping[str, ModelRecord]) -> list[CurveView]:
    views = []
    for kind in ("video_tokenizer", "world_model", "quality_classifier"):
        found: dict[str, Any] = dict(curve(store, newest[kind])) if kind in newest else {}
        for name, points in list(found.items())[:_MOST_CURVES]:
            title = f"{kind.replace('_', ' ')}: {name.replace('_', ' ')}"
            chart = curves_chart({name: points}, height=150, width=320, x_label="steps")
            views.append(CurveView(title, chart, points[-1][1]))
    return views
