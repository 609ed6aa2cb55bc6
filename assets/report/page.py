"""The report: one HTML page that holds everything it shows, from the funnel to the rollouts, for people without tools.

    key = write_report(store, config)                  # reports/latest/index.html: the configured models
    key = write_report(store, config, model="3f0c")    # reports/models/<id>/index.html: another world

The page has no script, asks no other host and shows no time of day: the same store gives the same bytes, and the page
is written only when it changed. `clips.json` beside it names the clips that it shows, so that a takedown finds them.
A stage that has not run yet is named as missing. The HTML is in `templates/`; this package computes what they show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from assets.report import wording
from assets.report.agreement import agreement_view
from assets.report.charts import columns_chart, curves_chart
from assets.report.classifier import classifier_view
from assets.report.costs import COSTS, write_costs
from assets.report.curation import curation_view
from assets.report.decision import decision_view
from assets.report.economy import economy_view
from assets.report.evaluation import action_views, evaluation_view
from assets.report.funnel import funnel_of
from assets.report.reads import curve, decided_clips, evaluation_pictures, failures, rejected_videos
from assets.suggested import root_option, with_root
from pipeline.config import Config
from pipeline.html import template
from pipeline.ids import CLIP_ID_PATTERN, split_clip_id
from pipeline.inspect.status import status
from pipeline.model_choice import models_in_use, pick_model
from pipeline.model_ids import WORLD
from pipeline.shards.manifest import card_keys
from pipeline.storage.models_table import ModelRecord, all_models
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown, taken_down

FOLDER, MODELS_FOLDER, COMPARE_FOLDER = "reports/latest", "reports/models", "reports/compare"
CLIPS = "clips.json"
# what the embedded source rated of its own recordings: no person did
_STAND_IN = "arcade"
_MOST_CURVES = 8
_HELD_OUT = "held_out/"
_SHOWN_ALONE = ("held_out/cross_entropy", "held_out/accuracy", "held_out/codebook_usage")


def write_report(store: Store, config: Config, model: str | None = None) -> str:
    """Write the report of a store, if anything in it changed, and return its key.

    Args:
        store: everything is read from here, the page is written here.
        config: names the current clip_spec, the source, and the models that the page shows.
        model: id of the world to show in place of the configured one; its page lies in a folder of its own.

    Raises:
        UserError: no world has this id.
    """
    page, clip_ids = repeat_after_takedown(store, lambda: report_html(store, config, model))
    write_costs(store, FOLDER)
    folder = FOLDER if model is None else f"{MODELS_FOLDER}/{pick_model(all_models(store), model, WORLD).model_id}"
    return write_page(store, folder, page, clip_ids)


def write_page(store: Store, folder: str, page: str, clip_ids: Sequence[str]) -> str:
    """Write a page and the list of the clips that it shows, where they changed, and return the page's key.

    The commands in it name the root, so that they work wherever they are pasted.
    """
    page = with_root(page, str(escape(root_option(store.root))))
    key = f"{folder}/index.html"
    # the names first: a takedown finds the page by them; a page of other clips goes before
    names_key, names = f"{folder}/{CLIPS}", json.dumps(clip_ids, indent=0).encode()
    if not _says(store, names_key, names):
        store.delete(key)
        store.write_blob(names_key, names)
    if not _says(store, key, page.encode()):
        store.write_blob(key, page.encode())
    return key


def withdraw_pages(store: Store) -> list[str]:
    """Delete the pages of single models and of comparisons that show a clip which was taken down; return their keys.

    The report of the configured models is written again by every pass.
    """
    hidden = taken_down(store).hidden_videos(store)
    if not hidden:
        return []
    withdrawn = []
    for page in [*store.list_blobs(MODELS_FOLDER), *store.list_blobs(COMPARE_FOLDER)]:
        folder, _, name = page.rpartition("/")
        if name != "index.html":
            continue
        shown = _shown_clips(store, f"{folder}/{CLIPS}")
        # a page whose list of clips is lost may show any of them
        if shown is None or any(split_clip_id(clip_id)[0] in hidden for clip_id in shown):
            store.delete(page)
            store.delete(f"{folder}/{CLIPS}")
            withdrawn.append(page)
    return withdrawn


def _card(store: Store, version: str | None, up: str) -> str:
    """Return the relative address of the data card of the shards; "" where there is none."""
    key = card_keys(version)[0] if version else ""
    return up + key if key and store.exists(key) else ""


def _shown_clips(store: Store, key: str) -> list[str] | None:
    """Return the clips that a page shows; None where its list is gone or damaged."""
    try:
        found = json.loads(store.read_blob(key))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    is_list = isinstance(found, list) and all(re.fullmatch(CLIP_ID_PATTERN, str(name)) for name in found)
    return [str(name) for name in found] if is_list else None


def _says(store: Store, key: str, data: bytes) -> bool:
    return store.exists(key) and store.read_blob(key) == data


def report_html(store: Store, config: Config, model: str | None = None) -> tuple[str, list[str]]:
    """Return the page and the ids of the clips that it shows; args as of `write_report`."""
    used = models_in_use(store, config, model)
    found = status(store, config, used)
    decided = decided_clips(store, config)
    evaluation, classifier = used.evaluation, used.classifier
    pictures = evaluation_pictures(store, evaluation) if evaluation else None
    labels = found.labels
    scores = _scores(decided.histogram)
    curation = curation_view(store)
    page = template("assets.report", "page.html").render(
        **{name: getattr(wording, name) for name in ("amount", "number", "percent", "interval", "sentence", "small")},
        metric_name=wording.metric_name,
        metric_unit=wording.metric_unit,
        style=Markup(files("assets.report").joinpath("static", "report.css").read_text("utf-8")),
        config=config,
        card=_card(store, found.shards.version, "../../" if model is None else "../../../"),
        status=found,
        models=used.by_kind(),
        notes=used.notes,
        pictures=pictures,
        actions=action_views(evaluation) if evaluation else [],
        funnel=funnel_of(found),
        rejected=rejected_videos(store),
        failures=failures(store, config),
        decided=decided,
        ratings_chart=columns_chart([(str(rating), [count]) for rating, count in labels.by_rating.items()]),
        agreement=agreement_view(store, config),
        annotators={name: count for name, count in labels.annotators.items() if name != _STAND_IN},
        score_names=list(scores),
        score_chart=_score_chart(scores),
        classifier=classifier_view(classifier) if classifier else None,
        decision=decision_view(store, found.curated),
        curation=curation,
        economy=economy_view(store),
        curves=_curves(store, used.by_kind()),
        evaluation=evaluation_view(evaluation) if evaluation else None,
        evaluation_is_current=used.evaluation_is_current,
        costs=COSTS if model is None and found.costs else "",
    )
    shown = [example.clip_id for example in (*decided.kept, *decided.others) if example.strip]
    more = [*(pictures.clip_ids if pictures else []), *(curation.clip_ids if curation else [])]
    return page, sorted({*shown, *more})


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
    held_out: float | None
    """The last value on held-out clips; None where the curve has none."""


def _curves(store: Store, models: Mapping[str, ModelRecord]) -> list[CurveView]:
    views = []
    for kind in ("video_tokenizer", "world_model", "quality_classifier"):
        found: dict[str, Any] = dict(curve(store, models[kind])) if kind in models else {}
        for name, points in _chosen(found).items():
            title = f"{kind.replace('_', ' ')}: {wording.curve_title(name)}"
            held = found.get(f"{_HELD_OUT}{name}", [])
            series = {name: points, **({"held out": held} if held else {})}
            chart = curves_chart(series, height=150, width=320, x_label="steps")
            views.append(CurveView(title, chart, points[-1][1], held[-1][1] if held else None))
    return views


def _chosen(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves that have a chart: those of the steps, then those of held-out clips that have no such twin."""
    own = {name: points for name, points in found.items() if not name.startswith(_HELD_OUT)}
    alone = {name: found[name] for name in found if name not in own and name.removeprefix(_HELD_OUT) not in own}
    shown = {name: points for name, points in alone.items() if name.startswith(_SHOWN_ALONE)}
    return {**dict(list(own.items())[:_MOST_CURVES]), **shown}
