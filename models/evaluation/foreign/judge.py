"""Judge the rollouts of any project by the folder that `models.evaluation.foreign.layout` describes.

An item that cannot be compared is named with its reason, and the others are judged. Frames are held for a part of the
items at a time, at most `MOST_TOGETHER` bytes of them. What the actions say is in `models.evaluation.foreign.actions`.

Shapes: N items, T frames, H W C pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.evaluation.fidelity.figure import Figure, Figures, of_metric, too_few
from models.evaluation.fidelity.measure import LEAST_PAIRED_SOURCES, PART, Videos, frame_psnr, measure_fidelity
from models.evaluation.fidelity.text import figure_lines
from models.evaluation.foreign import layout
from models.evaluation.foreign.actions import measure_actions
from models.evaluation.foreign.layout import Item, LeftOut, read_layout
from models.evaluation.foreign.read_video import LARGEST_VIDEO, read_video
from models.evaluation.metric import mean_over_sources
from models.features.choose import choose_nets
from models.features.net import BATCH
from pipeline.config import EvaluationConfig
from pipeline.errors import PermanentError, UserError

Video = NDArray[np.uint8]
MOST_TOGETHER = 3 * BATCH * LARGEST_VIDEO
"""Bytes of the frames of a part: a batch of the largest true, generated and reconstructed videos."""
_T = 4
"""The frame at which the paper takes the delta-t PSNR (Genie, section 3.1)."""
_LEAST_FRAMES = 2


@dataclass(frozen=True)
class Judgement:
    """What was found of a folder of rollouts."""

    figures: Figures
    compared: int
    """Items that enter the figures."""
    sources: int
    frames: int
    """Of each video."""
    size: tuple[int, int]
    """Width and height."""
    with_actions: int
    """Compared items whose actions could be read."""
    actions: dict[str, Any]
    """Names of the actions, those that are too rare to count, and tables of actions asked for and read."""
    left_out: list[LeftOut]

    def as_json(self) -> dict[str, Any]:
        """Return the document of `--json`; the same folder and settings give the same bytes."""
        return {**asdict(self), "size": list(self.size)}

    def lines(self) -> list[str]:
        """Return the table, what it is about, and every item that was left out."""
        width, height = self.size
        about = (
            f"{self.compared} rollouts of {self.sources} sources, {self.frames} frames of {width}x{height}; "
            f"{len(self.left_out)} left out; actions of {self.with_actions}"
        )
        return [
            about,
            *figure_lines(self.figures),
            *(_printable(f"left out: {each.item}: {each.reason}") for each in self.left_out),
        ]


def judge_rollouts(folder: Path, config: EvaluationConfig) -> Judgement:
    """Return the figures of a folder of rollouts.

    Args:
        folder: laid out as `models.evaluation.foreign.layout` says.
        config: networks, least number of sources, draws, strides and seed.

    Raises:
        UserError: the folder has another layout, or nothing in it can be compared.
    """
    found = read_layout(folder)
    left_out = list(found.left_out)
    shapes = {item.name: shape for item in found.items if (shape := _shape_of(item, left_out)) is not None}
    if not shapes:
        reasons = "; ".join(f"{each.item}: {each.reason}" for each in left_out[:3])
        raise UserError(f"{folder} has no pair of videos that can be compared ({reasons or 'it is empty'})")
    # of two shapes that are as frequent, the first by name
    (frames, height, width), _ = Counter(shapes.values()).most_common(1)[0]
    items = []
    for item in found.items:
        if item.name in shapes and shapes[item.name] != (frames, height, width):
            own = shapes[item.name]
            reason = f"{_shown(own)}, and most have {_shown((frames, height, width))}: give all one length and size"
            left_out.append(LeftOut(item.name, reason))
        elif item.name in shapes:
            items.append(item)
    again = _with_reconstructions(items, left_out)
    nets = choose_nets(config.feature_nets, (frames, height, width), torch.device("cpu"))
    sources = len({item.source for item in items})
    figures = measure_fidelity(_parts(items, again, frames * height * width * 3), nets, config, layout.MORE, sources)
    figures |= _control(items, left_out, config)
    control = measure_actions(items, (frames, height, width), left_out, config)
    figures |= control.figures
    return Judgement(
        figures=figures,
        compared=len(items),
        sources=sources,
        frames=frames,
        size=(width, height),
        with_actions=control.with_actions,
        actions=control.about,
        left_out=left_out,
    )


def _shape_of(item: Item, left_out: list[LeftOut]) -> tuple[int, int, int] | None:
    """Return frames, height and width of an item's true video; None, with a reason, where it has no equal partner."""
    try:
        true = read_video(item.files[layout.TRUE]).shape
        _check_partner(item, layout.GENERATED, true)
        if layout.RECONSTRUCTED in item.files:
            _check_partner(item, layout.RECONSTRUCTED, true)
    except PermanentError as exc:
        left_out.append(LeftOut(item.name, str(exc)))
        return None
    if true[0] < _LEAST_FRAMES:
        left_out.append(LeftOut(item.name, f"it has {true[0]} frame, and {_LEAST_FRAMES} are needed"))
        return None
    return true[0], true[1], true[2]


def _check_partner(item: Item, kind: str, true: tuple[int, ...]) -> Video:
    """Return the video of another folder; PermanentError where it is not as long and large as the true one."""
    try:
        video = read_video(item.files[kind])
    except PermanentError as exc:
        raise PermanentError(f"{kind}/{item.files[kind].name}: {exc}", error_class=exc.error_class) from exc
    if video.shape != true:
        text = f"{kind}/ has {_shown(video.shape)}, and true/ has {_shown(true)}"
        raise PermanentError(text, error_class="bad_rollout")
    return video


def _with_reconstructions(items: Sequence[Item], left_out: list[LeftOut]) -> bool:
    count = sum(layout.RECONSTRUCTED in item.files for item in items)
    if 0 < count < len(items):
        reason = f"{count} of {len(items)} rollouts have one, so the tokenizer's floor is left out: give all of them"
        left_out.append(LeftOut(f"{layout.RECONSTRUCTED}/", reason))
    return count == len(items)


def part_size(video_bytes: int, folders: int) -> int:
    """Return how many items are held at a time: whole batches, so that it changes no figure."""
    return max(BATCH, min(PART, MOST_TOGETHER // (video_bytes * folders) // BATCH * BATCH))


def _parts(items: Sequence[Item], reconstructed: bool, video_bytes: int) -> Iterator[Videos]:
    together = part_size(video_bytes, 3 if reconstructed else 2)
    for start in range(0, len(items), together):
        part = items[start : start + together]
        yield Videos(
            _stack(part, layout.TRUE),
            _stack(part, layout.GENERATED),
            _stack(part, layout.RECONSTRUCTED) if reconstructed else None,
            [item.source for item in part],
        )


def _stack(items: Sequence[Item], kind: str) -> Video:
    # filled one by one: `np.stack` would hold all frames twice
    first = read_video(items[0].files[kind])
    found = np.empty((len(items), *first.shape), np.uint8)
    found[0] = first
    del first
    for place, item in enumerate(items[1:], 1):
        found[place] = read_video(item.files[kind])
    return found


def _control(items: Sequence[Item], left_out: list[LeftOut], config: EvaluationConfig) -> Figures:
    """Return the delta-t PSNR of the items that have a rollout under permuted actions; none without any."""
    lost: dict[str, list[float]] = {}
    sources: list[str] = []
    for item in items:
        if layout.PERMUTED not in item.files:
            continue
        true = read_video(item.files[layout.TRUE])
        try:
            other = _check_partner(item, layout.PERMUTED, true.shape)
        except PermanentError as exc:
            left_out.append(LeftOut(item.name, f"{exc}; its other figures stand"))
            continue
        kept = frame_psnr(true, read_video(item.files[layout.GENERATED])) - frame_psnr(true, other)
        sources.append(item.source)
        for frame in sorted({min(_T, len(kept)), len(kept)}):
            lost.setdefault(f"delta_t{frame}_psnr_permuted", []).append(float(kept[frame - 1]))
    figures: Figures = {}
    for name, values in lost.items():
        if (count := len(set(sources))) < LEAST_PAIRED_SOURCES:
            figures[name] = too_few(count, LEAST_PAIRED_SOURCES, layout.MORE)
            continue
        figure: Figure = of_metric(mean_over_sources(np.array(values), sources, config))
        figure["num_samples"] = len(values)
        figures[name] = figure
    return figures


def _printable(text: str) -> str:
    # names of files may hold what a terminal obeys
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _shown(shape: Sequence[int]) -> str:
    return f"{shape[0]} frames of {shape[2]}x{shape[1]}"
