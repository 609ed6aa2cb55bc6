"""Group near-duplicates over all clips: re-encodes, re-uploads and mirrored copies, by hashes of eight frames each.

A clip's code says, for each sampled frame and each of 64 places, whether the picture gets brighter or darker there
(`hashes.hash_frames`). Two clips are near when the codes of their frames differ, on average, in at most
`max_distance` of 64 places, and in at most 15 % of the places where either clip shows a difference. The second bound
keeps plain pictures (a flat sky over a flat floor) apart. Clips that are even plainer match only clips of equal bytes:
otherwise all black clips would be one group.

Candidates come from sorting: in each of several orders of randomly drawn bits, near clips end up next to each other.
Near pairs form connected components. Within one, the earliest clip (by batch and id) represents all clips that are
near *to it*, the earliest of the rest represents the next group, and so on: a chain of small changes is not one group.

Codes are arrays of integers (about 200 bytes a clip). The groups depend on the set of clips alone: not on the order
of batches, and not on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.hashes import HASH_BYTES
from pipeline.clips.read import scan_clips
from pipeline.clips.samples import NUM_SAMPLES
from pipeline.config import Config, DuplicateConfig, fingerprint
from pipeline.job import Job
from pipeline.progress import Progress, ProgressCallback
from pipeline.storage.arrow import pc
from pipeline.storage.rows import rows_table
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_ORDERS, _NEIGHBOURS = 24, 6  # sorted orders, and how many successors each clip is compared with in each
_KEY_BITS = 64
_RELATIVE = (
    0.15  # of the places where either clip shows a difference (second encodes: 0.06, unrelated: 0.19 up; measured)
)
_CHUNK = 1 << 17  # pairs compared at a time: 32 MB of codes
_COLUMNS = ["clip_id", "batch", "sha256", "hashes"]
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


@dataclass(frozen=True)
class DuplicateReport:
    """Counts over the table `duplicates`."""

    clips: int
    groups: int
    """Groups of two clips and more."""
    copies: int
    """Clips that another one represents."""
    largest: int
    """Clips of the largest group."""
    max_distance: int
    """The farthest that any clip lies from its representative."""
    written: bool
    """False where the table was up to date already."""


def duplicates_are_current(store: Store, config: Config) -> bool:
    """Tell whether the table was made from the clips, takedowns and settings as they are now."""
    return store.version("duplicates") >= 0 and store.inputs("duplicates") == _inputs(store, config)


def find_duplicates(job: Job) -> DuplicateReport:
    """Group all clips that count under the current clip_spec, and replace the table `duplicates` in one commit.

    Every clip has a row; a clip without near-duplicates represents itself. Where nothing changed, nothing is written.
    """
    store, config = job.store, job.config
    if duplicates_are_current(store, config):
        return _report(store.read("duplicates"), written=False)
    while True:
        inputs = _inputs(store, config)
        clips = _load(store, config)
        rows = _grouped(clips, config.duplicates, job.on_progress)
        # where a takedown or a batch arrived meanwhile, group again: what is published must hold it
        if inputs == _inputs(store, config):
            break
    store.replace("duplicates", rows, inputs=inputs)
    return _report(rows, written=True)


def _inputs(store: Store, config: Config) -> dict[str, Any]:
    return {
        "clip_spec": clip_spec(config.clips),
        "settings": fingerprint(config.duplicates),
        "tables": {name: store.version(name) for name in ("clips", "clippings", "takedowns")},
    }


def _report(rows: pa.Table, *, written: bool) -> DuplicateReport:
    sizes = rows.filter(rows["is_representative"])["group_size"].to_numpy()
    return DuplicateReport(
        clips=len(rows),
        groups=int((sizes > 1).sum()),
        copies=len(rows) - len(sizes),
        largest=int(sizes.max(initial=0)),
        max_distance=int(rows["distance"].to_numpy().max(initial=0)),
        written=written,
    )


def _load(store: Store, config: Config) -> pa.Table:
    """Return all clips that count, in the order that decides who represents whom."""
    schema = pa.schema([SCHEMAS["clips"].field(name) for name in _COLUMNS])
    table = pa.concat_tables([schema.empty_table(), *scan_clips(store, config, _COLUMNS)])
    order = pc.sort_indices(table, [("batch", "ascending"), ("clip_id", "ascending")])
    return table.take(order).combine_chunks()


def _grouped(clips: pa.Table, config: DuplicateConfig, on_progress: ProgressCallback | None) -> pa.Table:
    codes = _Codes(clips["hashes"], config)
    representative = np.arange(len(clips))
    plain = np.flatnonzero(codes.texture < config.min_texture)
    representative[plain] = _equal_bytes(clips["sha256"], plain)
    textured = np.flatnonzero(codes.texture >= config.min_texture)
    with Progress("near_duplicates", total=_ORDERS, unit="orders", on_progress=on_progress) as progress:
        near = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for seed in range(_ORDERS):
            near.append(codes.near_pairs(textured, seed))
            progress.advance(note=f"{len(clips)} clips")
    first, second = (np.concatenate(side) for side in zip(*near, strict=True))
    representative = _stars(codes, components(len(clips), first, second), representative)
    distance = codes.distances(np.arange(len(clips)), representative)[0] if len(clips) else np.empty(0)
    members = textured[representative[textured] != textured]
    assert (distance[members] <= config.max_distance).all(), "a clip lies too far from its representative"
    sizes = np.bincount(representative, minlength=len(clips))
    columns = {
        "clip_id": clips["clip_id"],
        "batch": clips["batch"],
        "representative": clips["clip_id"].take(pa.array(representative, pa.int64())),
        "is_representative": representative == np.arange(len(clips)),
        "distance": np.round(distance).astype(np.int64),
        "group_size": sizes[representative].astype(np.int64),
    }
    return rows_table("duplicates", pa.Table.from_pydict(columns))


class _Codes:
    """The codes of all clips, and the distance between any two of them."""

    def __init__(self, hashes: pa.ChunkedArray[Any], config: DuplicateConfig) -> None:
        self.config = config
        data = _bytes(hashes)
        rises, mirrored = data[:, :HASH_BYTES], data[:, HASH_BYTES:]
        # a fall is what rises in the mirrored picture, at the mirrored place of its row (a row is a byte)
        falls = _REVERSED[mirrored]
        self.codes: Words = np.concatenate([rises, falls], axis=1).view(np.uint64)
        self.mirrored: Words = np.concatenate([mirrored, _REVERSED[rises]], axis=1).view(np.uint64)
        self.shown = np.bitwise_count(self.codes).sum(axis=1, dtype=np.int64)
        self.texture = self.shown / NUM_SAMPLES
        """Places of 64 where a clip's frames show a difference, on average."""

    def distances(self, first: Ints, second: Ints) -> tuple[Any, Any]:
        """Return the mean Hamming distance of pairs (mirrored if that is nearer), and whether they are near."""
        distance = np.empty(len(first))
        for start in range(0, len(first), _CHUNK):
            a, b = first[start : start + _CHUNK], second[start : start + _CHUNK]
            found = _hamming(self.codes[a], self.codes[b])
            if self.config.mirrored:
                found = np.minimum(found, _hamming(self.codes[a], self.mirrored[b]))
            distance[start : start + _CHUNK] = found
        relative = distance / np.maximum(1, self.shown[first] + self.shown[second])
        # rises and falls are counted apart, so a place that changes from one to the other counts once on the mean
        distance /= 2 * NUM_SAMPLES
        return distance, (distance <= self.config.max_distance) & (relative <= _RELATIVE)

    def near_pairs(self, clips: Ints, seed: int) -> tuple[Ints, Ints]:
        """Return near pairs among clips that stand close in one order of randomly drawn bits."""
        bits = np.random.default_rng(seed).permutation(self.codes.shape[1] * 64)[:_KEY_BITS]
        keys = _keys(self.codes[clips], bits)
        owners = clips
        if self.config.mirrored:
            keys, owners = np.concatenate([keys, _keys(self.mirrored[clips], bits)]), np.concatenate([clips, clips])
        order = owners[np.argsort(keys, kind="stable")]
        found = []
        for step in range(1, _NEIGHBOURS + 1):
            first, second = np.minimum(order[:-step], order[step:]), np.maximum(order[:-step], order[step:])
            _, near = self.distances(first, second)
            near &= first != second
            found.append((first[near], second[near]))
        first, second = (np.concatenate(side) for side in zip(*found, strict=True))
        return first, second


def _bytes(hashes: pa.ChunkedArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the hashes as uint8 (N, 128), without a Python object per clip."""
    width = 2 * HASH_BYTES
    parts = [np.empty((0, width), np.uint8)]
    for chunk in hashes.cast(pa.binary(width)).chunks:
        data: Any = chunk.buffers()[1]
        if len(chunk):
            parts.append(np.frombuffer(data, np.uint8).reshape(-1, width)[chunk.offset : chunk.offset + len(chunk)])
    return np.concatenate(parts)


def _keys(codes: Words, bits: Ints) -> Words:
    """Return one 64-bit word per clip, made of the given bits of its code."""
    keys = np.zeros(len(codes), np.uint64)
    for bit in bits:
        keys = (keys << np.uint64(1)) | ((codes[:, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1))
    return keys


def _hamming(first: Words, second: Words) -> Any:
    return np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)


def _equal_bytes(sha256: pa.ChunkedArray[Any], clips: Ints) -> Ints:
    """Return for each of the clips the first one of equal bytes."""
    own = sha256.take(pa.array(clips, pa.int64()))
    _, first, inverse = np.unique(pc.index_in(own, own.unique()).to_numpy(), return_index=True, return_inverse=True)
    return clips[first[inverse]]


def components(size: int, first: Ints, second: Ints) -> Ints:
    """Return, for each of `size` nodes, the smallest node that it is connected with by the pairs."""
    root = np.arange(size)
    while True:
        low, high = np.minimum(root[first], root[second]), np.maximum(root[first], root[second])
        apart = low != high
        if not apart.any():
            return root
        first, second = first[apart], second[apart]
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(root, root[root]):
            root = root[root]


def _stars(codes: _Codes, component: Ints, representative: Ints) -> Ints:
    """Divide components into groups whose members are all near to their first clip."""
    size = np.bincount(component, minlength=len(component))
    left = np.flatnonzero(size[component] > 1) if len(component) else component
    while len(left):
        _, first, inverse = np.unique(component[left], return_index=True, return_inverse=True)
        centre = left[first][inverse]
        _, near = codes.distances(left, centre)
        near |= left == centre
        representative[left[near]] = centre[near]
        left = left[~near]
    return representative
