"""`lampworks uncovered`: the situations of games that a world could only guess."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.cli.options import Parsers, add_model_option, root_options, used_settings
from pipeline.errors import UserError
from pipeline.outside import shown_text
from pipeline.storage.arrow import is_one_of
from pipeline.storage.store import Store

_TOP = 10
_MOST_NAMES = 5


def add_commands(commands: Parsers) -> None:
    """Add `uncovered`."""
    uncovered = commands.add(
        "uncovered",
        run_uncovered,
        "List the situations of games that a world could only guess.",
        "`lampworks play` notes where its world begins to guess, with the clips that look most like it. The labelling\n"
        "queue offers these clips in its stream `uncovered`. Newest situations come first. The queries and channels\n"
        "behind these clips are counted: `source.queries` and `source.channels` can ask for more of them.",
        "  lampworks uncovered --root DIR\n  lampworks uncovered --pictures unseen --root DIR      with their pictures",
    )
    uncovered.add_argument("--top", type=int, default=_TOP, metavar="N", help=f"situations to list ({_TOP})")
    uncovered.add_argument("--pictures", type=Path, metavar="DIR", help="write the picture of each to a folder")
    uncovered.add_argument("--json", action="store_true", help="print one JSON array")
    add_model_option(uncovered)


def run_uncovered(args: argparse.Namespace) -> int:
    """Print the situations."""
    if args.top < 1:
        raise UserError(f"--top = {args.top}: must be at least 1")
    settings = used_settings(args)
    from pipeline.model_choice import pick_model
    from pipeline.model_ids import WORLD
    from pipeline.storage.models_table import all_models
    from pipeline.uncovered import read_situations

    store = settings.store
    world = None if args.model is None else pick_model(all_models(store), args.model, WORLD).model_id
    every = read_situations(store, world)
    rows = every[: args.top]
    pictures = {} if args.pictures is None else _write_pictures(store, rows, args.pictures)
    if args.json:
        found = [
            {**row, "seen_at": row["seen_at"].isoformat(), "picture": pictures.get(row["situation_id"])} for row in rows
        ]
        print(json.dumps(found, indent=2))
        return 0
    if not every:
        print("no situation is noted: `lampworks play` notes them where play.doubt is on and the world is evaluated")
        return 0
    for row in rows:
        print("\n".join(_lines(row, pictures.get(row["situation_id"]), root_options(args))))
    if len(every) > len(rows):
        print(f"and {len(every) - len(rows)} more (`--top {len(every)}` lists all)")
    for name, counts in _origins(store, every).items():
        listed = ", ".join(f"{shown_text(one)} ({count})" for one, count in counts.most_common(_MOST_NAMES))
        if listed:
            print(f"{name} of the clips that look like them, by situations: {listed}")
    return 0


def _lines(row: Mapping[str, Any], picture: str | None, options: str) -> list[str]:
    model = f" --model {row['world']}"
    lines = [
        f"{row['situation_id']}  {row['seen_at']:%Y-%m-%d %H:%M} UTC, frame {row['t']} from {row['start']}: score "
        f"{row['score']:.2f}, expected PSNR {row['expected_psnr']:.1f} dB",
        f"  signals  entropy {row['entropy']:.3f} nat, residual {row['residual']:.2f} grey levels, disagreement "
        f"{row['disagreement']:.3f}",
        f"  play     `lampworks play{model}{options}`, then add to the address: {row['link']}",
        f"  picture  {picture or f'`lampworks uncovered --pictures DIR{options}` writes it'}",
    ]
    for place, clip_id in enumerate(row["nearest"]):
        how = f"  (`lampworks similar {clip_id}{options}`)" if place == 0 else ""
        lines.append(f"  {'' if place else 'like':<7}  {clip_id}{how}")
    if not row["nearest"]:
        lines.append(f"  like     no clip: {row['message']}")
    return lines


def _write_pictures(store: Store, rows: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Write the picture of each situation, and return their paths."""
    from pipeline.uncovered import picture_of

    if folder.exists() and not folder.is_dir():
        raise UserError(f"--pictures = {folder}: is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for row in rows:
        data, path = picture_of(store, row["situation_id"]), folder / f"{row['situation_id']}.png"
        if data is not None:
            path.write_bytes(data)
            written[row["situation_id"]] = str(path)
    return written


def _origins(store: Store, rows: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Return by `queries` and `channels` how many situations each is behind, by the clips that look like them."""
    videos = [{clip_id.rsplit("-", 2)[0] for clip_id in row["nearest"]} for row in rows]
    named = sorted(set().union(*videos))
    found = store.read("videos", ["video_id", "queries", "channel"], is_one_of("video_id", named)).to_pylist()
    about = {row["video_id"]: row for row in found}
    queries: Counter[str] = Counter()
    channels: Counter[str] = Counter()
    for own in videos:
        known = [about[video_id] for video_id in own if video_id in about]
        queries.update({query for row in known for query in row["queries"] or ()})
        channels.update({row["channel"] for row in known if row["channel"]})
    return {"queries": queries, "channels": channels}
