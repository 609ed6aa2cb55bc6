"""Join the rows of a transition to one action: what stands for the several source frames between two frames of a clip.

    discrete    `most`: the action that is in force longest, of equals the earliest; `first`, `last`
    continuous  `mean` (velocities, forces), `sum` (displacements), `first`, `last` (targets, positions)

`auto` is `most` for discrete actions and `mean` for continuous ones. Where the picture does not change between the two
frames (the source is slower than the clip), the action in force is taken, and `sum` is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.world import JoinRule
from pipeline.errors import UserError
from pipeline.storage.arrow import pc

_DISCRETE, _CONTINUOUS = ("most", "first", "last"), ("mean", "sum", "first", "last")


@dataclass(frozen=True, eq=False)
class ClipActions:
    """The true actions of a clip of T frames, one for each transition."""

    clip_id: str
    labels: tuple[str, ...] | None
    """(T - 1,) names of discrete actions; None for continuous ones."""
    values: npt.NDArray[np.float32] | None
    """(T - 1, D) continuous actions; None for discrete ones."""

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.labels if self.labels is not None else self.values if self.values is not None else ())


def join_actions(table: pa.Table, rule: JoinRule) -> Iterator[ClipActions]:
    """Yield the actions of each clip of a table of `pipeline.actions.table`, in its order.

    Raises:
        UserError: the rule is none for this kind of actions.
    """
    ids = table["clip_id"].combine_chunks().dictionary_encode()
    codes = ids.indices.to_numpy(zero_copy_only=False)
    edges = np.flatnonzero(np.diff(codes, prepend=-1, append=-1))
    transitions, weights, rows = (table[name].to_numpy() for name in ("transition", "weight", "row"))
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = table.slice(start, stop - start)
        begins = np.flatnonzero(np.diff(transitions[start:stop], prepend=-1))
        clip_id, own = str(part["clip_id"][0].as_py()), weights[start:stop]
        if part["values"].null_count:
            labels = [str(label) for label in part["label"].to_pylist()]
            yield ClipActions(clip_id, _joined_labels(labels, own, begins, rule), None)
        else:
            flat = pc.list_flatten(part["values"].combine_chunks()).to_numpy(zero_copy_only=False)
            values = flat.reshape(len(part), -1)
            yield ClipActions(clip_id, None, _joined_values(values, own, rows[start:stop], begins, rule))


def _joined_labels(
    labels: list[str], weights: npt.NDArray[np.float32], begins: npt.NDArray[np.intp], rule: JoinRule
) -> tuple[str, ...]:
    if rule not in ("auto", *_DISCRETE):
        raise _no_rule(rule, "discrete", _DISCRETE)
    ends = [*begins.tolist()[1:], len(labels)]
    spans = zip(begins.tolist(), ends, strict=True)
    if rule == "first":
        return tuple(labels[start] for start in begins.tolist())
    if rule == "last":
        return tuple(labels[end - 1] for end in ends)
    return tuple(_longest(labels[start:end], weights[start:end]) for start, end in spans)


def _longest(labels: list[str], weights: npt.NDArray[np.float32]) -> str:
    held: dict[str, float] = {}
    for label, weight in zip(labels, weights.tolist(), strict=True):
        # whole milliseconds: rounded times make no difference between equals
        held[label] = held.get(label, 0.0) + round(weight, 3)
    return max(held, key=lambda label: held[label])


def _joined_values(
    values: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    begins: npt.NDArray[np.intp],
    rule: JoinRule,
) -> npt.NDArray[np.float32]:
    if rule not in ("auto", *_CONTINUOUS):
        raise _no_rule(rule, "continuous", _CONTINUOUS)
    if rule == "first":
        return values[begins]
    if rule == "last":
        return values[np.append(begins[1:], len(values)) - 1]
    wide, weight = values.astype(np.float64), weights.astype(np.float64)[:, None]
    total = np.add.reduceat(weight, begins)
    if rule == "sum":
        # a row counts once, where it is in force first
        counted = np.flatnonzero(weights > 0)
        counted = counted[np.diff(rows[counted], prepend=-1) > 0]
        once = np.zeros_like(weight)
        once[counted] = 1
        return np.add.reduceat(wide * once, begins).astype(np.float32)
    mean = np.add.reduceat(wide * weight, begins) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, wide[begins]).astype(np.float32)


def _no_rule(rule: str, kind: str, rules: tuple[str, ...]) -> UserError:
    return UserError(
        f"dynamics.join_actions = {rule!r} is no rule for {kind} actions: set it to auto, {', '.join(rules[:-1])} or "
        f"{rules[-1]}"
    )
