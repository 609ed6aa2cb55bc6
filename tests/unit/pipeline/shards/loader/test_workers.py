"""Processes that decode: one that dies is started again, none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.clips.stored import decode_clip
from pipeline.errors import PermanentError
from pipeline.shards.loader.clips import Mp4, shard_clips
from pipeline.shards.loader.loader import Batch, WindowLoader
from pipeline.shards.loader.local import Request
from pipeline.shards.loader.workers import Decode, WorkerDecoder
from pipeline.storage.store import Store
from tests.windows import SETTINGS, SIZES, same, source, take


def decoder_of(loader: WindowLoader) -> WorkerDecoder:
    assert isinstance(loader.decoder, WorkerDecoder)
    return loader.decoder


def test_a_worker_that_is_killed_is_started_again_and_nothing_is_lost(shards: Store, expected: list[Batch]) -> None:
    with source(shards, workers=2) as windows:
        loader = windows.loader(SETTINGS)
        found = take(loader, 2)
        pids = decoder_of(loader).pids
        os.kill(pids[0], signal.SIGKILL)
        found += take(loader, 30)
        assert same(found, expected[:32])
        assert windows.bad == {}
        assert decoder_of(loader).restarts == 1
        again = decoder_of(loader).pids
    assert again[0] != pids[0]
    assert again[1] == pids[1]
    assert not any(psutil.pid_exists(pid) for pid in (*pids, *again)), "all are gone after the end"


def requests(store: Store) -> list[Request]:
    clips = [clip for group in range(len(SIZES)) for clip in shard_clips(store, "v1", "train").read(group)]
    return [Request(number, clip, (number, 20)) for number, clip in enumerate(clips)]


def started(decoder: WorkerDecoder, first: Request) -> WorkerDecoder:
    """Return a decoder once its worker has started."""
    decoder.submit(first)
    while not decoder._has_started:
        decoder._receive(1.0)
    return decoder


@pytest.mark.timeout(120)
def test_what_a_killed_worker_had_not_answered_is_decoded_again(shards: Store, mp4s: list[bytes]) -> None:
    asked = requests(shards)
    decoder = started(WorkerDecoder(shards, 1, (8, 16, 32, 3)), asked[0])
    os.kill(decoder.pids[0], signal.SIGSTOP)
    for request in asked[1:5]:
        decoder.submit(request)
    os.kill(decoder.pids[0], signal.SIGKILL)
    for request in asked[:5]:
        whole = decode_clip(mp4s[int(request.clip.clip_id[6:8])])
        for window, start in zip(decoder.windows(request.number), request.starts, strict=True):
            assert np.array_equal(window, whole[start : start + 8])
    assert decoder.restarts == 1
    decoder.close()


class Poisoned(Decode):
    """Work that ends the process at one clip."""

    def __call__(self, item: tuple[Mp4, tuple[int, ...], list[int]]) -> None:
        if item[1][0] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(item)


@pytest.mark.timeout(120)
def test_a_clip_that_ends_its_worker_twice_is_a_bad_sample_and_costs_no_other(
    shards: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.shards.loader.workers.Decode", Poisoned)
    asked = requests(shards)
    decoder = started(WorkerDecoder(shards, 1, (8, 16, 32, 3)), asked[0])
    for request in asked[1:5]:
        decoder.submit(request)
    with pytest.raises(PermanentError, match="the process that decoded it ended 2 times") as caught:
        decoder.windows(2)
    assert caught.value.error_class == "bad_sample"
    assert all(len(decoder.windows(number)) == 2 for number in (0, 1, 3, 4))
    decoder.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_workers_that_cannot_stay_alive_are_an_error_that_says_what_to_lower(
    shards: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.shards.loader.workers.Decode", Dying)
    with source(shards) as windows:
        loader = windows.loader(SETTINGS)
        with pytest.raises(RuntimeError, match=r"exit code -9.*Lower training.decode_workers"):
            all(iter(loader))  # until the first worker has started, windows are decoded in this process


class Dying:
    """Work that ends the process of a worker."""

    def __init__(self, *parts: object) -> None:
        self.parent = os.getpid()

    def __call__(self, item: object) -> None:
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
from pipeline.shards.loader.clips import shard_clips
from pipeline.shards.loader.order import OrderSettings, blocks_of_epoch
from pipeline.shards.loader.source import WindowSource
from pipeline.storage.store import Store
with WindowSource(shard_clips(Store(sys.argv[1]), "v1", "train"), keep_clips=1, workers=2) as windows:
    loader = windows.loader(OrderSettings(seed=0, batch=4, window=8))
    next(loader)
    print(*loader.decoder.pids, flush=True)
    while True:
        next(loader)
        time.sleep(0.01)
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(shards: Store, how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, shards.root],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[5],
    )  # fmt: skip
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert said.rstrip().endswith("KeyboardInterrupt")
    end = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)
