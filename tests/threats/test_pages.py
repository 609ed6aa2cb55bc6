"""Damage of what no row names: pictures, queues, checkpoints, labels of the page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from assets.report.contact_sheets import draw_sheet, sheet_about
from assets.report.curation_sheets import draw_curation_sheets
from assets.report.page import write_page
from assets.report.redraw import draw_missing
from assets.settings import Settings
from classifier.labels.journal import Journal, check_event
from models.training.checkpoint import Checkpoints
from pipeline.errors import UserError
from pipeline.inspect.deep import find_faults
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.mend import mend
from pipeline.search.batches import batches
from pipeline.search.spot_check import write_spot_check
from pipeline.storage.checksums import all_checksums
from pipeline.storage.event_checksums import event_crc, is_whole
from pipeline.storage.store import Store
from tests.threats.test_deep_check import flipped

pytestmark = pytest.mark.usefixtures("inline")


def damage(path: Path) -> bytes:
    """Flip a byte of a file, and return what it was before."""
    whole = path.read_bytes()
    path.write_bytes(flipped(whole))
    return whole


def test_the_command_draws_damaged_pictures_again_to_the_same_bytes(root: Store, lampworks: Any) -> None:
    patterns = ("reports/contact/*.jpg", "reports/curation/best.jpg", "reports/spot-check.html")
    paths = [sorted(Path(root.root).glob(pattern))[0] for pattern in patterns]
    before = [damage(path) for path in paths]
    code, told = lampworks("doctor", "--deep")
    assert code == 1
    for path in paths:
        assert f"{path} has another SHA-256 than when it was written" in told
    lampworks("doctor", "--mend")
    assert [path.read_bytes() for path in paths] == before
    assert "damaged  " not in lampworks("doctor", "--deep")[1]


def test_what_a_killed_search_or_download_did_not_draw_is_drawn(root: Store, settings: Settings) -> None:
    folder = Path(root.root) / "reports"
    paths = [*folder.glob("contact/*"), *folder.glob("spot-check.*")]
    assert len(paths) == 4
    before = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    draw_missing(settings, spot_check=False, sheets=False)
    assert not any(path.exists() for path in paths)
    draw_missing(settings, spot_check=True, sheets=True)
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("ending", ["safetensors", "json"])
def test_a_damaged_checkpoint_is_named_before_a_training_needs_it(root: Store, lampworks: Any, ending: str) -> None:
    path = sorted(Path(root.root).glob(f"models/world_model/runs/*/checkpoints/step-*.{ending}"))[-1]
    damage(path)
    code, told = lampworks("doctor", "--deep")
    assert code == 1
    assert path.with_suffix("").name.removeprefix("step-").lstrip("0") in told
    assert f"{root.root}/{path.parent.relative_to(root.root)}" in told
    lampworks("doctor", "--mend")
    assert "cannot be used" not in lampworks("doctor", "--deep")[1]
    left = Checkpoints(root, path.parent.relative_to(root.root).as_posix())
    assert all(left.read(step) for step in left.steps())
    assert not path.exists()


def rated(settings: Settings, ratings: list[int]) -> list[str]:
    """Rate clips in the journal, as the page does, and return the ids of the events."""
    events = [
        check_event(
            {"event_id": f"00000000-0000-4000-8000-{place:012d}", "clip_id": "c", "kind": "rate", "rating": rating}
        )
        for place, rating in enumerate(ratings)
    ]
    with Journal(settings.home.journal) as journal:
        return journal.append(events, "ada").saved


def test_a_rating_that_became_another_is_no_rating(root: Store, settings: Settings, lampworks: Any) -> None:
    ids = rated(settings, [4, 5, 3])
    with closing(sqlite3.connect(settings.home.journal)) as file:
        # as a flipped bit of the file does: the database is sound, and says something else
        file.execute("DROP TRIGGER events_no_update")
        file.execute("UPDATE events SET rating = 1 WHERE seq = 2")
        file.commit()
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with Journal(settings.home.journal) as journal, pytest.raises(UserError, match=r"event 2 is not what was written"):
        journal.events()
    [fault] = find_faults(root, settings.home)
    assert "event 2 is not what was written" in fault.why
    told = lampworks("doctor", "--mend")[1]
    assert "2 of its events could be read" in told
    with Journal(settings.home.journal) as journal:
        assert [event["event_id"] for event in journal.events()] == [ids[0], ids[2]]


def test_an_event_of_an_older_journal_has_no_checksum_and_counts() -> None:
    event: dict[str, object] = {"event_id": "e", "rating": 3, "seconds": None, "repeat": 0}
    assert is_whole(event)
    event["crc"] = event_crc(event)
    assert is_whole({**event, "seq": 7, "a_later_column": None})
    assert not is_whole({**event, "rating": 2})


class KilledAt(Store):
    """A store whose process ends when it writes a blob with this ending."""

    ending = ""

    def write_blob(self, key: str, data: bytes) -> None:
        if key.endswith(self.ending):
            raise KeyboardInterrupt
        super().write_blob(key, data)


DRAW: dict[str, tuple[str, Callable[[Store, Settings], object]]] = {
    "contact sheet": ("reports/contact/*.jpg", lambda store, own: draw_sheet(store, own.config, batches(store)[0])),
    "sheets of a decision": ("reports/curation/best.jpg", lambda store, own: draw_curation_sheets(store, own.config)),
    "spot check": (
        "reports/spot-check.html",
        lambda store, own: write_spot_check(Settings(store, own.config, own.home).job(), seed=3),
    ),
    "report": ("reports/latest/index.html", lambda store, own: write_page(store, "reports/latest", "new", ["c"])),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_never_stands_beside_the_names_of_another(root: Store, settings: Settings, name: str) -> None:
    """A takedown finds pictures by the names beside them, and a sheet with its names counts as drawn."""
    pattern, draw = DRAW[name]
    path = sorted(Path(root.root).glob(pattern))[0]
    about = path.with_name("clips.json") if name == "report" else path.with_suffix(".json")
    names = about.read_bytes()
    if name != "spot check":
        # what it shows has changed since
        about.write_bytes(names.replace(b'"', b'"x', 1) if name == "report" else b"{}")
    killed = KilledAt(root.root)
    killed.ending = path.suffix
    with pytest.raises(KeyboardInterrupt):
        draw(killed, settings)
    assert not path.exists()
    draw(root, settings)
    assert path.exists()


def test_what_was_deleted_is_not_damaged_and_its_name_is_forgotten(root: Store, settings: Settings) -> None:
    [sheet] = Path(root.root).glob("reports/contact/*.jpg")
    key = sheet.relative_to(root.root).as_posix()
    assert key in all_checksums(Path(root.root))
    root.delete(key)
    root.delete(sheet.with_suffix(".json").relative_to(root.root).as_posix())
    assert find_faults(root, settings.home) == []
    root.write_blob("models/x/.tmp-1", b"")
    collect_garbage(root, dry_run=False)
    assert key not in all_checksums(Path(root.root))
    assert sheet_about(root, sheet.stem) == {}


def test_a_damaged_sidecar_is_fetched_again_with_its_video(root: Store, settings: Settings) -> None:
    path = sorted(Path(root.root).glob("raw/*/*level-0*.actions.jsonl"))[0]
    damage(path)
    [fault] = find_faults(root, settings.home)
    assert fault.key == path.relative_to(root.root).as_posix()
    mend(root, settings.home, [fault])
    assert find_faults(root, settings.home) == []
    [row] = [row for row in root.read("downloads").to_pylist() if row["state"] == "dropped"]
    assert row["path"].endswith(".mp4")
