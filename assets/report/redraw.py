"""Draw again the pictures that were set aside because they were damaged, and that no pass would find to be due.

for sentence in draw_again(settings, ["reports/contact/2026w47-0001.jpg"]):
    print(sentence)
"""

from __future__ import annotations

from collections.abc import Sequence

from assets.report import contact_sheets, curation_sheets
from assets.settings import Settings
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
