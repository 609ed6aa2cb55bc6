"""`lampworks label`: the labelling page, and labels in and out as files."""

from __future__ import annotations

import argparse
import getpass

from assets.cli.options import (
    Parsers,
    add_address_options,
    add_log_options,
    add_root_options,
    address_of,
    settings_of,
    used_settings,
)
from pipeline.errors import UserError
from pipeline.outside import shown_text


def add_commands(commands: Parsers) -> None:
    """Add `label` with `import` and `export` below it."""
    label = commands.add(
        "label",
        run_label,
        "Rate clips in a browser, one key each; or import and export labels.",
        "Serve a page on this machine that shows one looping clip at a time: keys 1 to 5 rate it and show the next,\n"
        "u undoes, g shows sixteen at once, ? lists all keys. A label that the page calls saved is on disk, and the\n"
        "page resumes where you stopped. The next `lampworks run` trains on the labels.\n\n"
        "Several people divide the queue: --annotators anna,ben. Each opens the page at ?who=NAME, and a share of the\n"
        "clips (labels.shared_share) is rated by two of them, so that their agreement is known.\n\n"
        "  lampworks label import FILE.csv     columns clip_id,rating or video,start_s,rating; also Label Studio's\n"
        "                                      exports, JSON and Parquet\n"
        "  lampworks label export FILE.csv     one row per clip and annotator",
        "  lampworks label --root DIR --annotator ada\n  lampworks label --root DIR --annotators anna,ben\n"
        "  lampworks label --root DIR --audit\n"
        "  lampworks label import ratings.csv --root DIR --annotator ada",
    )
    add_address_options(label, 8001)
    people = label.add_mutually_exclusive_group()
    people.add_argument("--annotator", default=None, metavar="NAME", help="who rates (default: your user name)")
    people.add_argument("--annotators", metavar="A,B,...", help="people who divide the queue; nobody else can rate")
    label.add_argument(
        "--audit",
        action="store_true",
        help="offer a fresh random sample of the present decision, kept clips and others: what they are rated gives "
        "the precision and the recall of the set",
    )
    files = label.add_subparsers(title="files", metavar="")
    for name, handler, summary in (
        ("import", run_import, "Add the ratings of a CSV or Parquet file, all or none."),
        ("export", run_export, "Write the labels as CSV, or as Parquet by the file's ending."),
    ):
        command = files.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  lampworks label {name} ratings.csv --root DIR",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("file", metavar="FILE")
        if name == "import":
            command.add_argument(
                "--annotator", default=None, metavar="NAME", help="who rated (default: your user name)"
            )
        add_root_options(command)
        add_log_options(command)
        command.set_defaults(handler=handler)


def run_label(args: argparse.Namespace) -> int:
    """Serve the labelling page until it is interrupted."""
    settings = used_settings(args)
    from assets.cli.server import run_uvicorn
    from classifier.labels.queue import QUEUE_KEY
    from classifier.labels.serve import serve_labels

    queue = QUEUE_KEY
    if args.audit:
        from classifier.audit.sample import AUDIT_KEY, audit_of_present_decision, drawn_by_stream

        drawn = drawn_by_stream(audit_of_present_decision(settings.job()))
        if not drawn:
            raise UserError(
                "people rated every clip of the decision that an audit could ask about: add footage, then run "
                "`lampworks recurate` and audit that decision"
            )
        print(f"audit    {drawn.get('audit_high', 0)} kept clips, {drawn.get('audit_low', 0)} others", flush=True)
        queue = AUDIT_KEY
    names = (_annotator(args),) if args.annotators is None else args.annotators.split(",")
    serve_labels(settings.job(), address_of(args), run_uvicorn, annotators=names, queue=queue)
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Import a file of labels."""
    settings = settings_of(args)
    from classifier.labels.import_file import import_labels

    report = import_labels(settings.store, args.file, _annotator(args), settings.config)
    print(f"ratings  {report.rows} in the file, {report.added} new")
    print(f"clips    {report.resolved} found, {report.unresolved} not found (yet)")
    for note in report.notes():
        print(shown_text(note))
    print("rated    " + ", ".join(f"{count} x {rating}" for rating, count in report.by_rating.items()))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Write the current labels to a file."""
    settings = used_settings(args)
    from classifier.labels.export_file import export_labels

    count = export_labels(settings.store, args.file, settings.config)
    print(f"{count} labels written to {args.file}")
    return 0


def _annotator(args: argparse.Namespace) -> str:
    return args.annotator or getpass.getuser()
