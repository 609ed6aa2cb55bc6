"""Loss against the size of the dynamics, and against the batch at equal tokens: figures 9 and 10 of Genie in small.

True actions lead the dynamics, so that its loss does not depend on what a LAM has learned; all runs share one
tokenizer, so their losses are of the same tokens. The loss is the cross-entropy of the next frame's tokens on held-out
levels, the frame itself wholly masked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from models.metrics import bootstrap
from models.networks.tokenizer import VideoTokenizer
from models.registry import parameters_of
from models.studies.arms import shown_cpu_s
from models.studies.intervals import MIN_SEEDS, MIN_SOURCES, TOO_FEW, over_seeds, shown
from models.studies.power_law import PowerLaw, fit_power_law
from models.studies.settings import levels_of, small_world
from models.studies.study import Curves, Finished, Report, Run, Scope, Size, Study, Table
from models.studies.worlds import Footage, Workshop, infer, measure
from pipeline.config import Config, fingerprint
from pipeline.progress import ProgressCallback

Kind = Literal["size", "batch"]
_SIZES: dict[Size, tuple[tuple[int, int], ...]] = {
    "tiny": ((1, 16), (1, 32)),
    "toy": ((1, 16), (1, 32), (2, 48), (2, 72), (3, 96)),
    "full": ((4, 128), (6, 256), (8, 512), (12, 768), (16, 1024)),
}
"""Layers and width of the dynamics."""
_BATCHES: dict[Size, tuple[int, ...]] = {"tiny": (1, 2), "toy": (2, 4, 8, 16), "full": (16, 32, 64, 128, 256)}


class _Arm(NamedTuple):
    """One dynamics and how it is trained."""

    layers: int
    width: int
    batch: int

    @property
    def title(self) -> str:
        return f"{self.layers} layers of {self.width}, batch {self.batch}"


_Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""The results of each arm, one per seed."""


class ScalingStudy(Study):
    """Loss against the size of the dynamics and against its batch."""

    name, version = "scaling", 1
    title = "Scaling: how does the loss fall with the size of the dynamics, and with its batch?"
    about = (
        "Figures 9 and 10 of the paper in small: one dynamics per size at the same batch and steps, and one per batch "
        "at as many windows in all (the paper gives larger batches more). All read the tokens of one tokenizer and are "
        "led by the true actions, so the loss depends on no LAM. It is the cross-entropy of the next frame's tokens on "
        "held-out levels of the embedded platformer, the frame itself wholly masked. The line is a power law; the "
        "interval of its power resamples seeds and levels."
    )

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._workshop = Workshop(scope, self)

    @cached_property
    def _footage(self) -> Footage:
        return levels_of(self._scope.size)

    def data(self) -> str:
        """Return which levels there are."""
        return self._footage.version

    def _arms(self, kind: Kind) -> list[_Arm]:
        """Return the sizes at the middle batch, or the batches at the middle size."""
        sizes, batches = _SIZES[self._scope.size], _BATCHES[self._scope.size]
        size, batch = sizes[len(sizes) // 2], batches[len(batches) // 2]
        return [_Arm(*own, batch) for own in sizes] if kind == "size" else [_Arm(*size, own) for own in batches]

    def runs(self) -> list[Run]:
        """Return each size and each batch with each seed; the middle of both is one arm."""
        found = []
        for arm in dict.fromkeys([*self._arms("size"), *self._arms("batch")]):
            for seed in range(self._scope.seeds):
                config = self._config(arm, seed)
                settings = {name: getattr(config, name) for name in ("tokenizer", "dynamics", "evaluation")}
                found.append(Run(arm.title, seed, settings))
        return found

    def _config(self, arm: _Arm, seed: int) -> Config:
        base, batches = small_world(self._scope, seed), _BATCHES[self._scope.size]
        # as many windows in all, whatever the batch
        steps = max(1, base.dynamics.steps * batches[len(batches) // 2] // arm.batch)
        optimizer = dataclasses.replace(base.dynamics.optimizer, warmup_steps=max(1, steps // 20))
        own = base.dynamics.stack
        stack = dataclasses.replace(own, layers=arm.layers, d_model=arm.width, head_dim=arm.width // own.heads)
        dynamics = dataclasses.replace(base.dynamics, stack=stack, batch=arm.batch, steps=steps, optimizer=optimizer)
        # the loss is asked about, and the next frame beside it: longer rollouts would cost more than the training
        evaluation = dataclasses.replace(base.evaluation, horizon=1, random_draws=1)
        return dataclasses.replace(base, dynamics=dynamics, evaluation=evaluation)

    @cached_property
    def _tokenizer(self) -> VideoTokenizer:
        return self._workshop.tokenizer(small_world(self._scope, 0), self._footage)

    def prepare(self, run: Run, say: ProgressCallback) -> None:
        """Train the tokenizer of all runs."""
        _ = self._tokenizer

    def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
        """Train one dynamics and measure it."""
        [arm] = {arm for kind in get_args(Kind) for arm in self._arms(kind) if arm.title == run.arm}
        config = self._config(arm, run.seed)
        shared = fingerprint(small_world(self._scope, 0).tokenizer)
        training = self._workshop.world(config, self._tokenizer, self._footage, say, about=shared, oracle=True)
        clips, settings = self._footage.held_out, config.evaluation
        found = measure(training, clips, settings, infer(training, clips, settings, oracle=True))
        about = {"parameters": parameters_of(training.dynamics), "batch": config.dynamics.batch}
        return {**about, "steps": config.dynamics.steps, **found}

    def end(self) -> None:
        """Delete the tokenizer and the states of trainings."""
        self._workshop.clear()

    def report(self, finished: Sequence[Finished]) -> Report:
        """Return the losses, a line through them, and what it leaves open."""
        sentences, tables, charts, figures = [], [], [], {}
        for kind, unit in (("size", "parameters"), ("batch", "windows a step")):
            titles = [arm.title for arm in self._arms(kind)]  # type: ignore[arg-type]
            arms = {title: [result for run, result in finished if run.arm == title] for title in titles}
            points = _points(arms, kind)
            law = fit_power_law(np.array([x for x, _ in points]), [loss for _, loss in points])
            sentences.append(_sentence(kind, law, points))
            tables.append(_table(arms, kind))
            charts.append(_chart(kind, unit, law, points))
            figures[kind] = {**law._asdict(), "x": [x for x, _ in points], "loss": [float(y.mean()) for _, y in points]}
        return Report(sentences, tables, charts, figures)


def _points(arms: _Results, kind: str) -> list[tuple[float, np.ndarray]]:
    """Return size and losses (R, S) of each arm, in order of size."""
    field = "parameters" if kind == "size" else "batch"
    return sorted(
        ((float(own[0][field]), np.array([result["cross_entropy"] for result in own])) for own in arms.values()),
        key=lambda point: point[0],
    )


def _sentence(kind: str, law: PowerLaw, points: Sequence[tuple[float, np.ndarray]]) -> str:
    seeds, sources = points[0][1].shape
    what = "size of the dynamics" if kind == "size" else "batch, at as many windows in all,"
    if seeds < MIN_SEEDS or sources < MIN_SOURCES:
        asked = f"{seeds} seeds, {sources} levels; {MIN_SEEDS} and {MIN_SOURCES} are asked for"
        return f"Whether the held-out loss falls with the {what.rstrip(',')} is {TOO_FEW} ({asked})."
    direction = "falls" if law.low > 0 else "rises" if law.high < 0 else "neither falls nor rises for certain"
    return (
        f"With the {what} the held-out loss {direction}: it goes with the power {-law.exponent:+.3f} "
        f"(95 % {-law.high:+.3f} to {-law.low:+.3f}; {seeds} seeds and {sources} levels resampled), over a factor of "
        f"{points[-1][0] / points[0][0]:.0f}; the points lie {100 * law.residual:.1f} % from the line."
    )


def _table(arms: _Results, kind: str) -> Table:
    rows = [
        (
            f"{own[0]['parameters']:,}",
            str(own[0]["batch"]),
            f"{own[0]['steps']:,}",
            shown(over_seeds([float(np.mean(result["cross_entropy"])) for result in own]), 3),
            shown(over_seeds([float(np.mean(result["psnr_t1"])) for result in own])),
            shown_cpu_s(own),
        )
        for own in arms.values()
    ]
    header = ("parameters", "batch", "steps", "cross-entropy, nat", "next frame, dB", "CPU-s a run")
    return Table(header, rows, "By size" if kind == "size" else "By batch, at as many windows in all")


def _chart(kind: str, unit: str, law: PowerLaw, points: Sequence[tuple[float, np.ndarray]]) -> Curves:
    bands = []
    for x, loss in points:
        around = bootstrap(loss.mean(0), draws=1000, seed=0)
        assert around is not None
        bands.append((x, around.low, around.high))
    measured = [(x, float(loss.mean())) for x, loss in points]
    return Curves(
        f"held-out cross-entropy against {'parameters' if kind == 'size' else 'batch'}",
        {"measured (band: 95 % over levels)": measured, "power law": [(x, law.at(x)) for x, _ in points]},
        {"measured (band: 95 % over levels)": bands},
        unit,
        log_x=True,
    )
