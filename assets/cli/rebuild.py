"""`lampworks rebuild`: fetch a recipe's videos again, cut them, compare, and say how much is still alive."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from assets.cli.options import Parsers, add_set_option
from assets.cli.run import take_pass
from assets.settings import Settings, load_settings, parse_storage_options
from pipeline.config import parse_overrides
from pipeline.errors import UserError
from pipeline.outside import shown_text
from pipeline.recipe import Recipe


def add_commands(commands: Parsers) -> None:
    """Add `rebuild`."""
    rebuild = commands.add(
        "rebuild",
        run_rebuild,
        "Rebuild a training set from a recipe: fetch, cut, compare with its hashes, shard.",
        "A recipe (`lampworks export FILE --recipe`) names videos and spans and holds no pixels. Its videos are\n"
        "fetched from where they are, cut as the recipe says, and compared by the hashes of their pictures: a clip is\n"
        "kept where it is the same. Prints the share of the recipe that is still alive. A stopped run goes on.",
        "  lampworks rebuild set.recipe.jsonl.gz --root DIR\n"
        "  lampworks rebuild set.recipe.jsonl.gz --root DIR --files MY_COPIES",
    )
    rebuild.add_argument("recipe", metavar="RECIPE", help="the file, packed (.gz) or not")
    rebuild.add_argument("--files", metavar="DIR", help="folder with your copies of videos that have no address")
    rebuild.add_argument("--json", action="store_true", help="print one JSON object")
    add_set_option(rebuild)


def run_rebuild(args: argparse.Namespace) -> int:
    """Run the pass and print what is alive; exit code 1 where nothing is."""
    from classifier.decision.recipe_report import recipe_report

    recipe = Recipe(args.recipe)
    if recipe.head.num_clips == 0:
        raise UserError(f"recipe {args.recipe!r} lists no clip")
    if args.files and not Path(args.files).is_dir():
        raise UserError(f"--files {args.files!r} is no folder")
    settings = _settings(args, recipe)
    told = argparse.Namespace(**{**vars(args), "plan": False, "select": ["+training_shards"], "source": None})
    # with --json, standard output holds the object alone
    with redirect_stdout(sys.stderr) if args.json else nullcontext():
        code = take_pass(told, settings)
    found = recipe_report(settings.store, settings.config, recipe)
    if args.json:
        print(json.dumps({**vars(found), "alive": found.alive, "alive_share": found.alive_share}))
    else:
        lost = ", ".join(f"{count} {shown_text(name)}" for name, count in found.not_fetched.items()) or "none"
        print(f"recipe   {found.videos} videos, {found.fetched} fetched, not fetched: {lost}")
        print(
            f"clips    {found.clips}: {found.same_bytes} with the same bytes, {found.same_picture} with the same "
            f"picture, {found.other_picture} with another one, {found.missing} missing"
        )
        if not found.same_clip_spec:
            print(
                "warning  this version of lampworks cuts clips in another way than the recipe's: none can be compared"
            )
        print(f"alive    {found.alive} of {found.clips} clips ({found.alive_share:.1%})")
    return code if found.alive else 1


def _settings(args: argparse.Namespace, recipe: Recipe) -> Settings:
    """Return the root's settings with the source, the clip format and the splits of a recipe."""
    options = parse_storage_options(args.storage_options) if args.storage_options else None
    where: dict[str, Any] = {"config": args.config, "home": args.home, "storage_options": options, "base": "demo"}
    home = load_settings(args.root, **where).home
    copy = home.recipes / f"{recipe.sha256()[:12]}{'.gz' if recipe.path.suffix == '.gz' else ''}"
    if not copy.is_file():
        # the root goes on without the original: `status`, the next pass, the schedule
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recipe.path, copy.with_name(f".tmp-{copy.name}"))
        copy.with_name(f".tmp-{copy.name}").replace(copy)
    chosen = [
        f"{section}.{name}={json.dumps(value)}"
        for section in ("clips", "split", "shards")
        for name, value in getattr(recipe.head, section).items()
    ]
    chosen.append("decision.mode=recipe")
    if args.files:
        chosen.append(f"source.files={json.dumps(str(Path(args.files).absolute()))}")
    overrides = parse_overrides([*chosen, *(args.set or ())])
    return load_settings(args.root, source=f"recipe:{copy}", overrides=overrides, **where)
