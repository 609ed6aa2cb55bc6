"""Batches of windows in the order of `pipeline.shards.loader.order`, decoded ahead, from any position of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.errors import PermanentError, UserError
from pipeline.shards.loader.block import Block, read_block
from pipeline.shards.loader.clips import ClipSet, Video
from pipeline.shards.loader.local import ClipReader, Decoder, Request
from pipeline.shards.loader.order import OrderSettings, blocks_of_epoch, lanes_of, substitute_starts
from pipeline.shards.loader.tally import Passed, Tally


class Place(NamedTuple):
    """The position of a window."""

    clip_id: str
    start: int
    """Index of its first frame."""


class Batch(NamedTuple):
    """The windows of a step, of one rank."""

    video_BTHWC: Video
    places: list[Place]


@dataclass
class _Open:
    """A visit whose windows were asked for."""

    number: int
    """Of the request."""
    clip_id: str
    starts: tuple[int, ...]
    skipped: int
    """Windows before the position at which the loader began."""
    has_begun: bool = False


class WindowLoader:
    """An endless series of batches; `state` says where it is, and another loader goes on from there."""

    def __init__(
        self,
        clips: ClipSet,
        settings: OrderSettings,
        reader: ClipReader,
        decoder: Decoder,
        tally: Tally,
        shape: tuple[int, int, int, int],
        *,
        rank: int = 0,
        ranks: int = 1,
        state: Mapping[str, Any] | None = None,
        ahead: int = 16,
        window_name: str = "the window",
    ) -> None:
        """Begin an order, or go on in it.

        Args:
            clips: the set.
            settings: of the order.
            reader: tells lengths that indexes do not.
            decoder: decodes; it is closed with the loader.
            tally: counts samples that cannot be used.
            shape: of a window.
            rank: which part of each batch this is.
            ranks: parts of a batch.
            state: of a loader of the same order, with any number of workers and ranks. One of another order, or of
                another set, begins the epoch after it.
            ahead: clips that are asked for before their first window is needed.
            window_name: the setting of the window's length, for an error.
        """
        self.settings, self.shape = settings, shape
        self.wait_s = 0.0
        """Seconds in which `next` was waited for."""
        self._clips, self._counts, self._reader, self.decoder = clips, list(clips.counts), reader, decoder
        self._tally, self._window_name = tally, window_name
        self._lanes = lanes_of(rank, ranks, settings.batch)
        self._ahead = max(ahead, len(self._lanes))
        self._open: dict[tuple[int, int, int], _Open] = {}
        self._numbers = self._waiting = 0
        self._blocks_of: tuple[int, list[list[int]]] = (-1, [])
        self._plans: dict[tuple[int, int], Future[Block]] = {}
        self._planner: ThreadPoolExecutor | None = None
        epoch, number, step = self._position(state)
        self.passed = Passed((state or {}).get("passed"))
        self._counted = (epoch, number) if state and "passed" in state else None
        self._block, self._step = self._plan(epoch, number).result(), step
        self._enter()
        self._asking, self._asked, self._from = self._block, 0, step

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """Return the next batch, uint8 (windows of this rank, T, H, W, 3).

        Raises:
            UserError: more clips than `training.max_bad_share` cannot be used, or none holds a window.
            RetryableError: the store failed several times.
        """
        began = time.perf_counter()
        empty = 0
        while self._step >= self._block.order.steps:
            empty += 1
            if empty > len(self._blocks(self._block.epoch)) + 1:
                raise self._no_window()
            self._block, self._step = self._plan(*self._following(self._block)).result(), 0
            self._enter()
        self._ask()
        video = np.empty((len(self._lanes), *self.shape), np.uint8)
        places = []
        for place, lane in enumerate(self._lanes):
            places.append(self._fill(video[place], lane))
        self._step += 1
        self._ask()
        self.wait_s += time.perf_counter() - began
        return Batch(video, places)

    def skip(self, steps: int) -> None:
        """Go so many steps ahead; nothing is decoded. Must come before the first batch."""
        while steps > 0:
            passed = min(steps, self._block.order.steps - self._step)
            self._step += passed
            steps -= passed
            if steps:
                self._block, self._step = self._plan(*self._following(self._block)).result(), 0
                self._enter()
        self._asking, self._asked, self._from = self._block, 0, self._step

    def state(self) -> dict[str, Any]:
        """Return the position behind the last batch, as JSON-able values; it does not depend on workers or ranks."""
        return {
            "epoch": self._block.epoch,
            "block": self._block.number,
            "step": self._step,
            "passed": self.passed.about(),
            **self._identity(),
        }

    def close(self) -> None:
        """Stop decoding."""
        if self._planner is not None:
            self._planner.shutdown(wait=True, cancel_futures=True)
        self.decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- position -------------------------------------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        return {"order": self.settings.about(), "set": [len(self._counts), sum(self._counts)]}

    def _position(self, state: Mapping[str, Any] | None) -> tuple[int, int, int]:
        if state is None:
            return 0, 0, 0
        if {name: state.get(name) for name in ("order", "set")} != self._identity():
            return int(state.get("epoch", 0)) + 1, 0, 0
        return int(state["epoch"]), int(state["block"]), int(state["step"])

    def _blocks(self, epoch: int) -> list[list[int]]:
        if self._blocks_of[0] != epoch:
            self._blocks_of = (epoch, blocks_of_epoch(self._counts, self.settings, epoch))
        return self._blocks_of[1]

    def _following(self, block: Block) -> tuple[int, int]:
        last = block.number + 1 >= len(self._blocks(block.epoch))
        return (block.epoch + 1, 0) if last else (block.epoch, block.number + 1)

    def _plan(self, epoch: int, number: int) -> Future[Block]:
        """Return the block with a number, as soon as its indexes are read."""
        key = (epoch, number)
        if key not in self._plans:
            blocks = self._blocks(epoch)
            arguments = (self._clips, blocks[number], self._reader, self.settings, epoch, number)
            if len(blocks) > 1 and not self._reader.keeps_all:
                # the next block is read while this one is used
                self._planner = self._planner or ThreadPoolExecutor(1, "window-order")
                self._plans[key] = self._planner.submit(read_block, *arguments)
            else:
                self._plans[key] = done = Future[Block]()
                done.set_result(read_block(*arguments))
        return self._plans[key]

    def _enter(self) -> None:
        """Count what the block that begins leaves out, and forget those before it."""
        block = self._block
        key = (block.epoch, block.number)
        for past in [held for held in self._plans if held < key]:
            del self._plans[past]
        for clip_id, reason in block.bad.items():
            self._tally.add(clip_id, reason)
        if block.epoch == 0 and key != self._counted:
            self.passed.clips += len(block.clips)
            self.passed.short += block.short
            self.passed.cut += block.cut

    def _no_window(self) -> UserError:
        passed = self.passed
        return UserError(
            f"none of {passed.clips} clips holds a window of {self.settings.window} frames: {passed.short} are shorter,"
            f" and {passed.cut} have scene cuts too close to each other. Lower {self._window_name}, or raise "
            "clips.seconds."
        )

    # -- windows --------------------------------------------------------------------------------------------------

    def _fill(self, window: Video, lane: int) -> Place:
        block = self._block
        number, index = block.at(lane, self._step)
        key = (block.epoch, block.number, number)
        while key not in self._open:
            self._ask(at_least=self._waiting + 1)
        opened = self._open[key]
        frames = self._frames(block, number, opened)
        if not opened.has_begun:
            opened.has_begun = True
            self._waiting -= 1
        place = index - opened.skipped
        window[:] = frames[place]
        self.decoder.release(opened.number, place)
        if index + 1 == len(block.order.visits[number].steps):
            del self._open[key]
        return Place(opened.clip_id, opened.starts[place])

    def _frames(self, block: Block, visit: int, opened: _Open) -> Any:
        while True:
            try:
                return self.decoder.windows(opened.number)
            except PermanentError as exc:
                if exc.error_class != BAD_SAMPLE:
                    raise
                self._tally.add(opened.clip_id, str(exc))
                self._submit(block, visit, opened)

    def _ask(self, at_least: int = 0) -> None:
        """Ask for the windows that come next, until enough clips wait for their turn."""
        while self._waiting < max(self._ahead, at_least):
            if self._asked == len(self._asking.order.visits):
                here, asking = ((block.epoch, block.number) for block in (self._block, self._asking))
                if asking > here:
                    return  # at most one block ahead
                following = self._plan(*self._following(self._asking))
                if asking == here and not following.done():
                    return
                self._asking, self._asked, self._from = following.result(), 0, 0
                continue
            number = self._asked
            self._asked += 1
            visit = self._asking.order.visits[number]
            skipped = sum(step < self._from for step in visit.steps)
            if visit.lane in self._lanes and skipped < len(visit.steps):
                opened = _Open(0, "", (), skipped)
                self._submit(self._asking, number, opened)
                self._open[(self._asking.epoch, self._asking.number, number)] = opened
                self._waiting += 1

    def _submit(self, block: Block, visit: int, opened: _Open) -> None:
        """Ask for the windows of a visit: of its own clip, or of the first that is not known to be unusable."""
        own = block.order.visits[visit]
        for index in block.candidates(visit):
            clip, starts = block.clips[index], own.starts
            if clip.clip_id in self._tally:
                continue
            if index != own.clip:
                drawn = substitute_starts(
                    block.starts[index], len(starts), self.settings, block.epoch, block.number, visit
                )
                starts = tuple(drawn)
            self._numbers += 1
            opened.number, opened.clip_id, opened.starts = self._numbers, clip.clip_id, starts[opened.skipped :]
            self.decoder.submit(Request(self._numbers, clip, opened.starts))
            return
        raise self._tally.too_many()
