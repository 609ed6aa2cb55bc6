"""The spot check: per keyword, a random few of the videos that the rules kept and rejected, with picture and reason.

The authors of Genie did this by hand (App. B.1). Here it is one HTML page without scripts: a person sees in a minute
whether a keyword brings in what it should, and whether the rules reject what they should not.

The page is a blob, `reports/spot-check.html`. The `.json` beside it names the videos that the page shows, so that a
takedown finds it. The steps, a file each: `spot_check_choice`, `spot_check_pictures`, `spot_check_page`.

    write_spot_check(Job(store, config, home))  # reports/spot-check.html
"""

from __future__ import annotations

import json
from typing import Any

from pipeline.config import fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.search.spot_check_choice import choose_videos
from pipeline.search.spot_check_page import render_sheet
from pipeline.search.spot_check_pictures import pictures_of
from pipeline.storage.named_pictures import replace_picture
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

KEY, ABOUT_KEY = "reports/spot-check.html", "reports/spot-check.json"


def write_spot_check(job: Job, *, per_keyword: int = 4, seed: int = 0) -> str | None:
    """Write the sheet, if it would change, and return its key; None where the store holds no video to show.

    Args:
        job: the store whose `videos` are shown, their source and rules, and the home (the embedded source's
            recordings).
        per_keyword: most kept and most rejected videos of a keyword.
        seed: another seed shows other videos.

    Raises:
        UserError: `per_keyword` is not positive.
    """
    if per_keyword < 1:
        raise UserError(f"a spot check of {per_keyword} videos per keyword shows none: use 1 or more")
    store, config = job.store, job.config
    drawn = fingerprint(
        per_keyword, seed, config.rules, config.source.kind, store.version("videos"), store.version("takedowns")
    )
    before = _about(store)
    if before.get("drawn") == drawn and store.exists(KEY):
        return KEY
    choice = choose_videos(store, config, per_keyword=per_keyword, seed=seed)
    pictures = pictures_of(job, choice.rows(), before.get("pictures", {}))
    # a takedown may have come while the pictures were fetched
    hidden = taken_down(store).hidden_among(store, pictures)
    shown = {name: one for name, one in pictures.items() if name not in hidden}
    if not shown:
        remove_spot_check(store)
        return None
    page = render_sheet(choice, shown, source=config.source.spec, seed=seed)
    about = {
        "drawn": drawn,
        "seed": seed,
        "videos": sorted(shown),
        "pictures": {name: one.uri for name, one in sorted(shown.items()) if one.uri},
    }
    replace_picture(store, KEY, page.encode(), ABOUT_KEY, about)
    return KEY


def withdraw_spot_check(store: Store) -> bool:
    """Delete the sheet if it shows a video that was taken down; return whether it did."""
    hidden, shown = taken_down(store).hidden_videos(store), _about(store).get("videos")
    # a sheet whose list of videos is lost may show any of them
    unknown = bool(hidden) and not isinstance(shown, list) and store.exists(KEY)
    if not unknown and (not isinstance(shown, list) or hidden.isdisjoint(shown)):
        return False
    remove_spot_check(store)
    return True


def remove_spot_check(store: Store) -> None:
    """Delete the sheet, the page first."""
    store.delete(KEY)
    store.delete(ABOUT_KEY)


def _about(store: Store) -> dict[str, Any]:
    try:
        found = json.loads(store.read_blob(ABOUT_KEY))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
