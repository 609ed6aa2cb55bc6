"""Each person's own queue: their part, the clips that two rate, repeats of their own, and gold clips."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path

import pytest

from classifier.labels.annotators import Annotators
from classifier.labels.answers import Answers
from classifier.labels.journal import Journal, check_event
from classifier.labels.own_queue import Offer, OwnQueue
from classifier.labels.streams import QueueItem
from pipeline.config import LabelConfig
from pipeline.errors import UserError
from pipeline.storage.store import Store

NAMES = ("anna", "ben", "cleo")
QUEUE = [QueueItem(clip_id=f"v{i % 50:03d}-{i:09d}-ab", stream="random", inclusion=0.25) for i in range(1000)]
NO_EXTRAS = LabelConfig(repeat_share=0, gold_share=0)


class Room:
    """A journal in which several people rate, and what they have answered."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "labels.sqlite")
        self.answers = Answers(Store(folder / "root"), self.journal)

    def rate(self, who: str, offers: list[Offer], rating: int = 4, kind: str = "rate") -> None:
        given = {"kind": kind, "rating": rating if kind == "rate" else None}
        events = [{**given, "event_id": str(uuid.uuid4()), **offer} for offer in offers]
        self.journal.append([check_event(one) for one in events], who)
        self.answers.refresh()


@pytest.fixture
def room(store: Store, tmp_path: Path):
    room = Room(tmp_path)
    yield room
    room.journal.close()


def all_of(queue: OwnQueue, answers: Answers) -> list[Offer]:
    """Return every offer, in pages as the page asks for them."""
    offers, at = [], 0
    while at is not None:
        page = queue.page(at, 64, answers)
        offers += page.offers
        at = page.next
    return offers


def test_one_person_has_the_whole_queue_in_its_order(room):
    offers = all_of(OwnQueue(QUEUE, "anna", ["anna"], NO_EXTRAS), room.answers)
    assert [{**offer, "repeat": False} for offer in QUEUE] == offers


def test_people_divide_the_queue_and_a_share_is_rated_by_two(room):
    labels = LabelConfig(repeat_share=0, gold_share=0, shared_share=0.1)
    queues = [OwnQueue(QUEUE, name, NAMES, labels) for name in NAMES]
    parts = [queue.page(0, queue.size, room.answers).offers for queue in queues]
    count = Counter(offer["clip_id"] for part in parts for offer in part)
    assert len(count) == len(QUEUE)
    assert set(count.values()) == {1, 2}
    twice = {clip_id for clip_id, times in count.items() if times == 2}
    assert 60 < len(twice) < 140
    # one of the two rates it as the queue drew it, the other to measure agreement
    streams = [(offer["stream"], offer["inclusion"]) for part in parts for offer in part if offer["clip_id"] in twice]
    assert Counter(streams) == {("random", 0.25): len(twice), ("shared", 0.1): len(twice)}
    assert all(250 < queue.size < 500 for queue in queues)


def test_who_is_through_goes_on_with_what_the_others_left(room):
    queues = {name: OwnQueue(QUEUE, name, NAMES, NO_EXTRAS) for name in NAMES}
    for name in ("anna", "ben"):
        room.rate(name, queues[name].page(0, queues[name].size, room.answers).offers)
    left = all_of(queues["anna"], room.answers)
    part = {offer["clip_id"] for offer in queues["cleo"].page(0, queues["cleo"].size, room.answers).offers}
    alone = {offer["clip_id"] for offer in all_of(queues["cleo"], room.answers)} & {one["clip_id"] for one in left}
    assert {offer["clip_id"] for offer in left} <= part
    assert len(left) > 250
    assert len(alone) == len(left)
    room.rate("anna", left)
    # what two people rate is still open for the third; nothing else is
    assert len(all_of(queues["cleo"], room.answers)) < 60
    assert queues["anna"].done(room.answers) == (queues["anna"].size + len(left),) * 2
    done, total = queues["cleo"].done(room.answers)
    assert (done, total) == (0, len(all_of(queues["cleo"], room.answers)))


def test_ratings_of_people_who_do_not_divide_the_queue_take_nothing_from_it(room):
    queue = OwnQueue(QUEUE, "anna", NAMES, NO_EXTRAS)
    before = all_of(queue, room.answers)
    room.rate("import", before)
    assert all_of(queue, room.answers) == before
    assert queue.done(room.answers) == (0, queue.size)


def test_own_clips_come_again_unannounced_and_the_first_rating_stays(room):
    labels = LabelConfig(repeat_share=0.05, gold_share=0)
    queue = OwnQueue(QUEUE, "anna", ["anna"], labels)
    at, shown = 0, []
    while at is not None:
        page = queue.page(at, 32, room.answers)
        room.rate("anna", [offer for offer in page.offers if not offer["repeat"]], 4)
        room.rate("anna", [offer for offer in page.offers if offer["repeat"]], 2)
        shown += page.offers
        at = page.next
    again = [offer["clip_id"] for offer in shown if offer["repeat"]]
    assert 20 < len(again) < 80
    assert len(set(again)) == len(again)
    first_at = {offer["clip_id"]: place for place, offer in reversed(list(enumerate(shown)))}
    gaps = [place - first_at[offer["clip_id"]] for place, offer in enumerate(shown) if offer["repeat"]]
    assert min(gaps) >= 40
    assert set(room.answers.of("anna").values()) == {4}
    assert room.answers.repeats_of("anna") == dict.fromkeys(again, 2)
    assert queue.done(room.answers) == (len(QUEUE) + len(again),) * 2
    assert all_of(queue, room.answers) == []


def test_a_page_that_is_loaded_again_is_offered_the_same(room):
    queue = OwnQueue(QUEUE, "anna", ["anna"], LabelConfig(repeat_share=0.1, gold_share=0))
    room.rate("anna", queue.page(0, 200, room.answers).offers)
    first = queue.page(0, 64, room.answers)
    assert any(offer["repeat"] for offer in first.offers)
    assert (
        OwnQueue(QUEUE, "anna", ["anna"], LabelConfig(repeat_share=0.1, gold_share=0)).page(0, 64, room.answers)
        == first
    )


def test_clips_that_others_agree_on_or_a_reference_rates_are_mixed_in_as_gold(room):
    agreed, apart, reference, rated = ({**one, "repeat": False} for one in QUEUE[990:994])
    for name in ("ben", "cleo"):
        room.rate(name, [agreed], 5)
    room.rate("ben", [apart], 1)
    room.rate("cleo", [apart], 5)
    room.rate("gold", [reference, rated], 2)
    room.rate("anna", [rated], 2)
    queue = OwnQueue(QUEUE, "anna", ["anna"], LabelConfig(repeat_share=0, gold_share=0.2))
    gold = [offer for offer in queue.page(0, 200, room.answers).offers if offer["stream"] == "gold"]
    assert {offer["clip_id"] for offer in gold} == {agreed["clip_id"], reference["clip_id"]}
    assert not any(offer["repeat"] for offer in gold)


def test_a_skip_is_not_repeated_and_an_undone_clip_is_open_again(room):
    queue = OwnQueue(QUEUE, "anna", ["anna"], LabelConfig(repeat_share=0.5, gold_share=0))
    first = queue.page(0, 200, room.answers).offers
    room.rate("anna", first, kind="skip")
    assert not any(offer["repeat"] for offer in queue.page(0, 100, room.answers).offers)
    room.rate("anna", first[7:8], kind="undo")
    assert queue.page(0, 1, room.answers).offers == first[7:8]


def test_what_another_server_writes_into_the_journal_is_seen(room, tmp_path):
    queue = OwnQueue(QUEUE, "anna", ["anna"], NO_EXTRAS)
    with Journal(tmp_path / "labels.sqlite") as other:
        offer = queue.page(0, 1, room.answers).offers[0]
        other.append([check_event({"event_id": str(uuid.uuid4()), "kind": "rate", "rating": 3, **offer})], "anna")
    room.answers.refresh()
    assert room.answers.of("anna") == {offer["clip_id"]: 3}
    assert len(room.answers.events) == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [(["anna", "anna "], "'anna' is named twice"), (["anna", ""], "annotator ''"), (["arcade"], "embedded source")],
)
def test_names_that_cannot_be_used_are_refused(names, message):
    with pytest.raises(UserError, match=message):
        Annotators(names)
