"""Which assets a pass makes: `clips`, `+clips` (with all before it), `clips+` (with all behind it), comma-separated."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from pipeline.errors import UserError

# asset -> the assets that it is made from; a test holds it equal to the definitions
UPSTREAM: dict[str, tuple[str, ...]] = {
    "search_results": (),
    "raw_videos": ("search_results",),
    "clips": ("raw_videos",),
    "near_duplicates": ("clips",),
    "label_queue": ("clips", "near_duplicates"),
    "quality_labels": ("clips", "label_queue"),
    "quality_classifier": ("quality_labels",),
    "clip_scores": ("clips", "quality_classifier"),
    "curated_clips": ("clip_scores", "near_duplicates", "quality_labels"),
    "training_shards": ("curated_clips", "near_duplicates"),
    "video_tokenizer": ("training_shards",),
    "world_model": ("training_shards", "video_tokenizer"),
    "world_evaluation": ("training_shards", "world_model", "video_tokenizer"),
    "playable_world": ("world_model", "video_tokenizer"),
    "curation_ablation": ("training_shards", "curated_clips", "world_model"),
}


def resolve_selection(
    select: Sequence[str] | None, assets: Collection[str], on_request: Collection[str]
) -> frozenset[str]:
    """Return the names that a selection means; None means all but those that run on request only.

    Raises:
        UserError: a name is unknown, or the selection is empty.
    """
    if select is None:
        return frozenset(assets) - frozenset(on_request)
    chosen: set[str] = set()
    for text in (part.strip() for item in select for part in item.split(",")):
        if not text:
            continue
        name = text.strip("+")
        if name not in assets:
            close = difflib.get_close_matches(name, assets, n=1)
            raise UserError(
                f"--select {text!r}: unknown asset"
                + (f"; did you mean {close[0]}?" if close else f"; choose of {', '.join(sorted(assets))}")
            )
        chosen.add(name)
        if text.startswith("+"):
            chosen |= _closure(name, UPSTREAM)
        if text.endswith("+"):
            chosen |= _closure(name, _downstream()) - frozenset(on_request)
    if not chosen:
        raise UserError(f"--select names nothing; choose of {', '.join(sorted(assets))}")
    return frozenset(chosen)


def _closure(name: str, edges: dict[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in edges[waiting.pop()]:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _downstream() -> dict[str, tuple[str, ...]]:
    return {name: tuple(other for other, inputs in UPSTREAM.items() if name in inputs) for name in UPSTREAM}
