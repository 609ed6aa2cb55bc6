"""Group `evaluate`: how good the world is on held-out sources, whether it can be played, and whether curation paid."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg

from assets.graph.checks import check_specs, verdict
from assets.graph.context import Result, Work, flat_metrics, materialized, table, working
from assets.graph.dataset import training_shards
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from assets.graph.train import video_tokenizer, world_model
from assets.suggested import options_of
from pipeline.model_ids import EVALUATION
from pipeline.storage.models_table import ModelRecord, find_model, models_of_kind

# what the UI draws over time: the headlines; the table has all
PLOTTED = (
    "psnr", "psnr_previous_frame", "psnr_kmeans", "psnr_t1_above_copy", "delta_t_psnr", "delta_t_psnr_permuted",
    "latent_action_mutual_information", "latent_action_mutual_information_shuffled", "character_kept_t8",
    "character_kept_t30",
)  # fmt: skip


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="evaluate",
    deps=[training_shards, world_model, video_tokenizer],
    kinds={"pytorch"},
    check_specs=check_specs("world_evaluation"),
)
def world_evaluation(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One published evaluation: metrics of the configured world on held-out sources, each with its interval.

    PSNR of the tokenizer beside copying, the mean frame and k-means of patches; delta-t PSNR with random actions drawn
    two ways; information of latent actions about true ones, where the embedded source knows them; Frechet distances
    and others of rollouts from true videos, each on a network that its name says, beside its floors.
    """
    with working(context, lampworks) as work:
        from models.evaluation.evaluate import evaluate

        evaluation = find_model(work.store, EVALUATION, evaluate(work.job).evaluation_id)
        assert evaluation is not None
        found = evaluation.metrics
        return materialized(
            1,
            evaluation.model_id,
            _checks(work, evaluation),
            {
                "evaluation": evaluation.model_id,
                "figures": table(
                    [
                        {"figure": name, **{key: value.get(key) for key in ("value", "low", "high", "num_sources")}}
                        for name, value in found.items()
                        if isinstance(value, dict) and "value" in value and "[" not in name
                    ],
                    40,
                ),
                **{name: value for name in PLOTTED if (value := metric_part(found, name, "value")) is not None},
                **fidelity_values(found),
                "held-out sources": found["num_sources"],
                "path": dg.MetadataValue.path(work.store.url(evaluation.path)),
            },
        )


def _checks(work: Work, evaluation: ModelRecord) -> list[dg.AssetCheckResult]:
    found = evaluation.metrics
    gates = found["gates"]
    score, low, high = (metric_part(found, "delta_t_psnr_permuted", part) for part in ("value", "low", "high"))
    best = _best_before(work, evaluation)
    failed = [name for name, gate in gates.items() if gate["passed"] is False]
    return [
        verdict(
            "world_evaluation", "gates", not failed, f"failed: {', '.join(failed)}" if failed else "all gates hold"
        ),
        verdict(
            "world_evaluation",
            "control",
            gates["delta_t_psnr_permuted"]["passed"] is True,
            _gate(gates, "delta_t_psnr_permuted"),
        ),
        verdict(
            "world_evaluation",
            "action_information",
            gates["latent_action_mutual_information"]["passed"] is not False
            and gates["latent_action_mutual_information_ratio"]["passed"] is not False,
            f"{_gate(gates, 'latent_action_mutual_information')}; ratio to chance: "
            f"{_gate(gates, 'latent_action_mutual_information_ratio')}",
        ),
        _holds(gates, "character", ("character_kept_t8", "character_kept_t30")),
        _holds(
            gates,
            "character_place",
            [name for name in gates if name.startswith(("character_place_", "character_exact_"))],
        ),
        verdict(
            "world_evaluation",
            "delta_t_psnr",
            # the sources' spread is far larger than what parts two seeds: only what it excludes is a fall
            score is not None and (best is None or (score if high is None else high) >= best),
            ("not measured" if score is None else f"now {score:.2f} dB")
            + ("" if low is None or high is None else f" [{low:.2f}, {high:.2f}]")
            + (", no evaluation before" if best is None else f", best before {best:.2f} dB"),
            None if best is None or score is None else {"change against best": score - best},
        ),
    ]


def _holds(gates: dict[str, Any], check: str, names: Sequence[str]) -> dg.AssetCheckResult:
    """Return the verdict on several gates; those that are not known for this source do not fail."""
    # an evaluation of an older version has fewer gates
    known = [name for name in names if name in gates]
    passed = all(gates[name]["passed"] is not False for name in known)
    return verdict("world_evaluation", check, passed, "; ".join(f"{name}: {_gate(gates, name)}" for name in known))


def _gate(gates: dict[str, Any], name: str) -> str:
    value, threshold = gates[name]["value"], gates[name]["threshold"]
    if value is not None:
        return f"{value:.3g}, asks {threshold:g}"
    return f"{gates[name].get('reason', 'not known for this source')} (asks {threshold:g})"


def _best_before(work: Work, evaluation: ModelRecord) -> float | None:
    """Return the best score of the evaluations that were made before this one, of any world."""
    scores = [
        metric_part(other.metrics, "delta_t_psnr_permuted", "value")
        for other in models_of_kind(work.store, EVALUATION)
        if other.created_at < evaluation.created_at
    ]
    return max((score for score in scores if score is not None), default=None)


def fidelity_values(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of the figures of fidelity with their floors, and each Frechet video distance by its name."""
    from models.evaluation.fidelity.text import fidelity_figures

    figures = fidelity_figures(found)
    if not figures:
        return {}
    rows = [
        {
            "figure": name,
            **{key: figure.get(key) for key in ("value", "low", "high", "num_sources", "num_samples", "reason")},
            **{
                f"floor: {key}": (figure.get("floors") or {}).get(key, {}).get("value")
                for key in ("tokenizer", "halves")
            },
            "network": (figure.get("net") or {}).get("sha256", "")[:16],
        }
        for name, figure in figures.items()
    ]
    plotted = {name: each["value"] for name, each in figures.items() if name.startswith("FVD[") and each["value"]}
    return {"fidelity": table(rows, 40), **plotted}


def metric_part(found: Mapping[str, Any], name: str, part: str) -> float | None:
    """Return a number of a metric (`value`, `low`, `high`); None where it was not measured."""
    value = found.get(name)
    if isinstance(value, dict):
        value = value.get(part)
    return float(value) if isinstance(value, int | float) else None


@dg.asset(
    owners=OWNERS,
    code_version="2",
    group_name="evaluate",
    deps=[world_model, video_tokenizer, world_evaluation],
    kinds={"pytorch"},
    check_specs=check_specs("playable_world"),
)
def playable_world(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """The configured world, loaded from what was published, stepped once with each of its actions, and packed.

    One folder of the store, which `lampworks play DIR` plays on another machine: weights, settings, start frames,
    hints of the keys, sources and licences, with the hash of each file in its manifest.
    """
    with working(context, lampworks) as work:
        from models.play.check import check_playable
        from models.play.packed.write import publish_packed

        found = check_playable(work.store, work.config)
        seen_of = {name: value for name, value in asdict(found).items() if name != "world"}
        record = publish_packed(work.store, work.config, seen_of, found.world)
        seen = f"{found.actions} actions lead to {found.distinct_frames} different frames, {found.fps} FPS"
        return materialized(
            1,
            found.world,
            [verdict("playable_world", "loads_and_steps", found.actions > 0, seen)],
            {
                "world": found.world,
                **flat_metrics(seen_of),
                "play": f"lampworks play{options_of(lampworks.settings())}",
                "path": dg.MetadataValue.path(work.store.url(record.path)),
            },
        )
