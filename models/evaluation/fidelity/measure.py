"""All figures of fidelity of generated videos beside the true ones: what every judge of rollouts calls.

Videos come in parts, of which one at a time is held; what stays of each is its features and its means.

Shapes: N videos, T frames, H W C pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.distances.ssim import LEAST_SIDE, ssim
from models.evaluation.fidelity.figure import Figure, Figures, absent, of_metric, sources_needed, too_few
from models.evaluation.fidelity.sets import FeatureSets, figure_names, set_distances
from models.evaluation.metric import mean_over_sources
from models.features.choose import MissingNet
from models.features.lite0 import DIFFERENCES, frame_distances
from models.features.net import FeatureNet, features
from models.metrics import psnr
from pipeline.config import EvaluationConfig
from pipeline.feature_nets import LITE0

Video = NDArray[np.uint8]
MapParts = Callable[[Callable[[Tensor], Tensor], Sequence[Tensor]], list[Tensor]]
PART = 16
"""Videos of a part: a multiple of the networks' batch, so that parts change no figure."""
DISTANCE = f"rollout_distance[{LITE0}]"
"""Name of the figure of the deep features of pairs of frames."""
LEAST_PAIRED_SOURCES = 2
"""Fewer sources have no interval of a mean."""


@dataclass(frozen=True, eq=False)
class Videos:
    """Generated videos beside the true ones, frame by frame."""

    true_NTHWC: Video
    generated_NTHWC: Video
    reconstructed_NTHWC: Video | None
    """The tokenizer's reconstructions of the true videos; None where there is no tokenizer."""
    sources: list[str]
    """The source of each video."""

    def sets(self) -> list[Video]:
        """Return the true, the generated and, where there are some, the reconstructed videos."""
        found = [self.true_NTHWC, self.generated_NTHWC]
        return found if self.reconstructed_NTHWC is None else [*found, self.reconstructed_NTHWC]


def measure_fidelity(
    parts: Iterable[Videos],
    nets: Sequence[FeatureNet | MissingNet],
    config: EvaluationConfig,
    more: str,
    num_sources: int,
    map_parts: MapParts | None = None,
) -> Figures:
    """Return every figure, in the order in which they are read.

    Where there are too few sources for distances of sets, no network runs for them.

    Args:
        parts: what is compared: parts of `PART` videos each, the last one of fewer.
        nets: networks of features, and those that are missing.
        config: `fidelity_stride`, `fidelity_draws`, `min_sources`, `bootstrap_draws` and `seed`.
        more: how there can be more sources, for figures that have too few.
        num_sources: sources of all parts.
        map_parts: see `models.features.net.features`.
    """
    needed = sources_needed(config.min_sources)
    enough = num_sources >= needed
    usable = [net for net in nets if isinstance(net, FeatureNet) and enough]
    distance = next((net for net in nets if net.name == LITE0), None)
    vectors: list[list[list[NDArray[np.float64]]]] = [[] for _ in usable]
    means: dict[str, list[list[NDArray[np.float64]]]] = {}
    sources: list[str] = []
    for part in parts:
        sources += part.sources
        for found, each in zip(vectors, usable, strict=True):
            found.append(_features(part, each, config.fidelity_stride, map_parts))
        for name, values in _pairs(part, config.fidelity_stride, distance is not None).items():
            means.setdefault(name, []).append(values)
    figures: Figures = {}
    by_net = dict(zip((net.name for net in usable), vectors, strict=True))
    for net in nets:
        if isinstance(net, MissingNet):
            figures |= _without_value(net, absent(net.reason))
        elif not enough:
            figures |= _without_value(net, too_few(num_sources, needed, more))
        else:
            sets = [np.concatenate(each) for each in zip(*by_net[net.name], strict=True)]
            figures |= set_distances(FeatureSets(net, sets, sources), config)
    for name, by_part in means.items():
        values = [np.concatenate(both) for both in zip(*by_part, strict=True)]
        figures[name] = _paired_figure(values, sources, config, more)
        if name == DISTANCE and isinstance(distance, FeatureNet):
            figures[name]["net"] = distance.facts()
    return figures


def no_figures(nets: Sequence[FeatureNet | MissingNet], reason: str) -> Figures:
    """Return every figure without a value, because nothing can be compared.

    Args:
        nets: networks of features, and those that are missing.
        reason: why, and what to do.
    """
    figures: Figures = {}
    for net in nets:
        figures |= _without_value(net, absent(net.reason if isinstance(net, MissingNet) else reason))
    figures |= {name: absent(reason) for name in ("rollout_psnr", "rollout_ssim")}
    if distance := next((net for net in nets if isinstance(net, FeatureNet) and net.name == LITE0), None):
        figures[DISTANCE] = absent(reason)
        figures[DISTANCE]["net"] = distance.facts()
    return figures


def _without_value(net: FeatureNet | MissingNet, figure: Figure) -> Figures:
    figures: Figures = {}
    for name in figure_names(net):
        figures[name] = figure.copy()
        if isinstance(net, FeatureNet):
            figures[name]["net"] = net.facts()
    return figures


def in_parts(videos: Videos) -> Iterable[Videos]:
    """Yield videos that are all in memory in parts."""
    for start in range(0, len(videos.sources), PART):
        part = slice(start, start + PART)
        again = videos.reconstructed_NTHWC
        yield Videos(
            videos.true_NTHWC[part],
            videos.generated_NTHWC[part],
            None if again is None else again[part],
            videos.sources[part],
        )


def looked_at(count: int, stride: int) -> NDArray[np.int64]:
    """Return the frames that enter figures per frame: the last one of every `stride`.

    Two at least are returned of videos of two frames or more, because a difference needs two.
    """
    step = min(stride, max(1, count // 2))
    return np.arange(step - 1, count, step)


def _features(videos: Videos, net: FeatureNet, stride: int, map_parts: MapParts | None) -> list[NDArray[np.float64]]:
    step = stride if net.kind == "frames" or net.name == DIFFERENCES else 1
    return [features(net, each[:, looked_at(each.shape[1], step)], map_parts) for each in videos.sets()]


def _pairs(videos: Videos, stride: int, with_distance: bool) -> dict[str, list[NDArray[np.float64]]]:
    """Return by figure its value (N,) for the generated videos and, where there are some, the reconstructed ones."""
    truth = videos.true_NTHWC
    places = looked_at(truth.shape[1], stride)
    found = {"rollout_psnr": [_psnr(truth, guess) for guess in videos.sets()[1:]]}
    if min(truth.shape[2:4]) >= LEAST_SIDE:
        found["rollout_ssim"] = [_ssim(truth[:, places], guess[:, places]) for guess in videos.sets()[1:]]
    if with_distance:
        found[DISTANCE] = _distances(*(each[:, places] for each in videos.sets()))
    return found


def _paired_figure(
    values: list[NDArray[np.float64]], sources: list[str], config: EvaluationConfig, more: str
) -> Figure:
    if (count := len(set(sources))) < LEAST_PAIRED_SOURCES:
        return too_few(count, LEAST_PAIRED_SOURCES, more)
    means = [mean_over_sources(each, sources, config) for each in values]
    figure = of_metric(means[0])
    figure["num_samples"] = len(sources)
    if len(means) > 1:
        figure["floors"] = {"tokenizer": means[1]}
    return figure


def frame_psnr(truth_THWC: Video, guess_THWC: Video) -> NDArray[np.float64]:
    """Return the PSNR (T,) of each frame; one frame at a time becomes floating point numbers, which large ones need."""
    return np.array([psnr(one, other) for one, other in zip(truth_THWC, guess_THWC, strict=True)], np.float64)


def _psnr(truth: Video, guess: Video) -> NDArray[np.float64]:
    return np.array([frame_psnr(one, other).mean() for one, other in zip(truth, guess, strict=True)])


def _ssim(truth: Video, guess: Video) -> NDArray[np.float64]:
    return np.array([ssim(one, other).mean() for one, other in zip(truth, guess, strict=True)])


def _distances(truth: Video, *guesses: Video) -> list[NDArray[np.float64]]:
    """Return by guess the mean distance (N,) of its frames."""
    found: list[list[float]] = [[] for _ in guesses]
    for place in range(len(truth)):
        one, *others = (torch.from_numpy(np.ascontiguousarray(video[place : place + 1])) for video in (truth, *guesses))
        for values, distance in zip(found, frame_distances(one, others, torch.device("cpu")), strict=True):
            values.append(float(distance.mean()))
    return [np.array(values) for values in found]
