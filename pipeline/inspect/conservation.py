"""The conservation law: nothing that came in is unaccounted for, at any stage.

`violations` reads nothing but the object that `lampworks status --json` prints, so that whoever holds that object
can check the sums again. The two sides of every sum are counted from different places (a search's own count and the
rows of `videos`, attempts and videos, the clips that a cut announced and the rows of `clips`, a manifest and the
rows of `shards`): a row that is lost anywhere makes a sentence here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TOLERANCE_S = 0.01


def violations(status: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each sum of a status that does not hold; an empty list means that all do."""
    videos, downloads, clips = status["videos"], status["downloads"], status["clips"]
    labels, curated, shards = status["labels"], status["curated"], status["shards"]
    found: list[str] = []

    def equal(whole: str, total: float, parts: Mapping[str, float], tolerance: float = 0.0) -> None:
        if abs(total - sum(parts.values())) > tolerance:
            listed = " + ".join(f"{value:g} {name}" for name, value in parts.items())
            found.append(f"{whole}: {total:g} is not {listed}")

    rejected = sum(videos["rejected"].values())
    equal("videos found by the searches", videos["found"], {"kept": videos["kept"], "rejected": rejected})
    equal(
        "videos kept",
        videos["kept"],
        {
            "downloaded": downloads["ok"],
            "failed": sum(downloads["failed"].values()),
            "rejected at the download": sum(downloads["rejected"].values()),
            "pending": downloads["pending"],
            "taken down": downloads["taken_down"],
        },
    )
    equal(
        "videos downloaded",
        downloads["ok"],
        {
            "cut": clips["videos_cut"],
            "failed to cut": sum(clips["failed"].values()),
            "not yet cut": clips["videos_pending"],
        },
    )
    equal("clips that the cuts announced", clips["announced"], {"rows of clips": clips["total"]})
    equal(
        "seconds of the videos that were cut",
        clips["source_seconds"],
        {"in clips": clips["clip_seconds"], "remainder": clips["remainder_seconds"]},
        _TOLERANCE_S,
    )
    if clips["grouped"] is not None:
        equal("clips", clips["total"], {"with a duplicate group": clips["grouped"]})
    equal("labelled clips", labels["total"], {f"rated {k}": v for k, v in labels["by_rating"].items()})
    decided = {name: curated[name] for name in ("keep", "drop", "review")}
    equal("clips", clips["total"], {**decided, "undecided": curated["undecided"]})
    if curated["current"] and curated["undecided"]:
        found.append(f"decision: made over all clips, yet {curated['undecided']} of them have none")
    for split in ("train", "val"):
        if shards["announced"] is not None:
            equal(
                f"{split} samples of the manifest", shards["announced"][split], {"in shards": shards[split]["samples"]}
            )
    if shards["current"]:
        samples = {split: shards[split]["samples"] for split in ("train", "val")}
        equal("clips kept", curated["keep"], {f"in {split} shards": value for split, value in samples.items()})
    for missing in status["models"]["dangling"]:
        found.append(f"models: {missing} is named by what came after it and has no row")
    for table, rows in status["deleted_rows"].items():
        found.append(f"table {table}: {rows} rows were deleted by something other than lampworks")
    return found
