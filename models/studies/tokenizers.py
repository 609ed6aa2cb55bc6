"""Tokenizers of three architectures and equal size, and the worlds that are trained on them: table 3 of Genie."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args

from models.bench.tokenizers import Architecture, at_equal_size, kept_for_backward_mb
from models.studies.arms import (
    Difference,
    Figure,
    differences_chart,
    differences_table,
    mean_of_arm,
    shown_cpu_s,
)
from models.studies.intervals import shown
from models.studies.settings import small_fidelity
from models.studies.study import Finished, Report, Size, Table
from models.studies.video_distance import distance_difference, distance_name, mean_distance
from models.studies.world_arms import CONTROL, FIGURES, Change, WorldArms
from models.studies.worlds import Inferred, rollouts_distance
from models.training.world_training import WorldTraining
from pipeline.config import Config
from pipeline.config.stack import StackConfig

_FRAMES = 4
_STEPS: dict[Size, int] = {"tiny": 2, "toy": 6, "full": 2}
"""Times as many steps as a tokenizer that begins at patches."""


class TokenizerStudy(WorldArms):
    """ST-ViViT against ViT and C-ViViT."""

    name, version = "tokenizers", 2
    title = "Tokenizers: ViT, C-ViViT and ST-ViViT, and the worlds trained on them"
    about = (
        "Table 3 of the paper in small: three tokenizers of equal size (a wider feed-forward makes up for the second "
        "attention), steps and windows, each with the same LAM and dynamics trained on its tokens, on levels of the "
        "embedded platformer. The paper names FVD and delta-t PSNR: 114.5 and 1.39 for ViT, 272.7 and 1.37 for "
        "C-ViViT, 81.4 and 1.66 for ST-ViViT. Losses of different tokens cannot be compared, so pixels are. The "
        "Frechet video distance is of the worlds' rollouts under inferred actions, on the features of the network that "
        "its name holds: it is no I3D-FVD, and compares within this table alone. Memory is what a forward pass of a "
        "training batch keeps for its backward pass."
    )
    own_tokenizer = True

    def shared(self, config: Config) -> Config:
        """Return settings with windows in which time counts, and codes that begin at latents."""
        tokenizer, most = config.tokenizer, self._scope.steps
        steps = _STEPS[self._scope.size] * tokenizer.steps
        return dataclasses.replace(
            config,
            tokenizer=dataclasses.replace(
                tokenizer,
                window=_FRAMES,
                batch=max(1, tokenizer.batch // 2),
                steps=steps if most is None else min(steps, most),
                # patches begin with what all three would learn
                start="latents",
                encoder=_rotary(tokenizer.encoder),
                decoder=_rotary(tokenizer.decoder),
            ),
            dynamics=dataclasses.replace(config.dynamics, context=_FRAMES, batch=max(1, config.dynamics.batch // 2)),
            evaluation=small_fidelity(config.evaluation, self._scope.size),
        )

    def arms(self) -> Mapping[str, Change]:
        """Return the architectures, the paper's own first."""
        return {name: partial(_with, name) for name in get_args(Architecture)}

    def measure_more(self, world: WorldTraining, config: Config, inferred: Inferred) -> dict[str, Any]:
        """Return the distance of the world's rollouts, and the memory of a training step of its tokenizer."""
        return {
            "distance": rollouts_distance(world, self._footage.held_out, config.evaluation, inferred),
            "memory_mb": round(self._memory_mb(world, config), 1),
        }

    def _memory_mb(self, world: WorldTraining, config: Config) -> float:
        # the world's own tokenizer is frozen, and keeps nothing for a backward pass
        tokenizer = copy.deepcopy(world.tokenizer).train().requires_grad_(True)
        with self._footage.windows(config.training) as windows:
            video, _ = windows.batch(seed=0, batch=config.tokenizer.batch, window=config.tokenizer.window)
        return kept_for_backward_mb(tokenizer, video, world.compute)

    def report(self, finished: Sequence[Finished]) -> Report:
        """Return the table of the paper, and how the others differ from its own architecture."""
        found = super().report(finished)
        distances = _distances(finished)
        [first, *others] = self.arms()
        figure = Figure(distance_name(distances[first][0]), distance_name(distances[first][0]), "lower")
        differences = [
            Difference(arm, first, figure, *distance_difference(distances[arm], distances[first])) for arm in others
        ]
        chart = differences_chart(differences, f"{figure.title}: difference from {first} (95 % over seeds)")
        table, paired = found.tables
        rows = [*differences_table(differences).rows, *paired.rows]
        return Report(
            [*(each.sentence() for each in differences), *found.sentences, _about(distances[first][0])],
            [self._paper_table(finished, figure.title), table, Table(paired.header, rows, paired.title)],
            [*([] if chart is None else [chart]), *found.charts],
            {**found.figures, "distances": {arm: list(own) for arm, own in distances.items()}},
        )

    def _paper_table(self, finished: Sequence[Finished], name: str) -> Table:
        """Return the columns of table 3, with the floors of the distance."""
        distances, rows = _distances(finished), []
        for arm in self.arms():
            own = [result for run, result in finished if run.arm == arm]
            rows.append(
                [
                    arm,
                    f"{own[0]['parameters']['tokenizer']:,}",
                    f"{own[0]['memory_mb']:.0f}",
                    shown(mean_distance(distances[arm])),
                    shown(mean_distance(distances[arm], "tokenizer")),
                    shown(mean_distance(distances[arm][:1], "halves")),
                    shown(mean_of_arm(finished, arm, FIGURES[3].key)),
                    shown(mean_of_arm(finished, arm, CONTROL.key)),
                    shown_cpu_s(own),
                ]
            )
        header = [
            "", "parameters", "memory, MB", name, "its floor: tokenizer", "its floor: halves of the true clips",
            FIGURES[3].title, CONTROL.title, "CPU-s a run",
        ]  # fmt: skip
        return Table(header, rows, "Table 3 of the paper, in small")


def _distances(finished: Sequence[Finished]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the distances of each arm, by seed."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run, result in sorted(finished, key=lambda each: each.run.seed):
        found.setdefault(run.arm, []).append(result["distance"])
    return found


def _about(distance: Mapping[str, Any]) -> str:
    """Return what the distance is of."""
    net, videos = distance["net"], distance["num_videos"]
    bias = " Fewer vectors than features bias it upwards." if videos < net["dimension"] else ""
    return (
        f"{distance_name(distance)}: {videos} rollouts of {distance['frames']} frames from one, of "
        f"{distance['num_sources']} held-out levels; {net['dimension']} features of {net['name']} (SHA-256 "
        f"{net['sha256'][:12]}, {net['input']}). Its interval over sources is by halves of the levels.{bias}"
    )


def _with(name: Architecture, config: Config) -> Config:
    return dataclasses.replace(config, tokenizer=at_equal_size(config.tokenizer, name))


def _rotary(stack: StackConfig) -> StackConfig:
    return dataclasses.replace(stack, temporal_positions="rotary")
