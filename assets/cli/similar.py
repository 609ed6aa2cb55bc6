"""`lampworks similar`: the clips that look most like a clip of the root, or like a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assets.cli.options import Parsers, used_settings
from pipeline.errors import PermanentError, UserError
from pipeline.outside import shown_text
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

if TYPE_CHECKING:
    from classifier.embedding.nearest import Similar

_TOP = 10


def add_commands(commands: Parsers) -> None:
    """Add `similar`."""
    similar = commands.add(
        "similar",
        run_similar,
        "List the clips that look most like a clip, or like a video file.",
        "By the embeddings of a frozen ImageNet network (asset clip_embeddings), as a cosine: 1 is the same picture.\n"
        "It says what looks alike, not what is a copy: `lampworks why` names proven copies.",
        "  lampworks similar youtube-dQw4w9WgXcQ-000016000-5f0c12ab --root DIR\n"
        "  lampworks similar level.mp4 --top 5 --root DIR        clip by clip of a file",
    )
    similar.add_argument("what", metavar="CLIP_ID|FILE", help="a clip (the start of its id will do), or a video file")
    similar.add_argument("--top", type=int, default=_TOP, metavar="N", help=f"clips to list ({_TOP})")
    similar.add_argument("--json", action="store_true", help="print one JSON object")


def run_similar(args: argparse.Namespace) -> int:
    """Print the nearest clips."""
    if args.top < 1:
        raise UserError(f"--top = {args.top}: must be at least 1")
    settings = used_settings(args)
    from classifier.embedding.nearest import similar_to_clip, similar_to_file

    store, config, path = settings.store, settings.config, Path(args.what)
    found: dict[str, Sequence[Similar]]
    if path.is_file():
        try:
            windows = similar_to_file(store, config, path, args.top)
        except PermanentError as exc:
            raise UserError(f"{path} cannot be read as a video: {exc}") from exc
        found = {f"{path.name} from {start_ms / 1000:.1f} s": clips for start_ms, clips in windows.items()}
    else:
        clip_id = _clip(store, args.what)
        found = {clip_id: similar_to_clip(store, config, clip_id, args.top)}
    if args.json:
        print(json.dumps({name: [vars(clip) for clip in clips] for name, clips in found.items()}, indent=2))
        return 0
    for name, clips in found.items():
        print(f"{shown_text(name)}:")
        _print(clips)
    return 0


def _print(clips: Sequence[Similar]) -> None:
    for clip in clips:
        print(f"  {clip.cosine:.3f}  {clip.clip_id}")
    if not clips:
        print("  no other clip is embedded")


def _clip(store: Store, name: str) -> str:
    from pipeline.inspect.find_id import find_id

    found = find_id(store, name)
    if found.kind == "clip":
        return found.id
    mine = pc.field("video_id") == (found.id if found.kind == "video" else "")
    ids = sorted(map(str, store.read("clips", ["clip_id"], mine)["clip_id"].to_pylist()))
    first = f", such as {ids[0]}" if ids else ""
    raise UserError(f"{name!r} is a {found.kind}: name one of its clips{first}, or a video file")
