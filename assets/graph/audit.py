"""Group `curate`: what the decision is worth, and what changed since the one before."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.graph.checks import check_specs, verdict
from assets.graph.context import Result, Work, materialized, picture, table, working
from assets.graph.curate import curated_clips
from assets.graph.label import quality_labels
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from assets.suggested import root_option, with_root
from pipeline.inspect.audit_text import CURATION_KEY, audit_lines, change_lines, distances, estimate_text, extreme_lines

MOST_CHURN = 0.2
"""Share of clips with another verdict than before that is no surprise."""
MUCH_PSI = 0.25
"""PSI, beyond what chance gives, from which on a distribution moved much."""
_SHOWN_MOVES, _SHOWN_MEASUREMENTS = 12, 8


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="curate",
    deps=[curated_clips, quality_labels],
    kinds={"python", "json"},
    check_specs=check_specs("curation_audit"),
)
def curation_audit(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One document about the present decision: precision and recall of an audit, slices, drift, and what changed.

    `lampworks label --audit` offers its clips, a fresh random sample. The clips that entered the curated set or left it
    are the table `curation_changes`. Sheets show the best, the worst, the borderline, and some of each reason.
    """
    with working(context, lampworks) as work:
        from assets.report.curation_sheets import draw_curation_sheets
        from classifier.audit.audit import audit_curation, content_of_audit

        # the document last: without it a pass that was killed here makes this asset again
        sheets = draw_curation_sheets(work.store, work.config)
        audited = audit_curation(work.job)
        document: Mapping[str, Any] = audited
        return materialized(
            sum(document["audit"]["drawn"].values()),
            content_of_audit(audited),
            _checks(document),
            {
                **_metadata(work, document),
                **{f"sheet: {name}": picture(work.store, key) for name, key in sheets.items()},
            },
        )


def _checks(document: Mapping[str, Any]) -> list[dg.AssetCheckResult]:
    precision, target = document["audit"]["figures"]["precision"], document["target_precision"]
    known = precision["value"] is not None and not precision["few"]
    changes = document["changes"]
    most = next(iter(distances(changes)), None)
    # where all clips have one resolution or year, its keep rate is that of the whole
    sided = [
        row["name"]
        for name in ("resolution", "year")
        if document["slices"][name]["count"] > 1
        for row in document["slices"][name]["extremes"]
    ]
    churn, by_chance = (changes["churn"], changes["psi_by_chance"]) if changes else (None, 0.0)
    return [
        verdict(
            "curation_audit", "kept_precision", not known or precision["interval"][1] >= target,
            f"{estimate_text(precision)}; target {target:.2f}",
        ),
        verdict(
            "curation_audit", "slices", not sided,
            "; ".join(extreme_lines(document["slices"])) or "none is all kept or all left",
        ),
        verdict(
            "curation_audit", "drift", most is None or most["psi"] - by_chance < MUCH_PSI,
            "first decision" if changes is None else _drift_text(most, by_chance),
        ),
        verdict(
            "curation_audit", "churn", churn is None or churn <= MOST_CHURN,
            "first decision" if changes is None else "; ".join(change_lines(changes)),
        ),
    ]  # fmt: skip


def _drift_text(most: Mapping[str, Any] | None, by_chance: float) -> str:
    return (
        "nothing to compare" if most is None else f"largest: {most['name']}, PSI {most['psi']:.3f}, KS {most['ks']:.3f}"
    )


def _metadata(work: Work, document: Mapping[str, Any]) -> dict[str, Any]:
    audit, changes = document["audit"], document["changes"]
    found: dict[str, Any] = {
        "audit": with_root(" | ".join(audit_lines(document)), root_option(work.store.root)),
        "audited clips": sum(audit["drawn"].values()),
        "rated clips": sum(audit["rated"].values()),
        "precision": audit["figures"]["precision"]["value"],
        "precision with earlier ratings": audit["figures"]["whole_precision"]["value"],
        "recall": audit["figures"]["recall"]["value"],
        "path": dg.MetadataValue.path(work.store.url(CURATION_KEY)),
    }
    if changes is not None:
        found |= {
            "entered": changes["entered"], "left": changes["left"], "churn": changes["churn"],
            "PSI of probabilities": changes["probabilities"]["psi"] if changes["probabilities"] else None,
        }  # fmt: skip
        agree = changes["models_agree"]
        if agree is not None and not agree["few"]:
            found["rank correlation of the models"] = agree["rank_correlation"]
        if changes["why"]:
            found["why"] = table(changes["why"][:_SHOWN_MOVES])
        if apart := distances(changes):
            found["drift"] = table(apart[:_SHOWN_MEASUREMENTS])
    return found
