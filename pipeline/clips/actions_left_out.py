"""Which videos had a sidecar of true actions that could not be used, and why: their clips are there without actions."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.sources.actions import LEFT_OUT
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_SHOWN = 10


def actions_left_out(store: Store, spec: str, batch: str | None = None) -> dict[str, str]:
    """Return the reason by video_id: what was found when it was fetched, or when its frames were counted.

    Args:
        store: the store.
        spec: the clip format.
        batch: None: of all batches.
    """
    here = pc.scalar(True) if batch is None else pc.field("batch") == batch
    columns = ["video_id", "message", "finished_at"]
    fetched = store.read("downloads", columns, here & (pc.field("state") == "ok")).sort_by("finished_at")
    # a group's last value is otherwise its last that is not null
    said = fetched.set_column(1, "message", pc.coalesce(fetched["message"], pa.scalar("")))
    last = said.group_by("video_id", use_threads=False).aggregate([("message", "last")])
    unread = last.filter(pc.starts_with(last["message_last"], LEFT_OUT))
    unfit = store.read(
        "clippings", ["video_id", "actions_problem"],
        here & (pc.field("clip_spec") == spec) & pc.is_valid(pc.field("actions_problem")),
    )  # fmt: skip
    found = {str(row["video_id"]): str(row["actions_problem"]) for row in unfit.to_pylist()}
    found |= {str(row["video_id"]): row["message_last"].removeprefix(LEFT_OUT) for row in unread.to_pylist()}
    hidden = taken_down(store).hidden_among(store, found.keys()) if found else set()
    return {video_id: found[video_id] for video_id in sorted(found) if video_id not in hidden}


def sentences(left_out: dict[str, str]) -> Iterator[str]:
    """Yield what a person is told of them: the first few with their reasons, then how many there are, and the fix."""
    for video_id, why in list(left_out.items())[:_SHOWN]:
        yield f"{video_id}: {LEFT_OUT}{why}"
    if left_out:
        yield (
            f"{len(left_out)} videos have clips without their true actions: mend the files (`lampworks why VIDEO_ID` "
            "says what is wrong), then run `lampworks retry --class bad_actions` and `lampworks run`"
        )
