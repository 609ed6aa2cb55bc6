"""Draw the pictures that are not there and that no pass would find to be due: set aside as damaged, or never drawn.

A search or a download that is killed between its last row and its picture has nothing left to do.

for sentence in draw_again(settings, ["reports/contact/2026w47-0001.jpg"]):
    print(sentence)
"""

from __future__ import annotations

from collections.abc import Sequence

from assets.report import contact_sheets, curation_sheets
from assets.settings import Settings
from pipeline.search.batches import batches
from pipeline.search.spot_check import ABOUT_KEY, KEY, write_spot_check


def draw_again(settings: Settings, keys: Sequence[str]) -> list[str]:
    """Draw contact sheets, sheets of the decision and the spot check again; return a sentence for each.

    Args:
        settings: of the root; its tables must be whole.
        keys: blobs that are not there any more; those that are no such picture are passed over.
    """
    store, done = settings.store, []
    batches = {key.rpartition("/")[2].rpartition(".")[0] for key in keys if key.startswith(contact_sheets.FOLDER)}
    for batch in sorted(batches):
        if key := contact_sheets.draw_sheet(store, settings.config, batch):
            done.append(f"{key} is drawn again")
    if any(key.startswith(f"{curation_sheets.FOLDER}/") for key in keys):
        done += [f"{key} is drawn" for key in curation_sheets.draw_curation_sheets(store, settings.config).values()]
    if {KEY, ABOUT_KEY} & set(keys) and (drawn := write_spot_check(settings.job())):
        done.append(f"{drawn} is drawn again")
    return done


def draw_missing(settings: Settings, *, spot_check: bool, sheets: bool) -> None:
    """Draw what a killed search or download did not: the spot check, contact sheets of batches.

    Args:
        settings: of the root.
        spot_check: whether to draw the spot check where there is none.
        sheets: whether to draw the contact sheet of each batch that has none and has downloads.
    """
    store = settings.store
    if spot_check and not store.exists(KEY):
        write_spot_check(settings.job())
    if sheets:
        drawn = set(store.list_blobs(contact_sheets.FOLDER))
        for batch in batches(store):
            if contact_sheets.sheet_key(batch) not in drawn:
                contact_sheets.draw_sheet(store, settings.config, batch)
