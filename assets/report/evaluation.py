"""The report's sections on the world: its latent actions, its gates, and its metrics with their intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from assets.report.charts import Series, curves_chart
from assets.report.wording import interval
from models.evaluation.fidelity.text import fidelity_figures
from pipeline.bootstrap import few_sources, stored_ends
from pipeline.storage.models_table import ModelRecord

Metrics = Mapping[str, Any]
_MOST_SHARES = 3
_KEPT = {
    "character_kept": "character",
    "enemies_kept": "enemies",
    "coins_kept": "coins",
    "character_kept_held": "character, key held",
}


@dataclass(frozen=True)
class ActionView:
    """What one latent action does."""

    key: int
    """The key that plays it, from 1."""
    text: str
    right: float | None
    down: float | None
    """Movement of the view, in pixels per frame."""
    runs: float | None
    rises: float | None
    """Movement of what the player controls, in pixels per frame."""
    twin_of: int | None
    """The key of the action that has the same effect."""
    shares: list[tuple[str, float]]
    """True actions that it stood for, the most frequent first; empty where the source does not know them."""


@dataclass(frozen=True)
class Gate:
    """A metric with the threshold that it must reach."""

    name: str
    value: float | None
    threshold: float
    passed: bool | None
    at_low: bool
    """Whether the gate is about the lower end of the interval."""
    reason: str = ""
    """Why it is not known, where that is said."""


@dataclass(frozen=True)
class DriftRow:
    """PSNR in dB of long rollouts, so many frames ahead."""

    ahead: int
    prefill: float | None
    ring: float | None
    loss: Metrics
    """What keeping past frames costs: value, low and high."""


@dataclass(frozen=True)
class Drift:
    """Rollouts beyond the window that the model sees."""

    context: int
    """Frames of the window."""
    sources: int
    rows: list[DriftRow]


@dataclass(frozen=True)
class HeldRow:
    """The share of rollouts that keep the character while one key is held."""

    key: int
    """From 1."""
    action: str
    """The true action that it stands for most often."""
    kept: list[float | None]
    """At the frames of `CharacterView.shown`."""


@dataclass(frozen=True)
class CharacterView:
    """How long character, enemies and coins of the embedded game last."""

    names: list[str]
    chart: Markup
    """Share kept against the number of frames ahead."""
    shown: list[int]
    """Frames ahead that the table shows."""
    held: list[HeldRow]


@dataclass(frozen=True)
class MatrixRow:
    """A latent action against the true ones."""

    key: int
    """From 1."""
    shares: list[str]
    """Share of its transitions with each true action, with the interval."""
    asks_for: str
    """The true action that it is judged by in generated frames."""


@dataclass(frozen=True)
class MatrixView:
    """Latent actions against true actions."""

    actions: list[str]
    sources: int
    rows: list[MatrixRow]


@dataclass(frozen=True)
class EvaluationView:
    """What the report shows of an evaluation."""

    clips: int
    sources: int
    too_few_sources: bool
    gates: list[Gate]
    horizon_names: list[str]
    horizon_chart: Markup | None
    """PSNR against the number of frames ahead."""
    drift: Drift | None
    character: CharacterView | None
    matrix: MatrixView | None
    fidelity: dict[str, Metrics]
    """Figures of fidelity by name, with their floors and networks; empty where none was asked for."""
    networks: list[Metrics]
    """The networks that they are computed on."""
    metrics: dict[str, Metrics]
    """Every other metric that has a value, by name."""


def evaluation_view(evaluation: ModelRecord) -> EvaluationView:
    """Return what the report shows of a published evaluation."""
    found = {name: _with_ends(value) for name, value in evaluation.metrics.items()}
    names, chart = _horizon(found)
    fidelity = fidelity_figures(found)
    networks = {figure["net"]["name"]: figure["net"] for figure in fidelity.values() if figure.get("net")}
    return EvaluationView(
        clips=found.get("num_clips", 0),
        sources=found.get("num_sources", 0),
        too_few_sources=found.get("enough_sources") is False,
        gates=[_gate(name, gate, found.get(name)) for name, gate in (found.get("gates") or {}).items()],
        horizon_names=names,
        horizon_chart=chart,
        drift=_drift(found["drift"]) if found.get("drift") else None,
        character=_character(found["character"]) if found.get("character") else None,
        matrix=_matrix(found["latent_action_matrix"], found) if found.get("latent_action_matrix") else None,
        fidelity=fidelity,
        networks=list(networks.values()),
        metrics={
            name: value
            for name, value in found.items()
            if isinstance(value, Mapping) and "value" in value and name not in fidelity
        },
    )


def _with_ends(metric: Any) -> Any:
    if not isinstance(metric, Mapping) or not {"value", "low"} <= metric.keys():
        return metric
    low, high = stored_ends(metric)
    reason = metric.get("reason") or few_sources(metric)
    return {**metric, "low": low, "high": high} | ({"reason": reason} if reason else {})


def action_views(evaluation: ModelRecord) -> list[ActionView]:
    """Return what each latent action does, in the order of its keys."""
    return [
        ActionView(
            key=int(action["code"]) + 1,
            text=f"{action.get('symbol', '')} {action.get('label', '')}",
            right=action.get("right"),
            down=action.get("down"),
            runs=action.get("runs"),
            rises=action.get("rises"),
            twin_of=None if action.get("twin_of") is None else int(action["twin_of"]) + 1,
            shares=sorted((action.get("true_actions") or {}).items(), key=lambda item: (-item[1], item[0]))[
                :_MOST_SHARES
            ],
        )
        for action in evaluation.metrics.get("latent_actions") or []
    ]


def _gate(name: str, gate: Mapping[str, Any], metric: object) -> Gate:
    low = metric.get("low") if isinstance(metric, Mapping) else None
    at_low = isinstance(metric, Mapping) and low is not None and gate["value"] == low != metric["value"]
    return Gate(name, gate["value"], gate["threshold"], gate["passed"], at_low, gate.get("reason", ""))


def _drift(drift: Mapping[str, Any]) -> Drift:
    prefill, ring, loss = (
        drift[name] for name in ("drift_psnr_prefill", "drift_psnr_ring", "drift_ring_below_prefill")
    )
    shown = [1, *range(drift["context"], len(prefill) + 1, drift["context"])]
    rows = [DriftRow(k, prefill[k - 1]["value"], ring[k - 1]["value"], loss[k - 1]) for k in shown]
    return Drift(drift["context"], prefill[0]["num_sources"], rows)


def _character(character: Mapping[str, Any]) -> CharacterView:
    series: dict[str, Series] = {}
    bands: dict[str, list[tuple[float, float, float]]] = {}
    for name, title in _KEPT.items():
        steps = [(k, step) for k, step in enumerate(character.get(name, []), 1) if step.get("value") is not None]
        if steps:
            series[title] = [(k, step["value"]) for k, step in steps]
            bands[title] = [(k, step["low"], step["high"]) for k, step in steps if step.get("low") is not None]
    frames = len(character.get("character_kept", []))
    shown = [k for k in (1, 8, 30) if k <= frames]
    rows = [
        HeldRow(int(row["code"]) + 1, row["action"], [row["character_kept"][k - 1] for k in shown])
        for row in character.get("by_code", [])
    ]
    chart = curves_chart(series, bands=bands, height=230, x_label="frames ahead", span=(0.0, 1.0))
    return CharacterView(list(series), chart, shown, rows)


def _matrix(matrix: Mapping[str, Any], found: Metrics) -> MatrixView:
    asked = (found.get("inverse_dynamics") or {}).get("stands_for") or [None] * len(matrix["share"])
    rows = [
        MatrixRow(code + 1, [_share(*each) for each in zip(share, low, high, strict=True)], asks_for or "–")
        for code, (share, low, high, asks_for) in enumerate(
            zip(matrix["share"], matrix["low"], matrix["high"], asked, strict=True)
        )
    ]
    return MatrixView(list(matrix["actions"]), int(matrix["num_sources"]), rows)


def _share(share: float | None, low: float | None, high: float | None) -> str:
    return "–" if share is None else f"{share:.2f} {interval(low, high)}".strip()


def _horizon(found: Metrics) -> tuple[list[str], Markup | None]:
    """Return the names and the chart of PSNR by frames ahead, of the model and of copying the last frame."""
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
    chart = curves_chart(series, bands=bands, height=230, x_label="frames ahead") if series else None
    return list(series), chart
