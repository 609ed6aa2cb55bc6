"""Does curation help? The whole pool, the curated set, and a random subset of the pool of its size, at equal steps.

One tokenizer, trained on the whole pool, serves all arms, so their losses are of the same tokens. Each arm trains its
own LAM and dynamics with the same settings, steps, batch and seeds. All are measured on the same held-out sources,
twice: on their curated clips, and on whatever they hold (a curated reference favours curated training).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, get_args

from models.networks.tokenizer import VideoTokenizer
from models.studies.arms import (
    Difference,
    Figure,
    arms_table,
    as_json,
    difference,
    differences_chart,
    differences_table,
    mean_of_arm,
)
from models.studies.curation_clips import CuratedPool, curated_pool, held_out_curated, held_out_pool, num_sources
from models.studies.settings import small_world
from models.studies.study import Finished, Report, Run, Scope, Study
from models.studies.worlds import Footage, Workshop, infer, measure
from models.training.data import ClipWindows
from pipeline.config import Config, fingerprint
from pipeline.config.training import TrainingConfig
from pipeline.job import Job
from pipeline.model_ids import shared_training
from pipeline.progress import ProgressCallback
from pipeline.shards.loader.clips import Clip, ListedClips

Arm = Literal["curated", "random", "pool"]
Reference = Literal["curated", "pool"]
LOSS = Figure("cross_entropy", "cross-entropy, nat", "lower", 3)
NEXT_FRAME = Figure("psnr_t1", "next frame, dB", "higher")
CONTROL = Figure("delta_t_psnr_permuted", "delta-t PSNR, permuted, dB", "higher")
FIGURES = (LOSS, NEXT_FRAME, Figure("psnr_t4", "4th frame, dB", "higher"), CONTROL)
_REFERENCES: Mapping[Reference, str] = {
    "curated": "on curated clips of held-out sources",
    "pool": "on all clips of held-out sources",
}
_CLIPS_PER_SOURCE, _HORIZON = 2, 4


class CurationStudy(Study):
    """Curated clips against a random subset of the pool, and against all of it."""

    name, version = "curation", 1
    title = "Does curation help?"
    about = (
        "Three arms at equal steps, batch, seeds and model: the curated set, a random subset of the pool with as many "
        "clips (another one for each seed), and the whole pool. One tokenizer, trained on the whole pool, serves all; "
        "each arm trains its own LAM and dynamics. All are measured on the same held-out sources, on their curated "
        "clips and on whatever they hold. The paper's comparison: FVD 61.4 on 55M clips, 54.8 on the curated 6.8M, at "
        "580M parameters."
    )

    def __init__(self, scope: Scope) -> None:
        assert scope.job is not None
        self._scope, self._job, self._workshop = scope, scope.job, Workshop(scope, self)

    @cached_property
    def _clips(self) -> CuratedPool:
        return curated_pool(self._job.store, self._job.config)

    @cached_property
    def _held_out(self) -> dict[Reference, Footage]:
        config = self.config(0)
        curated = held_out_curated(self._job, config)
        pool = held_out_pool(self._job.store, config)
        return {name: self._footage([], found) for name, found in (("curated", curated), ("pool", pool))}  # type: ignore[misc]

    def _footage(self, clips: Sequence[Clip], held_out: Sequence[Any]) -> Footage:
        store = self._job.store

        def windows(training: TrainingConfig) -> ClipWindows:
            return ClipWindows(
                ListedClips(clips, store), cache_clips=training.cache_clips, max_bad_share=training.max_bad_share,
                training=training,
            )  # fmt: skip

        return Footage(windows, held_out, fingerprint(self._clips.version, [clip.clip_id for clip in clips]))

    def data(self) -> str:
        """Return which shards, which pool and which held-out clips there are."""
        ids = {name: [clip.clip_id for clip in found.held_out] for name, found in self._held_out.items()}
        return f"{self._clips.version}, held out {fingerprint(ids)}"

    def counts(self) -> dict[str, int]:
        """Return the clips of each arm, and the held-out sources of each reference."""
        clips = {
            "curated": len(self._clips.curated),
            "random": len(self._clips.subset(0)),
            "pool": len(self._clips.pool),
        }
        sources = {f"held-out sources, {name}": num_sources(found.held_out) for name, found in self._held_out.items()}
        return clips | sources

    def config(self, seed: int) -> Config:
        """Return all settings of a seed: at size `full` those of the root, else the demo's small ones."""
        own = self._job.config
        if self._scope.size != "full":
            found = dataclasses.replace(small_world(self._scope, seed), clips=own.clips, split=own.split)
        else:
            found = with_steps(own, self._scope.steps)
            threads = self._scope.threads or found.training.threads
            found = dataclasses.replace(found, training=dataclasses.replace(found.training, seed=seed, threads=threads))
        per_source = max(found.evaluation.clips_per_source, _CLIPS_PER_SOURCE)
        # all figures begin at one frame, and the report has those of the 4th
        evaluation = dataclasses.replace(
            found.evaluation, clips_per_source=per_source, prompt_frames=1, seed=0,
            horizon=max(found.evaluation.horizon, _HORIZON),
        )  # fmt: skip
        return dataclasses.replace(found, evaluation=evaluation)

    def runs(self) -> list[Run]:
        """Return each arm with each seed; the arms of a seed stand side by side."""
        found = []
        # what is missing is told before anything is trained
        sources = self.counts()
        for seed in range(self._scope.seeds):
            config = self.config(seed)
            names = ("tokenizer", "latent_actions", "dynamics", "evaluation")
            settings = {name: getattr(config, name) for name in names}
            settings |= {"training": list(shared_training(config)), "sources": sources}
            found += [Run(arm, seed, settings) for arm in get_args(Arm)]
        return found

    @cached_property
    def _tokenizer(self) -> VideoTokenizer:
        return self._workshop.tokenizer(self.config(0), self._footage(self._clips.pool, []))

    def prepare(self, run: Run, say: ProgressCallback) -> None:
        """Train the tokenizer of all arms."""
        _ = self._tokenizer

    def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
        """Train the LAM and the dynamics of an arm, and measure them on both references."""
        config = self.config(run.seed)
        clips = {"curated": self._clips.curated, "random": self._clips.subset(run.seed), "pool": self._clips.pool}
        footage = self._footage(clips[run.arm], [])
        about = fingerprint(config.tokenizer, self._clips.version)
        world = self._workshop.world(config, self._tokenizer, footage, say, about=about)
        figures: dict[str, Any] = {
            name: measure(world, own.held_out, config.evaluation, infer(world, own.held_out, config.evaluation))
            for name, own in self._held_out.items()
        }
        return {"clips": len(clips[run.arm]), **figures}

    def end(self) -> None:
        """Delete the tokenizer and the states of trainings."""
        self._workshop.clear()

    def differences(self, finished: Sequence[Finished], reference: Reference) -> list[Difference]:
        """Return how the curated set differs from the others, on a reference."""
        return [
            difference(finished, "curated", other, figure, lambda result: result[reference])
            for other in ("random", "pool")
            for figure in FIGURES
        ]

    def mean(self, finished: Sequence[Finished], arm: str, key: str, reference: Reference = "curated") -> float | None:
        """Return the mean of a figure over the seeds of an arm."""
        return mean_of_arm(finished, arm, key, lambda result: result[reference])["value"]

    def report(self, finished: Sequence[Finished]) -> Report:
        """Return the direction of each difference with its intervals, whatever it is."""
        sentences, tables, charts, figures = [self._counted()], [], [], dict[str, Any]()
        for name, words in _REFERENCES.items():
            found = self.differences(finished, name)
            told = [each for each in found if each.figure in (LOSS, NEXT_FRAME, CONTROL)]
            sentences += [
                f"{words[0].upper()}{words[1:]}, {each.sentence()}" for each in told if each.against == "random"
            ]
            table = arms_table(
                finished,
                get_args(Arm),
                FIGURES,
                f"Arms, {words}",
                lambda result, name=name: result[name],  # type: ignore[misc]
            )
            tables += [table, differences_table(found, f"Differences, paired, {words}")]
            for against in ("random", "pool"):
                own = [each for each in found if each.against == against]
                chart = differences_chart(
                    [each._replace(arm=each.figure.title) for each in own if each.figure is not LOSS],
                    f"curated less {against}, dB, {words} (95 % over seeds)",
                )
                charts += [] if chart is None else [chart]
            figures[name] = as_json(found)
        return Report(sentences, tables, charts, {**figures, "counts": self.counts()})

    def _counted(self) -> str:
        counts = self.counts()
        return (
            f"{counts['curated']} curated clips, {counts['random']} of a random subset, {counts['pool']} in the pool; "
            f"{counts['held-out sources, curated']} held-out sources with curated clips, "
            f"{counts['held-out sources, pool']} in all."
        )


def with_steps(config: Config, steps: int | None) -> Config:
    """Return a configuration with so many steps of the tokenizer, and again of the world; None leaves it as it is."""
    if steps is None:
        return config
    # the unquantized steps keep their share
    alone = config.latent_actions.unquantized_steps
    share = alone / max(alone + config.dynamics.steps, 1)
    return dataclasses.replace(
        config,
        tokenizer=dataclasses.replace(config.tokenizer, steps=steps),
        dynamics=dataclasses.replace(config.dynamics, steps=max(1, steps - round(share * steps))),
        latent_actions=dataclasses.replace(config.latent_actions, unquantized_steps=round(share * steps)),
    )


def ablation(job: Job, *, steps: int, seeds: int) -> tuple[CurationStudy, list[Finished]]:
    """Make the study with the configured model, for so many steps; what it has measured is kept in the home.

    Raises:
        UserError: there are no shards, or no source is held out.
    """
    from models.studies.runner import make_runs

    folder = job.home.folder / "studies" / CurationStudy.name
    study = CurationStudy(Scope(folder, job, "full", seeds, steps))
    return study, make_runs(study, folder, job.on_progress)
