"""The page that compares training runs: settings that differ, metrics with intervals, curves, rollouts side by side.

    key = write_comparison(store, config, ["3f0c", "9ab1"])     # reports/compare/<ids>/index.html

A run may be published or unfinished. Metrics and rollouts are those of a world's evaluation; where one is missing, the
page names the command that makes it. Like the report, the page has no script and asks no other host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from assets.report import wording
from assets.report.charts import Series, curves_chart, intervals_chart
from assets.report.page import COMPARE_FOLDER, write_page
from assets.report.reads import curve, curve_points, evaluation_pictures, run_picture
from assets.report.thumbnails import data_uri
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.html import template
from pipeline.inspect.runs import Run, lineage_lines, list_runs, pick_run
from pipeline.model_ids import TOKENIZER, WORLD
from pipeline.storage.models_table import ModelRecord, all_models
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

MOST_RUNS = 8
_CHARTED = ("delta_t_psnr_permuted", "psnr_t1_above_copy", "psnr", "latent_action_mutual_information")
_OF_TOKENIZER = {"codes_used": "tokenizer_codes_used", "perplexity": "tokenizer_perplexity"}


@dataclass(frozen=True)
class MetricRow:
    """A metric of every run."""

    name: str
    values: list[Mapping[str, Any] | None]
    """Per run: value, low and high; None where it was not measured."""
    chart: Markup | None
    """Of a headline metric."""


@dataclass(frozen=True)
class Overlay:
    """The curves of one number in several runs."""

    title: str
    names: list[str]
    """Of all runs, in the order of their colours."""
    shown: list[str]
    """Of the runs that have it."""
    chart: Markup
    equal: bool
    """Whether one line hides the others."""


@dataclass(frozen=True)
class Pictured:
    """A picture that a training drew on its way."""

    step: int
    uri: str


@dataclass(frozen=True)
class Rollouts:
    """What a world draws, or why there is nothing to show."""

    uris: Mapping[str, str]
    missing: str = ""
    """Why there is nothing to show; empty where there are pictures."""
    command: str = ""
    """The command that makes them."""
    on_the_way: Pictured | None = None
    """What the training drew last, if anything."""


def write_comparison(store: Store, config: Config, names: Sequence[str]) -> str:
    """Write the page that compares runs, if anything in it changed, and return its key.

    Args:
        store: everything is read from here, the page is written here.
        config: which models are in use.
        names: ids of two runs or more, or the unique starts of them.

    Raises:
        UserError: fewer than two different runs, too many, or an id that is not there.
    """
    chosen = runs_to_compare(store, config, names)
    page, clip_ids = repeat_after_takedown(store, lambda: comparison_html(store, chosen))
    return write_page(store, f"{COMPARE_FOLDER}/{'-'.join(run.name for run in chosen)}", page, clip_ids)


def runs_to_compare(store: Store, config: Config, names: Sequence[str]) -> list[Run]:
    """Return the runs that ids or their unique starts name, each once; errors as of `write_comparison`."""
    every = list_runs(store, config)
    chosen = list({run.name: run for run in (pick_run(every, name) for name in names)}.values())
    if len(chosen) < 2:
        raise UserError(f"{', '.join(map(repr, names))} is one run: name two or more (`lampworks models` lists them).")
    if len(chosen) > MOST_RUNS:
        raise UserError(f"{len(chosen)} runs: at most {MOST_RUNS} fit on one page.")
    return chosen


def comparison_json(store: Store, runs: Sequence[Run]) -> dict[str, Any]:
    """Return the numbers of the page as JSON-able values.

    `runs` as `lampworks models --json` has them; `settings` that differ and `metrics`, by name, each with a value per
    run: null where a run has none. A metric has its `value` and, where they are known, `low` and `high`, and whatever
    else its evaluation says of it (sources, network, floors).
    """
    metrics = {row.name: row.values for row in _metrics(store, runs, {row.model_id: row for row in all_models(store)})}
    settings = {name: [run.settings.get(name) for run in runs] for name in _settings(runs)}
    return {"runs": [run.to_json() for run in runs], "settings": settings, "metrics": metrics}


def comparison_html(store: Store, runs: Sequence[Run]) -> tuple[str, list[str]]:
    """Return the page and the ids of the clips that it shows."""
    rows = {row.model_id: row for row in all_models(store)}
    shown = [_shown(store, run, rows) for run in runs]
    style = files("assets.report").joinpath("static", "report.css").read_text("utf-8")
    page = template("assets.report", "compare.html").render(
        **{name: getattr(wording, name) for name in ("amount", "figure", "size")},
        metric_name=wording.metric_name,
        metric_unit=wording.metric_unit,
        style=Markup(style),
        runs=runs,
        lineages=[lineage_lines(run.lineage) for run in runs],
        settings=_settings(runs),
        metrics=_metrics(store, runs, rows),
        overlays=_overlays(store, runs, rows),
        rollouts=[rollouts for rollouts, _ in shown],
    )
    return page, sorted({clip for _, clips in shown for clip in clips})


def _settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the settings in which runs differ: dotted name -> the value in each run."""
    table = {}
    for name in sorted({name for run in runs for name in run.settings}):
        # a setting that one run has and another has not (a tokenizer beside a world) does not differ by that
        known = {json.dumps(run.settings[name]) for run in runs if name in run.settings}
        if len(known) > 1:
            table[name] = [json.dumps(run.settings[name]) if name in run.settings else "–" for run in runs]
    return table


def _metrics(store: Store, runs: Sequence[Run], rows: Mapping[str, ModelRecord]) -> list[MetricRow]:
    """Return the metrics of the runs' evaluations and trainings: the headlines first, then by name."""
    found = [_measured(run, rows) for run in runs]
    names = [name for name in _CHARTED if any(name in metrics for metrics in found)]
    names += sorted({name for metrics in found for name in metrics} - set(names))
    table = []
    for name in names:
        values = [metrics.get(name) for metrics in found]
        table.append(MetricRow(name, values, _interval_chart(runs, values) if name in _CHARTED else None))
    return table


def _measured(run: Run, rows: Mapping[str, ModelRecord]) -> dict[str, Mapping[str, Any]]:
    metrics: dict[str, Any] = {}
    if run.state == "published":
        # what training measured of a world has other names than what its evaluation did
        metrics = dict(rows[run.name].metrics)
        evaluation = rows.get(run.evaluation) if run.evaluation else None
        metrics |= evaluation.metrics if evaluation is not None else {}
    found = {}
    for own_name, value in metrics.items():
        # a tokenizer's codes are no latent actions, whose number a world has under this name
        name = _OF_TOKENIZER.get(own_name, own_name) if run.kind == TOKENIZER else own_name
        if isinstance(value, Mapping) and value.get("value") is not None:
            found[name] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = {"value": value}
    return found


def _interval_chart(runs: Sequence[Run], values: Sequence[Mapping[str, Any] | None]) -> Markup | None:
    points = [(run.name, v["value"], v.get("low"), v.get("high")) for run, v in zip(runs, values, strict=True) if v]
    ends = [end for _, value, low, high in points for end in (value, low, high) if end is not None]
    if len(points) < 2:
        return None
    low, high = min(*ends, 0.0), max(ends)
    return intervals_chart(
        points,
        low=low,
        high=high if high > low else low + 1.0,
        mark=0.0 if low < 0 else None,
        colours=[number for number, value in enumerate(values) if value],
    )


def _overlays(store: Store, runs: Sequence[Run], rows: Mapping[str, ModelRecord]) -> list[Overlay]:
    curves = [_curves(store, run, rows) for run in runs]
    overlays = []
    for name in dict.fromkeys(name for found in curves for name in found):
        series = {run.name: found[name] for run, found in zip(runs, curves, strict=True) if name in found}
        if len(series) > 1:
            # a run keeps its colour in every chart
            every = {run.name: series.get(run.name, []) for run in runs}
            chart = curves_chart(every, height=200, width=420, x_label="steps")
            equal = len({tuple(points) for points in series.values()}) == 1
            overlays.append(Overlay(wording.curve_title(name), list(every), list(series), chart, equal))
    return overlays


def _curves(store: Store, run: Run, rows: Mapping[str, ModelRecord]) -> dict[str, Series]:
    if run.state == "published":
        return dict(curve(store, rows[run.name]))
    try:
        # what the training has written beside its last checkpoint
        sealed = json.loads(store.read_blob(f"{run.path}/step-{run.steps:08d}.json"))
        about = json.loads(sealed["about"]) if "about" in sealed else sealed
        return dict(curve_points(about["curve"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _shown(store: Store, run: Run, rows: Mapping[str, ModelRecord]) -> tuple[Rollouts, list[str]]:
    """Return the pictures of a run, and the clips that they show."""
    rollouts, clips = _rollouts(store, run, rows)
    drawn = run_picture(store, run.kind, run.run_id or run.name, run.steps)
    if drawn is None:
        return rollouts, clips
    picture = Pictured(drawn.step, data_uri(store.read_blob(drawn.key), f"image/{drawn.mime}"))
    return replace(rollouts, on_the_way=picture), [*clips, *(drawn.clip_ids or [])]


def _rollouts(store: Store, run: Run, rows: Mapping[str, ModelRecord]) -> tuple[Rollouts, list[str]]:
    if run.kind != WORLD:
        return Rollouts({}, "A tokenizer draws no rollouts: compare worlds for them."), []
    if run.state != "published":
        return Rollouts({}, "This run is not finished.", "lampworks run"), []
    evaluation = rows.get(run.evaluation) if run.evaluation else None
    command = f"lampworks evaluate --model {run.name}"
    if evaluation is None:
        return Rollouts({}, "This world is not evaluated yet.", command), []
    pictures = evaluation_pictures(store, evaluation)
    if pictures.withheld:
        return Rollouts({}, "A clip that its pictures show was taken down since.", command), []
    if not pictures.uris:
        return Rollouts({}, f"The pictures of its evaluation are gone: restore {evaluation.path}."), []
    return Rollouts(pictures.uris), pictures.clip_ids
