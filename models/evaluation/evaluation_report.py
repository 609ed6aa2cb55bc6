"""The report of an evaluation: its published metrics, and lines that a person can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.evaluation.fidelity.text import fidelity_figures, figure_lines
from models.evaluation.gates import Gate


@dataclass(frozen=True)
class EvaluationReport:
    """A published evaluation."""

    evaluation_id: str
    skipped: bool
    """True where the current evaluation was published before."""
    metrics: Mapping[str, Any]
    """Metrics by name, each {value, low, high, num_sources}; `gates`, `num_sources`, `latent_actions`."""
    folder: str
    """Key of the folder of pictures."""

    @property
    def gates(self) -> dict[str, Gate]:
        """Return the outcome of each gate."""
        return dict(self.metrics["gates"])

    def lines(self) -> list[str]:
        """Return one line per metric and per latent action, then the gates that cannot be told, and that failed."""
        fidelity = fidelity_figures(self.metrics)
        shown = [
            f"{name}: {_text(metric)}"
            for name, metric in self.metrics.items()
            if _is_metric(metric) and name not in fidelity
        ]
        shown += figure_lines(fidelity)
        shown += [_effect(action) for action in self.metrics["latent_actions"]]
        shown += _stands_for(self.metrics)
        failed = [name for name, gate in self.gates.items() if gate["passed"] is False]
        if not self.metrics["enough_sources"]:
            shown.append(
                f"only {self.metrics['num_sources']} held-out sources, fewer than "
                f"{self.gates['enough_sources']['threshold']}: the intervals mean little"
            )
        shown += [f"gate not told: {name}: {gate['reason']}" for name, gate in self.gates.items() if "reason" in gate]
        return [*shown, f"gates failed: {', '.join(failed) or 'none'}"]


def _effect(action: Mapping[str, Any]) -> str:
    twin_of = action.get("twin_of")  # evaluations of earlier versions have none
    twin = "" if twin_of is None else f", twin of {twin_of + 1}"
    return f"latent action {action['code'] + 1}: {action['symbol']} {action['label']}{twin}"


def _stands_for(metrics: Mapping[str, Any]) -> list[str]:
    """Return what each latent action is judged by where generated frames are read; none where they are not."""
    found = metrics.get("inverse_dynamics") or {}
    if "generated" not in found:
        return []
    each = [f"{code + 1} {name or '-'}" for code, name in enumerate(found["stands_for"])]
    return [f"latent actions stand for (in training sources): {', '.join(each)}"]


def _is_metric(value: object) -> bool:
    return isinstance(value, dict) and "value" in value


def _text(metric: Mapping[str, Any]) -> str:
    if metric["value"] is None:
        return f"unknown: {metric['reason']}"
    if metric.get("low") is None:
        why = metric.get("reason")
        return f"{metric['value']:.3g}" + (f" ({why})" if why else "")
    return f"{metric['value']:.2f} [{metric['low']:.2f}, {metric['high']:.2f}]"
