"""A study of worlds that differ in settings, trained on the same levels with the same seeds, each against the first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from models.networks.tokenizer import VideoTokenizer
from models.registry import parameters_of
from models.studies.arms import (
    Figure,
    arms_table,
    as_json,
    difference,
    differences_chart,
    differences_table,
    mean_of_arm,
    shown_cpu_s,
)
from models.studies.settings import levels_of, small_world
from models.studies.study import Finished, Report, Run, Scope, Study, Table
from models.studies.worlds import Footage, Inferred, Workshop, infer, measure
from models.training.world_training import WorldTraining
from pipeline.config import Config, fingerprint
from pipeline.progress import ProgressCallback

Change = Callable[[Config], Config]
CONTROL = Figure("delta_t_psnr_permuted", "delta-t PSNR, permuted, dB", "higher")
NEXT_FRAME = Figure("psnr_t1", "next frame, dB", "higher")
CROSS_ENTROPY = Figure("cross_entropy", "cross-entropy, nat", "lower", 3)
FIGURES = (
    Figure("psnr", "tokenizer, dB", "higher"),
    NEXT_FRAME,
    Figure("psnr_t4", "4th frame, dB", "higher"),
    Figure("delta_t_psnr", "delta-t PSNR, dB", "higher"),
    CONTROL,
)


class WorldArms(Study):
    """Settings side by side. The first arm is the one that the others are compared with."""

    oracle = False
    """Whether true actions lead the dynamics."""
    own_tokenizer = False
    """Whether arms differ in their tokenizers; else all share one."""
    figures: Sequence[Figure] = FIGURES
    headlines: Sequence[Figure] = (NEXT_FRAME, CONTROL)
    """Figures whose differences are told in words and drawn."""

    def __init__(self, scope: Scope) -> None:
        self._scope, self._workshop = scope, Workshop(scope, self)

    @abstractmethod
    def arms(self) -> Mapping[str, Change]:
        """Return what each arm changes of the settings that all share."""

    def shared(self, config: Config) -> Config:
        """Return the settings of all arms, given those of the size."""
        return config

    @cached_property
    def _footage(self) -> Footage:
        return levels_of(self._scope.size)

    def data(self) -> str:
        """Return which levels there are."""
        return self._footage.version

    def config(self, arm: str, seed: int) -> Config:
        """Return all settings of a run."""
        return self.arms()[arm](self.shared(small_world(self._scope, seed)))

    def runs(self) -> list[Run]:
        """Return each arm with each seed; the arms of a seed stand side by side."""
        return [
            Run(arm, seed, _sections(self.config(arm, seed)))
            for seed in range(self._scope.seeds)
            for arm in self.arms()
        ]

    def prepare(self, run: Run, say: ProgressCallback) -> None:
        """Train the tokenizer, where all arms share one."""
        if not self.own_tokenizer:
            self._tokenizer_of(run, say)

    def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
        """Train a world and measure it."""
        config = self.config(run.arm, run.seed)
        tokenizer, about = self._tokenizer_of(run, say)
        world = self._workshop.world(config, tokenizer, self._footage, say, about=about, oracle=self.oracle)
        clips, settings = self._footage.held_out, config.evaluation
        inferred = infer(world, clips, settings, oracle=self.oracle)
        found = measure(world, clips, settings, inferred)
        sizes = {name: parameters_of(network) for name, network in world.networks().items()}
        found |= self.measure_more(world, config, inferred)
        return {**found, "parameters": {"tokenizer": parameters_of(tokenizer), **sizes}}

    def measure_more(self, world: WorldTraining, config: Config, inferred: Inferred) -> dict[str, Any]:
        """Return what a study measures of each world beside what all of them do."""
        return {}

    @cached_property
    def _tokenizers(self) -> dict[str, VideoTokenizer]:
        return {}

    def _tokenizer_of(self, run: Run, say: ProgressCallback) -> tuple[VideoTokenizer, str]:
        """Return the tokenizer of a run, and what tells it from others."""
        config = self.config(run.arm, run.seed if self.own_tokenizer else 0)
        about = fingerprint(config.tokenizer, config.training.seed)
        if about not in self._tokenizers:
            self._tokenizers.clear()
            self._tokenizers[about] = self._workshop.tokenizer(config, self._footage, say)
        return self._tokenizers[about], about

    def end(self) -> None:
        """Delete the states of trainings."""
        self._workshop.clear()

    def report(self, finished: Sequence[Finished]) -> Report:
        """Return the figures of the arms, and their differences from the first one."""
        first, *others = self.arms()
        found = [difference(finished, arm, first, figure) for figure in self.headlines for arm in others]
        charts = [
            differences_chart(own, f"{figure.title}: difference from {first} (95 % over seeds)")
            for figure in self.headlines
            if (own := [each for each in found if each.figure is figure])
        ]
        return Report(
            [each.sentence() for each in found],
            [self.table(finished), differences_table(found, f"Differences from {first}, paired")],
            [chart for chart in charts if chart is not None],
            {"differences": as_json(found), "arms": self._json(finished)},
        )

    def table(self, finished: Sequence[Finished]) -> Table:
        """Return the table of the arms."""
        table = arms_table(finished, list(self.arms()), self.figures, "The arms")
        cost = [shown_cpu_s([result for run, result in finished if run.arm == arm]) for arm in self.arms()]
        size = [_parameters(finished, arm) for arm in self.arms()]
        header = [*table.header, "parameters", "CPU-s a run"]
        return type(table)(
            header, [[*row, *more] for row, *more in zip(table.rows, size, cost, strict=True)], table.title
        )

    def _json(self, finished: Sequence[Finished]) -> dict[str, Any]:
        return {
            arm: {figure.key: dict(mean_of_arm(finished, arm, figure.key)) for figure in self.figures}
            for arm in self.arms()
        }


def _sections(config: Config) -> dict[str, Any]:
    names = ("tokenizer", "latent_actions", "dynamics", "evaluation")
    return {name: getattr(config, name) for name in names}


def _parameters(finished: Sequence[Finished], arm: str) -> str:
    sizes = next(result["parameters"] for run, result in finished if run.arm == arm)
    return " + ".join(f"{size:,}" for size in sizes.values())
