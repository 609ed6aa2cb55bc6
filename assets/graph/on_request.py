"""Group `on_request`: what no pass makes unless it is asked for by name."""

import dagster as dg
from pydantic import Field

from assets.graph.checks import check_specs, verdict
from assets.graph.context import Result, materialized, table, working
from assets.graph.curate import curated_clips
from assets.graph.dataset import training_shards
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from assets.graph.train import world_model
from pipeline.errors import UserError


class AblationConfig(dg.Config):
    """Whether the ablation may run, and for how long its three arms are trained."""

    confirm: bool = Field(
        default=False,
        description="Set it to train: a tokenizer, and three worlds per seed, hours on a laptop. Otherwise the run "
        'fails at once, so that "Materialize all" does not start this by accident.',
    )

    ablation_steps: int = Field(
        default=200, ge=1, description="Steps of the tokenizer that all arms share, and again of the world of each."
    )

    ablation_seeds: int = Field(default=3, ge=1, description="Seeds of each arm; fewer than 3 are too few to tell.")


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
    """One comparison: small worlds trained on the curated clips, on as many random ones, and on all, at equal steps.

    Runs on request only: `lampworks run --select curation_ablation`, or `confirm: true` in its config. Three arms and
    three seeds; differences are paired by seed and by held-out source. `lampworks study curation` is the same with the
    settings of a study, and writes a page. A few hundred steps show a tendency, not the paper's result (its FVD
    comparison took a 580M model).
    """
    with working(context, lampworks) as work:
        if not config.confirm:
            raise UserError(
                "curation_ablation trains three arms and runs on request only: set `confirm: true` in its config (the "
                "launchpad's `ops: {curation_ablation: {config: {confirm: true}}}`), or run "
                "`lampworks run --select curation_ablation`."
            )
        from models.studies.curation import ablation

        study, finished = ablation(work.job, steps=config.ablation_steps, seeds=config.ablation_seeds)
        found = study.differences(finished, "curated")
        [shown] = [each for each in found if (each.against, each.figure.key) == ("random", "psnr_t1")]
        better, counts = shown.by_seed["value"], study.counts()
        return materialized(
            1,
            study.data(),
            [
                verdict(
                    "curation_ablation",
                    "beats_random",
                    better is not None and better >= 0,
                    f"after {config.ablation_steps} steps, {shown.sentence()}",
                )
            ],
            {
                "figures": table(
                    [
                        {
                            "figure": each.figure.title,
                            "difference": f"{each.arm} - {each.against}",
                            "value": each.by_seed["value"],
                            **{f"{end}, seeds": each.by_seed.get(end) for end in ("low", "high")},
                            **{
                                f"{end}, sources": None if each.by_source is None else each.by_source.get(end)
                                for end in ("low", "high")
                            },
                            "verdict": each.verdict,
                        }
                        for each in found
                    ]
                ),
                **{
                    f"psnr_t1/{arm}": value
                    for arm in ("curated", "random", "pool")
                    if (value := study.mean(finished, arm, "psnr_t1")) is not None
                },
                "clips per arm": counts["curated"],
                "clips of the pool": counts["pool"],
                "held-out sources": counts["held-out sources, curated"],
                "seeds": config.ablation_seeds,
                "steps": config.ablation_steps,
            },
        )
