"""The bucket step of near-duplicates: pairs of clips that look alike, in twelve orders, here or on a cluster.

The orders do not depend on each other. On a cluster each is a task: the codes of all clips are published once as a
blob, which the tasks read, and a task gives the numbers of the pairs that it found. The blob is deleted at the end;
`lampworks gc` deletes that of a run that was killed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np

from pipeline.copies.find import LOOK_ORDERS, Alike, own_buckets
from pipeline.copies.look import Looks
from pipeline.copies.timeline import Ints
from pipeline.job import Job
from pipeline.storage.store import Store
from pipeline.workers.spread import spread


@contextmanager
def buckets_of(job: Job) -> Iterator[Callable[[Looks, Ints], Iterator[Alike]]]:
    """Yield the function that `find_copies` calls for its pairs; what it published is deleted at the end."""
    if job.config.engine.backend == "local":
        yield own_buckets
        return
    folder = f"clips/buckets-{uuid.uuid4().hex}"
    names = [f"{folder}/codes.npy", f"{folder}/clips.npy"]
    try:
        yield partial(_spread_buckets, job=job, names=names)
    finally:
        for name in names:
            job.store.delete(name)


def _spread_buckets(looks: Looks, clips: Ints, job: Job, names: list[str]) -> Iterator[Alike]:
    for name, array in zip(names, (looks.codes, clips), strict=True):
        with job.store.write_file(name) as file:
            np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    # without the codes, which the tasks read by themselves
    work = partial(_alike_pairs, looks=replace(looks, codes=looks.codes[:0]), store=job.store, names=names)
    for _, found in spread(work, range(LOOK_ORDERS), job.config.engine, store=job.store):
        yield found


def _alike_pairs(seed: int, looks: Looks, store: Store, names: list[str]) -> Alike:
    """Return the pairs of one order, on a node of a cluster."""
    with store.local_file(names[0]) as codes, store.local_file(names[1]) as clips:
        read = replace(looks, codes=np.load(codes, mmap_mode="r", allow_pickle=False))
        return read.alike_pairs(np.load(clips, allow_pickle=False), seed)
