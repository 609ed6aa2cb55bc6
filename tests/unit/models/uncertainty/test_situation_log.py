"""Situations are written beside a game that goes on, within their limits, and a store that fails stops nobody."""

import threading

import pytest

from models.uncertainty.situation_log import SituationLog
from pipeline.config import PlayConfig
from pipeline.storage.store import Store
from pipeline.uncovered import NearClips, Situation, read_situations

WAIT_S = 20


def situation(number: int) -> Situation:
    return Situation(
        world="w", start="held_out:0", clip_id=None, link=f"#actions={number}", t=number, score=0.9, entropy=1.0,
        residual=2.0, disagreement=0.1, expected_psnr=18.0, pictures=(b"png",),
    )  # fmt: skip


def no_clips(situations):
    return [NearClips([], "none")] * len(situations)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "root")


@pytest.fixture
def make(store):
    logs = []

    def log(nearest=no_clips, *, per_game=8, per_hour=60, **more):
        config = PlayConfig(uncovered_per_game=per_game, uncovered_per_hour=per_hour)
        logs.append(SituationLog(store, config, nearest, **{"report": lambda text: None, **more}))
        return logs[-1]

    yield log
    for one in logs:
        one.close(WAIT_S)


def test_a_game_goes_on_while_clips_are_looked_for_and_what_waits_is_written_at_the_end(store, make):
    looked, go_on, batches = threading.Event(), threading.Event(), []

    def slow(situations):
        batches.append(len(situations))
        looked.set()
        assert go_on.wait(WAIT_S)
        return no_clips(situations)

    log = make(slow, batch_s=0.01)
    assert log.note("a", situation(0))
    assert looked.wait(WAIT_S)
    assert all(log.note("a", situation(number)) for number in (1, 2, 3))
    assert read_situations(store) == []
    go_on.set()
    log.close(WAIT_S)
    assert sorted(row["t"] for row in read_situations(store)) == [0, 1, 2, 3]
    assert batches == [1, 3]


def test_a_game_and_an_hour_give_so_many_and_the_next_hour_gives_more(store, make):
    now = [0.0]
    log = make(per_game=2, per_hour=3, clock=lambda: now[0])
    taken = [log.note(game, situation(number)) for number, game in enumerate("aaabb")]
    assert taken == [True, True, False, True, False]
    now[0] = 3600.0
    assert not log.wants("a")
    assert log.note("b", situation(9))
    log.close(WAIT_S)
    assert sorted(row["t"] for row in read_situations(store)) == [0, 1, 3, 9]


def test_none_are_taken_where_none_are_wanted_or_after_the_end(store, make):
    assert not make(per_hour=0).note("a", situation(1))
    log = make()
    log.close(WAIT_S)
    assert not log.note("a", situation(1))
    assert read_situations(store) == []


def test_a_store_that_fails_is_told_once_a_batch_and_the_next_batch_is_written(store, make):
    said, told = [], threading.Event()
    failing = [True]

    def nearest(situations):
        if failing.pop() if failing else False:
            raise OSError("the disk is full")
        return no_clips(situations)

    def report(text):
        said.append(text)
        told.set()

    log = make(nearest, report=report, batch_s=0.01)
    log.note("a", situation(1))
    assert told.wait(WAIT_S)
    assert log.note("a", situation(2))
    log.close(WAIT_S)
    assert said == ["1 situations were not written to the table `uncovered`: the disk is full"]
    assert [row["t"] for row in read_situations(store)] == [2]
