"""Groups from pairs: connected components, and stars around the earliest clip of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.copies.alignment import Bools
from pipeline.copies.timeline import Ints


def components(size: int, first: Ints, second: Ints, root: Ints | None = None) -> Ints:
    """Return, for each of `size` nodes, the smallest node that it is connected with by the pairs.

    Args:
        size: number of nodes.
        first: one node of each pair.
        second: the other.
        root: what an earlier call returned, to which the pairs are added.
    """
    root = np.arange(size) if root is None else root.copy()
    while True:
        low, high = np.minimum(root[first], root[second]), np.maximum(root[first], root[second])
        apart = low != high
        if not apart.any():
            return root
        first, second = first[apart], second[apart]
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(root, root[root]):
            root = root[root]


def stars(component: Ints, belongs: Callable[[Ints, Ints], Bools]) -> Ints:
    """Divide components into groups around their first node, and return each node's centre.

    The earliest node of a component is the centre of all that belong to *it*, the earliest of the rest is the next
    centre, and so on: a chain of small changes is not one group.

    Args:
        component: each node's component, as `components` returns it.
        belongs: takes nodes and their centres, and tells which nodes belong to them.
    """
    centres = np.arange(len(component))
    size = np.bincount(component, minlength=len(component))
    left = np.flatnonzero(size[component] > 1) if len(component) else component
    while len(left):
        _, first, inverse = np.unique(component[left], return_index=True, return_inverse=True)
        centre = left[first][inverse]
        own = belongs(left, centre) | (left == centre)
        centres[left[own]] = centre[own]
        left = left[~own]
    return centres
