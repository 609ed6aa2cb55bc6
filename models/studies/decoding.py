"""MaskGIT's steps and order against quality and time: one world per seed, played in each way."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from models.evaluation.cpu_parallel_world import CpuParallelWorld
from models.evaluation.rollouts import draw_tokens, encode
from models.evaluation.windows import cut_windows
from models.runtime.compute import intra_op_threads
from models.runtime.cpu_parallel import CpuParallel
from models.studies.arms import Figure, arms_table, as_json, difference, differences_table, mean_of_arm
from models.studies.settings import levels_of, small_world
from models.studies.study import Curves, Finished, Report, Run, Scope, Size, Study
from models.studies.worlds import Footage, Inferred, Workshop, infer, measure
from models.training.world_training import WorldTraining
from models.world.world import WorldModel
from pipeline.config import Config, fingerprint
from pipeline.config.evaluation import EvaluationConfig
from pipeline.progress import ProgressCallback

Order = Literal["confidence", "random", "halton"]
_STEPS: dict[Size, tuple[int, ...]] = {"tiny": (1, 2), "toy": (1, 2, 4, 8), "full": (1, 2, 4, 8, 16, 25)}
_FIGURES = (
    Figure("psnr_t1", "next frame, dB", "higher"),
    Figure("psnr_t4", "4th frame, dB", "higher"),
    Figure("delta_t_psnr_permuted", "delta-t PSNR, permuted, dB", "higher"),
    Figure("ms_a_frame", "CPU-ms a frame", "lower", 1),
)


class _Way(NamedTuple):
    """How tokens are drawn."""

    order: Order
    steps: int

    @property
    def arm(self) -> str:
        # with one step nothing is left to order
        return "one step" if self.steps == 1 else f"{self.order}, {self.steps} steps"


class DecodingStudy(Study):
    """`maskgit_steps` and `unmask_order`."""

    name, version = "decoding", 1
    title = "Decoding: steps and order against quality and time"
    about = (
        "The paper takes 25 steps and names no order; others found random or spread orders better than the most "
        "confident tokens first, and two steps enough. Here one world per seed, led by its LAM, is played on held-out "
        "levels of the embedded platformer in each way, at temperature 1. Time is that of drawing tokens, without the "
        "tokenizer's decoder."
    )

    def __init__(self, scope: Scope) -> None:
        self._scope, self._workshop = scope, Workshop(scope, self)
        self._worlds: dict[int, tuple[WorldTraining, Inferred]] = {}

    @cached_property
    def _footage(self) -> Footage:
        return levels_of(self._scope.size)

    def data(self) -> str:
        """Return which levels there are."""
        return self._footage.version

    def _ways(self) -> list[_Way]:
        one, *more = _STEPS[self._scope.size]
        return [_Way("confidence", one), *(_Way(order, steps) for order in get_args(Order) for steps in more)]

    def _config(self, way: _Way, seed: int) -> Config:
        config = small_world(self._scope, seed)
        # one prompt, and one draw of random actions: what differs is how frames are drawn
        evaluation = dataclasses.replace(
            config.evaluation, maskgit_steps=way.steps, unmask_order=way.order, unmask_schedule="cosine",
            token_temperature=1.0, random_draws=1, windows_per_clip=1,
        )  # fmt: skip
        return dataclasses.replace(config, evaluation=evaluation)

    def runs(self) -> list[Run]:
        """Return each way of a world, seed by seed."""
        seeds = range(self._scope.seeds)
        return [Run(way.arm, seed, self._settings(way, seed)) for seed in seeds for way in self._ways()]

    def _settings(self, way: _Way, seed: int) -> dict[str, Any]:
        config = self._config(way, seed)
        return {name: getattr(config, name) for name in ("tokenizer", "latent_actions", "dynamics", "evaluation")}

    def prepare(self, run: Run, say: ProgressCallback) -> None:
        """Train the world of a seed."""
        [way] = [way for way in self._ways() if way.arm == run.arm]
        self._world(self._config(way, run.seed), run.seed, say)

    def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
        """Play the world of a seed in one way."""
        [way] = [way for way in self._ways() if way.arm == run.arm]
        config = self._config(way, run.seed)
        world, inferred = self._world(config, run.seed, say)
        found = measure(world, self._footage.held_out, config.evaluation, inferred)
        return {**found, "ms_a_frame": self._ms_a_frame(world, config.evaluation), "steps": way.steps}

    def _world(self, config: Config, seed: int, say: ProgressCallback) -> tuple[WorldTraining, Inferred]:
        """Return the world of a seed, and what is the same however its frames are drawn."""
        if seed not in self._worlds:
            shared = small_world(self._scope, 0)
            tokenizer = self._workshop.tokenizer(shared, self._footage, say)
            about = fingerprint(shared.tokenizer)
            world = self._workshop.world(config, tokenizer, self._footage, say, about=about)
            self._worlds = {seed: (world, infer(world, self._footage.held_out, config.evaluation))}
        return self._worlds[seed]

    def _ms_a_frame(self, training: WorldTraining, settings: EvaluationConfig) -> float:
        """Return the CPU-milliseconds of drawing the tokens of a frame."""
        model = WorldModel(training.tokenizer, training.lam, training.dynamics, compute=training.compute)
        windows = cut_windows(self._footage.held_out, settings)
        count = len(windows.clips)
        with intra_op_threads():
            world = CpuParallelWorld(model, CpuParallel(training.compute, 16))
            tokens = encode(world, windows.video_NTHWC[:, :1])
            actions = np.zeros((count, settings.horizon), np.int64)
            draw_tokens(world, tokens[:1], actions[:1], settings, seed=0)
            before = time.process_time()
            draw_tokens(world, tokens, actions, settings, seed=0)
            return round(1000 * (time.process_time() - before) / (count * settings.horizon), 3)

    def end(self) -> None:
        """Delete the states of trainings."""
        self._workshop.clear()

    def report(self, finished: Sequence[Finished]) -> Report:
        """Return quality and time of each way; each order against the most confident first at as many steps."""
        arms = [way.arm for way in self._ways()]
        found = [
            difference(finished, _Way(order, steps).arm, _Way("confidence", steps).arm, figure)
            for figure in (_FIGURES[0], _FIGURES[2])
            for steps in _STEPS[self._scope.size][1:]
            for order in get_args(Order)[1:]
        ]
        most = _STEPS[self._scope.size][-1]
        few = [difference(finished, "one step", _Way("confidence", most).arm, figure) for figure in _FIGURES]
        tables = [
            arms_table(finished, arms, _FIGURES, "Each way"),
            differences_table([*few, *found], "Differences, paired"),
        ]
        charts = [self._chart(finished, figure) for figure in _FIGURES]
        said = [each.sentence() for each in (*few, *found[-2:])]
        return Report(said, tables, charts, {"differences": as_json([*few, *found])})

    def _chart(self, finished: Sequence[Finished], figure: Figure) -> Curves:
        series, bands = {}, {}
        for order in get_args(Order):
            means = {
                float(steps): mean_of_arm(finished, _Way(order, steps).arm, figure.key)
                for steps in _STEPS[self._scope.size]
            }
            series[order] = [(steps, mean["value"]) for steps, mean in means.items() if mean["value"] is not None]
            ends = [(steps, mean.get("low"), mean.get("high")) for steps, mean in means.items()]
            bands[order] = [(steps, low, high) for steps, low, high in ends if low is not None and high is not None]
        return Curves(f"{figure.title} (bands: 95 % over seeds)", series, bands, "MaskGIT steps", log_x=True)
