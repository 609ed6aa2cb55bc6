"""The Frechet video distance of a world's rollouts, kept so that two worlds can be compared by held-out source.

    own = video_distance(world, clips, codes, config, net)      # JSON-able; once for each world
    distance_difference([own of seed 0, ..], [other of seed 0, ..])

The distance is one number for a set of videos, so there is none per source. What chance of the sources leaves open is
the spread over halves of them (`models.distances.halves`). The halves are the same for all worlds on the same held-out
sources, so that differences of two worlds are paired by half.

Shapes: N videos, T frames, D features, S sources, K halves, R seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.distances.frechet import frechet
from models.distances.halves import draw_halves, spread_of
from models.evaluation.fidelity.figure import LEAST_SOURCES
from models.evaluation.fidelity.of_world import rolled_out
from models.evaluation.held_out import HeldOutClip
from models.evaluation.metric import Metric, unknown
from models.evaluation.world_interface import World
from models.features.choose import choose_nets
from models.features.net import FeatureNet, features
from models.studies.intervals import TOO_FEW, Better, over_seeds, verdict
from pipeline.config.evaluation import EvaluationConfig
from pipeline.feature_nets import LITE0, TRANSNET, missing_because

_BETTER: Better = "lower"


def video_net(video_shape: tuple[int, int, int]) -> FeatureNet:
    """Return the network of features of videos: TransNetV2 where it is installed, else that of frame differences.

    Args:
        video_shape: frames, height and width.
    """
    names = [LITE0 if missing_because(TRANSNET) else TRANSNET]
    nets = choose_nets(names, video_shape, torch.device("cpu"))
    return next(net for net in nets if isinstance(net, FeatureNet) and net.kind == "video")


def video_distance(
    world: World,
    clips: Sequence[HeldOutClip],
    codes: Sequence[np.ndarray],
    config: EvaluationConfig,
    net: FeatureNet,
) -> dict[str, Any]:
    """Return the distance of rollouts under inferred actions from the true videos that they follow, as JSON has it.

    Args:
        world: the world model.
        clips: held-out clips.
        codes: the actions inferred from each clip.
        config: sampling; `fidelity_frames`, `fidelity_windows` and `fidelity_draws`.
        net: gives the features.
    """
    videos = rolled_out(world, clips, codes, config)
    true, generated, again = (features(net, each) for each in videos.sets())
    of_source = np.unique(videos.sources, return_inverse=True)[1]
    count = int(of_source.max()) + 1
    about = {"net": dict(net.facts()), "num_sources": count, "num_videos": len(true), "frames": config.fidelity_frames}
    if count < LEAST_SOURCES:
        return {**about, "value": None, "tokenizer": None, "halves": None, "by_half": []}
    halves_KS = draw_halves(count, config.fidelity_draws, config.seed)
    rows = [half[of_source] for half in halves_KS]
    return {
        **about,
        "value": frechet(true, generated),
        "tokenizer": frechet(true, again),
        "halves": float(np.mean([frechet(true[~row], true[row]) for row in rows])),
        "by_half": [round(frechet(true[row], generated[row]), 6) for row in rows],
    }


def distance_name(distance: Mapping[str, Any]) -> str:
    """Return the figure's name, which holds that of its network."""
    return f"FVD[{distance['net']['name']}]"


def mean_distance(distances_R: Sequence[Mapping[str, Any]], key: str = "value") -> Metric:
    """Return the mean over seeds of a distance, or of the floor `tokenizer` or `halves`, with its interval."""
    return over_seeds([float("nan") if each[key] is None else each[key] for each in distances_R])


def distance_difference(
    one_R: Sequence[Mapping[str, Any]], other_R: Sequence[Mapping[str, Any]]
) -> tuple[Metric, Metric, str]:
    """Return the difference of two worlds by seed and by source, and what it says.

    Args:
        one_R: distances of the one, by seed.
        other_R: those of the other, for the same seeds and held-out sources.
    """
    sources = one_R[0]["num_sources"]
    if sources < LEAST_SOURCES:
        few = f"{TOO_FEW}: {sources} held-out sources, and {LEAST_SOURCES} are needed for halves of them"
        return unknown(few), unknown(few), few
    by_seed = over_seeds([one["value"] - other["value"] for one, other in zip(one_R, other_R, strict=True)])
    value, halves_K = _mean_of(one_R), _halves(one_R)
    spread = spread_of(value - _mean_of(other_R), halves_K - _halves(other_R), sources)
    by_source: Metric = {"value": by_seed["value"], "low": spread.low, "high": spread.high, "num_sources": sources}
    return by_seed, by_source, verdict(by_seed, by_source, _BETTER, seeds=len(one_R), sources=sources)


def _mean_of(distances_R: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([each["value"] for each in distances_R]))


def _halves(distances_R: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return the mean over seeds of the distance of each half (K,)."""
    return np.mean([each["by_half"] for each in distances_R], 0, dtype=np.float64)
