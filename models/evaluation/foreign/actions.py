"""What the actions beside rollouts say: do generated frames show the action that they were made under?

A network (`models.inverse_dynamics`) learns from the true videos and their actions which action led from one frame to
the next, and is asked about the true frames, the tokenizer's reconstructions, the rollouts, and the rollouts under
permuted actions. The sources are divided into folds, and every source is answered by a network that saw no video of it:
one that had seen the true video could tell the action from the scene, whatever the rollout shows.

Rollouts follow true videos, and what comes next is often plain from the picture; a model that ignores its actions is
then read right more often than by chance. Rollouts under permuted actions, with these actions beside them, do not have
that way out.

Row k of a sidecar is the action that leads from frame k to the next one; the last row of as many rows as frames leads
out of the video, and is not used.

Shapes: N items, T frames, H W C pixels, A actions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.evaluation.accuracy import (
    LEAST_SOURCES,
    LEAST_TRANSITIONS,
    accuracy_metrics,
    frequent_actions,
    why_not_judged,
)
from models.evaluation.chance import TOO_FEW
from models.evaluation.fidelity.figure import Figure, Figures, absent, of_metric, too_few
from models.evaluation.foreign import layout
from models.evaluation.foreign.layout import Item, LeftOut
from models.evaluation.foreign.read_video import read_video
from models.evaluation.metric import Metrics
from models.inverse_dynamics.network import shrunk
from models.inverse_dynamics.reader import ActionClip, ActionReader, train_reader
from models.metrics import count_pairs
from models.true_actions import ActionClasses, fit_classes
from pipeline.actions.columns import BadSidecarError
from pipeline.actions.join import ClipActions
from pipeline.actions.sidecar import read_sidecar
from pipeline.config import EvaluationConfig
from pipeline.errors import PermanentError
from pipeline.regular_file import read_regular

Videos = NDArray[np.uint8]
Actions = NDArray[np.int64]
_FIGURE = {
    kind: f"inverse_dynamics_{kind}" for kind in (layout.TRUE, layout.RECONSTRUCTED, layout.GENERATED, layout.PERMUTED)
}
"""By the folder of the videos."""
TRUE, RECONSTRUCTED, GENERATED = (_FIGURE[kind] for kind in (layout.TRUE, layout.RECONSTRUCTED, layout.GENERATED))
NOT_GIVEN = "not given: write the actions of the videos into actions/NAME.jsonl, one row a frame (docs/evaluation.md)"
_FOLDS = 3
_TRAINING_CLIPS_PER_SOURCE = 3
_PROTOTYPES = 8
_LARGEST_SIDECAR = 16 << 20
_STAY = "its other figures stand"


@dataclass(frozen=True, eq=False)
class Control:
    """What the actions of a folder of rollouts say."""

    figures: Figures
    about: dict[str, Any] = field(default_factory=dict)
    """Names of the actions, those that are too rare, and how often each (row) was read as each (column)."""
    with_actions: int = 0
    """Compared items whose actions could be read."""


def measure_actions(
    items: Sequence[Item], shape: tuple[int, int, int], left_out: list[LeftOut], config: EvaluationConfig
) -> Control:
    """Return the figures that need actions; without any, each says that they are not given.

    Args:
        items: those that are compared.
        shape: frames, height and width of all their videos.
        left_out: gets the items whose actions cannot be read, and why.
        config: steps of the network, draws, shuffles, most sources and seed.
    """
    found = {item.name: rows for item in items if (rows := _rows_of(item, layout.ACTIONS, shape[0], left_out))}
    if not found:
        return Control(dict.fromkeys((TRUE, GENERATED), absent(NOT_GIVEN)))
    known = _of_one_kind(found, left_out)
    chosen = [item for item in items if item.name in known]
    sources = [item.source for item in chosen]
    classes = fit_classes(known.values(), None, _PROTOTYPES)
    folds = _folds(sources)
    learned = _learned(chosen, config.max_sources)
    parts = [str(folds[item.source]) for item in learned]
    labels = _Labels(classes, [known[item.name] for item in learned], parts)
    if (count := len(set(sources))) < LEAST_SOURCES:
        return _without(too_few(count, LEAST_SOURCES, f"{layout.MORE}, with their actions"), len(found))
    if len(labels.names) < 2:
        have = (
            f"{len(labels.names)} actions have {LEAST_TRANSITIONS} transitions, in {LEAST_SOURCES} parts of the sources"
        )
        return _without(absent(f"{TOO_FEW}: {have}, and 2 are needed"), len(found))
    # reconstructions of some are no floor of all
    rebuilt = all(layout.RECONSTRUCTED in item.files for item in items)
    kinds = [layout.TRUE, *[layout.RECONSTRUCTED] * rebuilt, layout.GENERATED]
    answers = _Answers(chosen, {name: labels.of(rows) for name, rows in known.items()}, labels, config)
    answers.ask(folds, learned, kinds, shape, left_out)
    return Control(*answers.figures(), with_actions=len(found))


class _Labels:
    """The actions that the network tells apart: those that are frequent enough, and that each network can learn."""

    def __init__(self, classes: ActionClasses, known: Sequence[ClipActions], parts: Sequence[str]) -> None:
        own = [np.asarray(classes.of(each), np.int64) for each in known]
        # of clips that networks learn from: no other action could be read. An action of one part alone would be
        # asked of the one network that never saw it
        frequent = frequent_actions(own, parts, len(classes.names))
        self._classes, self._number = classes, np.where(frequent, np.cumsum(frequent) - 1, -1)
        self.names = tuple(name for name, enough in zip(classes.names, frequent, strict=True) if enough)
        self.rare = sorted(set(classes.names) - set(self.names))

    def of(self, rows: ClipActions) -> Actions | None:
        """Return the numbers (T - 1,) of actions, -1 for a rare one; None where no true video has one of them."""
        own = self._classes.of(rows)
        return None if own is None else np.asarray(self._number[own], np.int64)


class _Answers:
    """The answers of networks about every kind of videos, each by one that saw no video of the same source."""

    def __init__(
        self,
        items: Sequence[Item],
        wanted: Mapping[str, Actions | None],
        labels: _Labels,
        config: EvaluationConfig,
    ) -> None:
        self._items, self._wanted, self._labels, self._config = items, wanted, labels, config
        self._asked: dict[str, list[Actions]] = {}
        self._read: dict[str, list[Actions]] = {}
        self._sources: dict[str, list[str]] = {}

    def ask(
        self,
        folds: Mapping[str, int],
        learned: Sequence[Item],
        kinds: Sequence[str],
        shape: tuple[int, int, int],
        left_out: list[LeftOut],
    ) -> None:
        """Train a network for each fold of the sources, and ask it about the videos of the fold.

        Args:
            folds: of each source.
            learned: the items that networks learn from.
            kinds: folders of videos that are asked about, beside those under permuted actions.
            shape: of all videos.
            left_out: gets the items whose permuted actions cannot be read.
        """
        for fold in sorted(set(folds.values())):
            reader = self._reader([item for item in learned if folds[item.source] != fold])
            for item in self._items:
                if folds[item.source] == fold:
                    self._ask(reader, item, kinds, _permuted(item, shape, left_out, self._labels))

    def _reader(self, items: Sequence[Item]) -> ActionReader:
        clips = []
        for item in items:
            actions = self._wanted[item.name]
            assert actions is not None  # the classes were made of these very actions
            clips.append(ActionClip(item.source, _small(item.files[layout.TRUE]), actions))
        steps, seed = self._config.inverse_dynamics_steps, self._config.seed
        return train_reader(clips, self._labels.names, steps=steps, seed=seed)

    def _ask(self, reader: ActionReader, item: Item, kinds: Sequence[str], permuted: Actions | None) -> None:
        asked_of = {**dict.fromkeys(kinds, self._wanted[item.name]), layout.PERMUTED: permuted}
        for kind, asked in asked_of.items():
            if asked is not None:
                name = _FIGURE[kind]
                self._read.setdefault(name, []).append(reader.read(_small(item.files[kind])[None])[0])
                self._asked.setdefault(name, []).append(asked)
                self._sources.setdefault(name, []).append(item.source)

    def figures(self) -> tuple[Figures, dict[str, Any]]:
        """Return the figures, and what they are of."""
        metrics: Metrics = {}
        for name, read in self._read.items():
            metrics |= accuracy_metrics(
                name, self._asked[name], read, self._sources[name], len(self._labels.names), self._config
            )
        if why := why_not_judged(metrics, TRUE):
            metrics = {name: own if name.startswith(TRUE) else absent(why) for name, own in metrics.items()}
        found: Figures = {}
        for name, metric in metrics.items():
            found[name] = of_metric(metric)
            if metric["value"] is not None:
                found[name]["num_samples"] = len(self._read[name.removesuffix("_shuffled")])
        if GENERATED in found and found[GENERATED]["value"] is not None and RECONSTRUCTED in metrics:
            found[GENERATED]["floors"] = {"tokenizer": metrics[RECONSTRUCTED]}
        tables = {name: self._table(name) for name in self._read}
        return found, {"names": list(self._labels.names), "left_out": self._labels.rare, "tables": tables}

    def _table(self, name: str) -> list[list[int]]:
        size = len(self._labels.names)
        table = np.zeros((size, size), np.int64)
        for wanted, seen in zip(self._asked[name], self._read[name], strict=True):
            table += count_pairs(wanted[wanted >= 0], seen[wanted >= 0], size, size)
        return [[int(count) for count in row] for row in table]


def _folds(sources: Sequence[str]) -> dict[str, int]:
    """Return the fold of each source."""
    return {source: place % _FOLDS for place, source in enumerate(sorted(set(sources)))}


def _learned(items: Sequence[Item], most: int) -> list[Item]:
    """Return the first items of each of `most` sources, which are spread evenly over all: names may go by game."""
    sources = sorted({item.source for item in items})
    count = min(most, len(sources))
    chosen = {sources[place * len(sources) // count] for place in range(count)}
    counts: Counter[str] = Counter()
    found = []
    for item in items:
        counts[item.source] += 1
        if item.source in chosen and counts[item.source] <= _TRAINING_CLIPS_PER_SOURCE:
            found.append(item)
    return found


def _without(figure: Figure, with_actions: int) -> Control:
    return Control(dict.fromkeys((TRUE, GENERATED), figure), with_actions=with_actions)


def _small(path: Path) -> Videos:
    """Return the frames of a video as the network sees them."""
    small: Videos = shrunk(torch.from_numpy(read_video(path))).numpy()
    return small


def _rows_of(item: Item, folder: str, frames: int, left_out: list[LeftOut]) -> ClipActions | None:
    """Return the actions (T - 1,) of an item; None, with a reason, where they are no row a frame."""
    path = item.files.get(folder)
    if path is None:
        return None
    try:
        rows = read_sidecar(path.name, read_regular(path, _LARGEST_SIDECAR))
        if len(rows) in (frames, frames - 1):
            labels = None if rows.labels is None else rows.labels[: frames - 1]
            return ClipActions(item.name, labels, None if rows.values is None else rows.values[: frames - 1])
        reason = f"{len(rows)} rows for {frames} frames: write one row a frame"
    except (BadSidecarError, OSError) as exc:
        reason = str(exc)
    left_out.append(LeftOut(item.name, f"{folder}/{path.name}: {reason}; {_STAY}"))
    return None


def _of_one_kind(found: Mapping[str, ClipActions], left_out: list[LeftOut]) -> dict[str, ClipActions]:
    """Return the actions of the kind that most items have: names, or as many values."""
    kinds = {name: None if own.values is None else own.values.shape[1] for name, own in found.items()}
    most = Counter(kinds.values()).most_common(1)[0][0]
    for name, kind in kinds.items():
        if kind != most:
            what = "names" if most is None else f"{most} values a row"
            left_out.append(LeftOut(name, f"its actions are of another kind than most ({what}); {_STAY}"))
    return {name: own for name, own in found.items() if kinds[name] == most}


def _permuted(item: Item, shape: tuple[int, int, int], left_out: list[LeftOut], labels: _Labels) -> Actions | None:
    """Return the actions under which the permuted rollout of an item was made, where it has both."""
    if layout.PERMUTED not in item.files or layout.PERMUTED_ACTIONS not in item.files:
        return None
    rows = _rows_of(item, layout.PERMUTED_ACTIONS, shape[0], left_out)
    try:
        if rows is None or read_video(item.files[layout.PERMUTED]).shape[:3] != shape:
            return None
    except PermanentError:
        return None  # the delta-t PSNR names it
    found = labels.of(rows)
    if found is None:
        why = "it has an action that no true video has"
        left_out.append(LeftOut(item.name, f"{layout.PERMUTED_ACTIONS}/: {why}; {_STAY}"))
    return found
