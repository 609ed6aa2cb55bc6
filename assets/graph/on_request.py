"""Group `on_request`: what no pass makes unless it is asked for by name."""

import dagster as dg
from pydantic import Field

from assets.graph.checks import check_specs, verdict
from assets.graph.context import Result, materialized, table, working
from assets.graph.curate import curated_clips
from assets.graph.dataset import training_shards
from assets.graph.evaluate import metric_part
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from assets.graph.train import world_model
from pipeline.errors import UserError


class AblationConfig(dg.Config):
    """Whether the ablation may run, and for how long its two arms are trained."""

    confirm: bool = Field(
        default=False,
        description="Set it to train: two tokenizers and two worlds, hours on a laptop. Otherwise the run fails at "
        'once, so that "Materialize all" does not start this by accident.',
    )

    ablation_steps: int = Field(
        default=200, ge=1, description="Steps of the tokenizer, and again of the world, in each of the two arms."
    )


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="on_request",
    deps=[training_shards, curated_clips, world_model],
    kinds={"pytorch"},
    pool="training",
    check_specs=check_specs("curation_ablation"),
)
def curation_ablation(context: dg.AssetExecutionContext, config: AblationConfig, lampworks: Lampworks) -> Result:
    """One comparison: the same small training on the curated clips and on as many random ones, at equal steps.

    Runs on request only: `lampworks run --select curation_ablation`, or `confirm: true` in its config. Both arms see
    the same number of clips and steps and are measured on the same held-out curated clips. A few hundred steps show
    a tendency, not the paper's result (its FVD comparison took a 580M model).
    """
    with working(context, lampworks) as work:
        if not config.confirm:
            raise UserError(
                "curation_ablation trains two arms and runs on request only: set `confirm: true` in its config (the "
                "launchpad's `ops: {curation_ablation: {config: {confirm: true}}}`), or run "
                "`lampworks run --select curation_ablation`."
            )
        from models.evaluation.ablation import compare_curation

        found = compare_curation(work.job, steps=config.ablation_steps)
        curated, chance = found.metrics["curated"], found.metrics["random"]
        better, worse = metric_part(curated, "psnr_t1", "value"), metric_part(chance, "psnr_t1", "value")
        return materialized(
            1,
            found.version,
            [
                verdict(
                    "curation_ablation",
                    "beats_random",
                    better is not None and worse is not None and better >= worse,
                    f"next frame on {found.held_out} held-out sources after {found.steps} steps: "
                    f"{_decibel(better)} curated, {_decibel(worse)} random",
                )
            ],
            {
                "figures": table(
                    [
                        {
                            "figure": name,
                            "curated": metric_part(curated, name, "value"),
                            "random": metric_part(chance, name, "value"),
                            "curated_low": metric_part(curated, name, "low"),
                            "random_high": metric_part(chance, name, "high"),
                        }
                        for name in curated
                    ]
                ),
                "psnr_t1/curated": better,
                "psnr_t1/random": worse,
                "clips per arm": found.clips,
                "steps": found.steps,
            },
        )


def _decibel(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f} dB"
