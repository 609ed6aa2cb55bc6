"""Every asset is SIGKILLed at random moments, up to 20 times, while the graph runs to its end.

Whenever an asset is done after kills, everything that readers see equals that of a run which nobody disturbed: the
rows of every table and the bytes of every blob (`tests.campaign.published` says what holds times and is left out).
After each kill no process is left; after half of them, and whenever an asset is done, all totals balance: source =
clips + remainder + lost, rows of the ledger = videos, and the others of `lampworks status`. No unfinished file is left.

An attempt is a fork of a warm process (`tests.campaign.warm`): the real driver, Dagster on the root's own home, real
worker processes, trainings at toy width. It is killed at a random one of its calls that change a file, at a commit, or
after a random time. What this does not prove: that a machine which loses its power keeps what was written (only the
process dies; its written pages stay with the kernel); a kill while the interpreter starts and imports; two runs at once
(`tests/threats/test_at_once.py`); an object store, where the same writes are single PUTs; and what 20 moments of a few
hundred do not hit. Every run has the same seed; LAMPWORKS_CAMPAIGN_SEED sets another one. With LAMPWORKS_KILLS=20 every
asset is killed 20 times, however long that takes; docs/faults.md says how long. With LAMPWORKS_KILLED=clips,clip_scores
these assets alone are killed, so that the whole can be done in parts: what they need is made once in both roots, and
nothing is made after them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.graph.jobs import ON_REQUEST
from tests.campaign.campaign import ASSETS, Campaign, WarmProcess

ASKED = os.environ.get("LAMPWORKS_KILLS", "")
"""How often a person wants each asset to be killed; "": as far as the time goes."""
CHOSEN = tuple(filter(None, os.environ.get("LAMPWORKS_KILLED", "").split(","))) or ASSETS
"""The assets that are killed."""
# up to the labelling queue at least, which the second test looks at
MADE = ASSETS[: max(ASSETS.index(asset) for asset in (*CHOSEN, "label_queue")) + 1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(8 * 3600 if ASKED else 3600)]
KILLS = int(ASKED or 20)
"""Of an asset, where its share of the time allows them."""
CPU_S = math.inf if ASKED else 100.0
"""For all assets together."""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """The undisturbed run."""
    folder = tmp_path_factory.mktemp("campaign")
    seed = int(os.environ.get("LAMPWORKS_CAMPAIGN_SEED", "20261126"))
    print(f"seed {seed}")
    with WarmProcess(folder) as warm:
        found = Campaign(folder, warm, seed)
        found.start()
        yield found


def test_every_asset_ends_as_undisturbed_however_often_it_is_killed(campaign: Campaign) -> None:
    records = []
    for place, asset in enumerate(MADE):
        campaign.make_undisturbed(asset)
        # what quick assets leave of their share goes to those that come later: trainings are the last and the slowest
        share = (CPU_S - campaign.warm.cpu_s) / (len(MADE) - place)
        record = campaign.kill_often(asset, KILLS if asset in CHOSEN else 0, share)
        assert record.rounds, asset
        if asset in CHOSEN:
            records.append(record)
            print(record.line())
    kills = sum(len(record.kills) for record in records)
    print(f"{kills} kills, {campaign.warm.cpu_s:.0f} CPU-s")
    assert KILLS >= 1
    assert [record.asset for record in records if record.kills] == [asset for asset in ASSETS if asset in CHOSEN]
    assert not ASKED or all(len(record.kills) == KILLS for record in records)
    # a last pass over a root that was killed finds nothing to do and leaves nothing unfinished
    last = next(asset for asset in reversed(MADE) if asset not in {*ON_REQUEST, "playable_world"})
    assert campaign.make(campaign.disturbed, last)["runs"] == []
    assert campaign.unfinished() == set()
    assert campaign.warm.survivors() == []


def test_the_campaign_sees_a_difference(campaign: Campaign) -> None:
    """The comparison is no formality: one other byte of one blob, and one other row, are seen."""
    good = campaign.after[MADE[-1]]
    queue = campaign.calm / "labels" / "queue.json"
    whole = queue.read_bytes()
    queue.write_bytes(whole.replace(b"1", b"2", 1))
    found = campaign.look(campaign.calm, whole=True)["published"]
    queue.write_bytes(whole)
    assert {name for name in good if good[name] != found.get(name)} == {"labels/queue.json"}
    assert Path(campaign.folder / "log").stat().st_size > 0
