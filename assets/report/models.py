"""The report's sections on models: the classifier, the learning curves, the world's pictures, its figures and gates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from assets.report.charts import Series, columns_chart, curves_chart, intervals_chart, reliability_chart
from assets.report.html import (
    amount,
    card,
    escape,
    figure,
    figure_name,
    figure_unit,
    interval,
    legend,
    missing,
    number,
    pill,
    section,
    table,
)
from assets.report.reads import Pictures, curve
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.store import Store

Row = Mapping[str, Any]


# -- the world ----------------------------------------------------------------------------------------------------


def world_section(models: Mapping[str, ModelRecord], pictures: Pictures | None) -> str:
    """Return the pictures of the world: rollouts per latent action, reconstructions."""
    head = section("The world", "From one start frame, one latent action held down: each tile is what the model draws.")
    evaluation = models.get("world_evaluation")
    if evaluation is None or pictures is None:
        what = "The evaluation has" if "world_model" in models else "Training of the world has"
        return head + missing(what, "lampworks run")
    if pictures.withheld:
        return head + '<p class="note">A clip that they show was taken down since: evaluate again to see others.</p>'
    parts = []
    if "rollouts.gif" in pictures.uris:
        caption = (
            "Generated frames, at half speed. No action was ever labelled: the model found them, and the words say "
            "what the view does under each."
        )
        image = f'<img class="pixel" src="{pictures.uris["rollouts.gif"]}" alt="a rollout per latent action">'
        parts.append(f'<div class="card">{figure(image, caption)}</div>')
    actions = _actions_table(evaluation.metrics.get("latent_actions") or [])
    if actions:
        parts.append(f'<h3>What the latent actions do</h3><div class="card">{actions}</div>')
    for name, title, caption in (
        (
            "rollouts.png",
            "Frame by frame",
            "A row per latent action, a column per frame, all from one start frame.",
        ),
        (
            "contact-sheet.png",
            "Reconstructions",
            "Held-out clips: true frames, and below each what the tokenizer keeps.",
        ),
    ):
        if name in pictures.uris:
            image = f'<div class="wide"><img src="{pictures.uris[name]}" alt="{escape(title)}"></div>'
            parts.append(f'<h3>{title}</h3><div class="card">{figure(image, caption)}</div>')
    return head + "".join(parts)


def _actions_table(actions: list[Row]) -> str:
    if not actions:
        return ""
    rows = []
    for action in actions:
        used = sorted((action.get("true_actions") or {}).items(), key=lambda item: (-item[1], item[0]))
        shares = "".join(
            f'<span><span class="share" style="width:{share * 120:.0f}px"></span>{escape(name)} {share:.0%}</span>'
            for name, share in used[:3]
        )
        shares = f'<div class="shares">{shares}</div>' if used else '<span class="soft">not known</span>'
        rows.append([
            f"<b>{int(action['code']) + 1}</b>",
            f"{escape(action.get('symbol', ''))} {escape(action.get('label', ''))}",
            number(action.get("right"), 1),
            number(action.get("down"), 1),
            shares,
        ])  # fmt: skip
    head = ["key", "the view moves", "px right", "px down", "true actions that it stood for"]
    return table(head, rows, (2, 3))


# -- the classifier -----------------------------------------------------------------------------------------------


def classifier_section(model: ModelRecord | None) -> str:
    """Return how well good and bad clips are told apart, and how honest the probabilities are."""
    head = "<h2>The quality classifier</h2>"
    if model is None:
        return head + missing("Training of the classifier has", "lampworks run")
    figures = model.metrics
    held = figures.get("held_out", {})
    rows = _auc_rows(held.get("five_vs_one", {}))
    parts = []
    if rows:
        network = held["five_vs_one"]["network"]
        caption = (
            f"AUC of telling fives from ones on {amount(network['clips'], 'clip')} of "
            f"{amount(network['sources'], 'held-out source')}, with 95 % intervals over sources. Dashed: chance."
        )
        low = min(0.4, *(value for _, value, *_ in rows))
        parts.append(card("Against simpler ways", figure(intervals_chart(rows, low=low, high=1.0, mark=0.5), caption)))
    honest = _calibration(held.get("calibration") or {})
    if honest:
        parts.append(card("What a probability means", honest))
    said = _verdict(figures)
    return f'{head}<p class="soft">{said}</p><div class="two">{"".join(parts)}</div>'


def _calibration(calibration: Row) -> str:
    spread = calibration.get("histogram") or {"good": [], "bad": []}
    if not calibration.get("bins") or not sum(spread["good"]) + sum(spread["bad"]):
        return ""
    columns = list(zip(spread["good"], spread["bad"], strict=True))
    chart = columns_chart([("", column) for column in columns], width=240, axis=("0", "probability 1"))
    error = calibration.get("expected_error")
    caption = (
        "Left: held-out clips said to be good with 0.8 should be good 8 times in 10, on the diagonal"
        + (f" (expected calibration error {error:.3f})" if error is not None else "")
        + ". Right: the same clips by probability."
    )
    both = f"<div>{reliability_chart(calibration['bins'])}</div><div>{legend(['good', 'bad'])}{chart}</div>"
    return figure(f'<div class="pair">{both}</div>', caption)


def _auc_rows(side: Row) -> list[tuple[str, float, float | None, float | None]]:
    single = side.get("single") or {}
    named = [("ResNet", side.get("network"))]
    named += [(f"baseline: {name.replace('_', ' ')}", found) for name, found in (side.get("baselines") or {}).items()]
    for kind, text in (("best_measurement", "best measurement"), ("best_flag", "best flag")):
        if single.get(kind):
            named.append((f"{text}: {single[kind]['name']}", single[kind]))
    return [
        (name, found["auc"], *(found.get("interval") or (None, None)))
        for name, found in named
        if found and found.get("auc") is not None
    ]


def _verdict(figures: Row) -> str:
    told = figures.get("labels", {})
    reached, baseline, flag = (
        (figures.get(name) or {}).get("value") for name in ("auc", "baseline_auc", "single_flag_auc")
    )
    text = (
        f"Trained on {told.get('train', 0)} rated clips, measured on {told.get('held_out', 0)} of other sources. It "
        f"{_against(reached, flag)} the best single flag and {_against(reached, baseline)} the scikit-learn baselines."
    )
    wide = (figures.get("held_out") or {}).get("all_ratings") or {}
    network = (wide.get("network") or {}).get("auc")
    others = [found["auc"] for found in (wide.get("baselines") or {}).values() if found.get("auc") is not None]
    if network is not None and others:
        text += f" With the middle ratings too, where it is harder: {network:.3f} against {max(others):.3f}."
    return text


def _against(reached: float | None, other: float | None) -> str:
    if reached is None or other is None:
        return "cannot be compared with"
    if reached == other:
        return "is level with"
    return "beats" if reached > other else "does not beat"


# -- training -----------------------------------------------------------------------------------------------------

_COLOURED = 2


def training_section(store: Store, models: Mapping[str, ModelRecord]) -> str:
    """Return the learning curves of every model, one small chart per figure."""
    cards = []
    for kind in ("video_tokenizer", "world_model", "quality_classifier"):
        if kind not in models:
            continue
        for name, points in list(curve(store, models[kind]).items())[:8]:
            title = f"{kind.replace('_', ' ')}: {name.replace('_', ' ')}"
            last = points[-1][1]
            chart = curves_chart({name: points}, height=150, width=320, x_label="steps")
            cards.append(card(title, figure(chart, f"Ends at {last:.4g}.")))
    head = section(
        "Learning curves", "Step by step as they were trained; spans of more than a factor 30 are logarithmic."
    )
    if not cards:
        return head + missing("Training has", "lampworks run")
    return f'{head}<div class="three">{"".join(cards)}</div>'


# -- figures ------------------------------------------------------------------------------------------------------


def figures_section(evaluation: ModelRecord | None, *, current: bool = True) -> str:
    """Return the gates, the rollouts' quality over time, and every figure with its interval."""
    head = "<h2>Figures on held-out sources</h2>"
    if evaluation is None:
        return head + missing("The evaluation has", "lampworks run")
    found = evaluation.metrics
    few = ""
    if found.get("enough_sources") is False:
        few = " Fewer sources than asked for: the intervals mean little."
    if not current:
        few += " They are of the world before the newest one, which was not measured yet: `lampworks run` does it."
    said = (
        f"Measured on {amount(found.get('num_clips', 0), 'clip')} of {amount(found.get('num_sources', 0), 'source')} "
        f"that no training saw. Intervals are 95 % bootstraps over sources.{few}"
    )
    gates = [_gate(name, gate, found) for name, gate in (found.get("gates") or {}).items()]
    parts = [f'<p class="soft">{said}</p>']
    cards = []
    if gates:
        cards.append(card("Gates", table(["figure", "value", "at least", ""], gates, (1, 2))))
    chart = _over_time(found)
    if chart:
        cards.append(card("How far the world stays true", chart))
    if found.get("drift"):
        cards.append(card("Past the window", _drift(found["drift"])))
    parts.append(f'<div class="two">{"".join(cards)}</div>')
    rows = [
        [escape(figure_name(name)), f"{number(value['value'], 3)}", interval(value.get("low"), value.get("high")),
         figure_unit(name), f'<code class="soft">{escape(name)}</code>']
        for name, value in found.items()
        if isinstance(value, Mapping) and "value" in value
    ]  # fmt: skip
    head_row = ["figure", "value", "95 % interval", "unit", "name"]
    parts.append(f'<h3>All figures</h3><div class="card">{table(head_row, rows, (1, 2))}</div>')
    return head + "".join(parts)


def _gate(name: str, gate: Row, found: Row) -> list[str]:
    figures = found.get(name) or {}
    low = figures.get("low") if isinstance(figures, Mapping) else None
    # some gates ask of the interval's lower end
    at_low = low is not None and gate["value"] == low and low != figures["value"]
    return [
        escape(figure_name(name)) + (' <span class="soft">(lower end)</span>' if at_low else ""),
        f"{number(gate['value'])} {figure_unit(name)}",
        f"≥ {number(gate['threshold'])}",
        pill(gate["passed"]),
    ]


def _drift(drift: Row) -> str:
    names = ("drift_psnr_prefill", "drift_psnr_ring", "drift_ring_below_prefill")
    anew, kept, lost = (drift[name] for name in names)
    shown = [1, *range(drift["context"], len(anew) + 1, drift["context"])]
    rows = [
        [
            str(ahead),
            number(anew[ahead - 1]["value"]),
            number(kept[ahead - 1]["value"]),
            number(lost[ahead - 1]["value"]),
            interval(lost[ahead - 1].get("low"), lost[ahead - 1].get("high")),
        ]
        for ahead in shown
    ]
    caption = (
        f"PSNR in dB of long rollouts on {amount(anew[0]['num_sources'], 'held-out source')}. The model sees "
        f"{drift['context']} frames: beyond them it can compute the window anew for each frame, or keep what it made "
        "of the past, which is sooner."
    )
    return figure(table(["frames ahead", "anew", "kept", "loses", "95 % interval"], rows, (0, 1, 2, 3)), caption)


def _over_time(found: Row) -> str:
    series: dict[str, Series] = {}
    bands: dict[str, list[tuple[float, float, float]]] = {}
    for pattern, title in ((r"psnr_t(\d+)", "predicted frame"), (r"copy_t(\d+)", "last frame, copied")):
        points = sorted(
            (int(match[1]), value)
            for name, value in found.items()
            if (match := re.fullmatch(pattern, name)) and value.get("value") is not None
        )
        if points:
            series[title] = [(step, value["value"]) for step, value in points]
            bands[title] = [
                (step, value["low"], value["high"]) for step, value in points if value.get("low") is not None
            ]
    if not series:
        return ""
    chart = curves_chart(series, bands=bands, height=230, x_label="frames ahead")
    caption = "PSNR in dB against the true frames, actions inferred from the video; shaded are the intervals."
    return legend(list(series)) + figure(chart, caption)
