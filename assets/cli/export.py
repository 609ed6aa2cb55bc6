"""`lampworks export`: clips as Parquet, a world as a tar or as a page, the training set as a recipe."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from assets.cli.options import Parsers, add_model_option, used_settings
from assets.settings import Settings
from pipeline.errors import UserError

_OF_PAGES = {"starts": "--starts", "weights": "--weights", "backends": "--backends", "max_mb": "--max-mb"}


def add_commands(commands: Parsers) -> None:
    """Add `export`."""
    export = commands.add(
        "export",
        run_export,
        "Write the clips as Parquet, a world as one page or one tar, or the training set as a recipe.",
        "FILE.html: a page that plays the world without a server and without network, in any browser; it holds the\n"
        "weights and the start frames of held-out videos. FILE.tar, or a new FOLDER/: weights, start frames, sources\n"
        "and licences; `lampworks play FILE.tar` plays it anywhere. Both are of the configured world, or of the one\n"
        "that --model names.\n"
        "FILE.parquet: clip_id, video, source, title, span, tar with byte range, every flag, rating, score, decision,\n"
        "reason, split. With --recipe: ids, addresses, spans, hashes, licences and rules of the training set, without\n"
        "a pixel; `lampworks rebuild FILE` fetches it again elsewhere.",
        "  lampworks export world.html --root DIR\n  lampworks export world.tar --model 3f0c --root DIR\n"
        "  lampworks export set.recipe.jsonl.gz --recipe --root DIR\n"
        "  lampworks export clips.parquet --root DIR\n"
        "  duckdb -c \"select decision, count(*) from 'clips.parquet' group by 1\"",
    )
    export.add_argument(
        "file", metavar="FILE", help="FILE.html, FILE.tar or FOLDER/ for a world, any other ending for the clips"
    )
    export.add_argument("--recipe", action="store_true", help="write the training set as a recipe (.gz: packed)")
    add_model_option(export)
    page = export.add_argument_group("of FILE.html")
    page.add_argument("--starts", type=int, metavar="N", help="most start frames (default: 8)")
    page.add_argument("--weights", choices=["fp16", "fp32"], help="how weights are stored (default: fp16)")
    page.add_argument(
        "--backends", choices=["webgpu", "wasm"], help="webgpu: where the browser has it (default); wasm: 6 MB less"
    )
    page.add_argument("--max-mb", type=float, metavar="MB", help="largest page (default: 30)")


def run_export(args: argparse.Namespace) -> int:
    """Write the flat table, a world, or a recipe."""
    path = Path(args.file)
    if not path.absolute().parent.is_dir():
        raise UserError(f"folder {str(path.absolute().parent)!r} does not exist: make it, or choose another FILE.")
    given = {name: getattr(args, name) for name in _OF_PAGES if getattr(args, name) is not None}
    if given and (args.recipe or path.suffix != ".html"):
        options = ", ".join(_OF_PAGES[name] for name in given)
        raise UserError(f"{options}: of a world's page only: call the file {path.stem}.html, without --recipe.")
    settings = used_settings(args)
    if args.recipe:
        return _export_recipe(settings, path)
    if path.suffix == ".html":
        return _export_page(settings, path, args.model, given)
    if path.suffix == ".tar" or args.file.endswith("/"):
        from models.play.packed.write import export_packed

        world = export_packed(settings.store, settings.config, path, args.model)
        print(f"world {world} written to {path}: `lampworks play {shlex.quote(str(path))}` plays it anywhere")
        return 0
    if args.model:
        raise UserError(
            f"--model names a world, which is written as a page or a tar: call the file {path.stem}.html or "
            f"{path.stem}.tar"
        )
    return _export_clips(settings, path)


def _export_clips(settings: Settings, path: Path) -> int:
    from pipeline.inspect.export import export_clips

    export_clips(settings.store, settings.config, path)
    import pyarrow.parquet as pq

    print(f"{pq.read_metadata(path).num_rows} clips written to {path}")
    return 0


def _export_page(settings: Settings, path: Path, model: str | None, given: dict[str, object]) -> int:
    from models.export.export_page import export_page
    from pipeline.model_choice import models_in_use

    found = export_page(settings.store, settings.config, path, model, **given)  # type: ignore[arg-type]
    for note in models_in_use(settings.store, settings.config, model).notes:
        print(note)
    print(
        f"world {found.world} written to {path}: {found.size_bytes / 1e6:.1f} MB, {found.starts} start frames; open it "
        "in a browser"
    )
    return 0


def _export_recipe(settings: Settings, path: Path) -> int:
    from pipeline.inspect.export_recipe import export_recipe

    found = export_recipe(settings.store, settings.config, path)
    print(f"recipe of {found.clips} clips of {found.videos} videos written to {path}")
    if found.own_files:
        print(f"  {found.own_files} videos are files of this machine: who rebuilds it needs copies (--files DIR)")
    if found.secrets:
        print(
            f"  {found.secrets} addresses hold a password or a query, which is left out: they may not answer without it"
        )
    return 0
