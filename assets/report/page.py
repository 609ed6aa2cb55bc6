"""The report: one HTML page that holds everything it shows, from the funnel to the rollouts, for people without tools.

    key = write_report(store, config, home)      # reports/latest/index.html

No script, no other host, no time of day: the same store gives the same bytes, and the page is written only when it
changed. `clips.json` beside it names the clips that it shows, so that a takedown knows where to look. What has not
run yet is said to be missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from assets.report.charts import columns_chart
from assets.report.html import (
    STAND_IN,
    amount,
    card,
    escape,
    figure,
    interval,
    legend,
    missing,
    pill,
    section,
    table,
)  # fmt: skip
from assets.report.models import classifier_section, figures_section, training_section, world_section
from assets.report.reads import Decided, Example, decided_clips, evaluation_pictures, failures, rejected_videos
from pipeline.config import Config
from pipeline.inspect.status import evaluation_is_current, status
from pipeline.storage.home import Home
from pipeline.storage.models_table import ModelRecord, newest_models
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

FOLDER = "reports/latest"


def write_report(store: Store, config: Config, home: Home) -> str:
    """Write the report of a store, if anything in it changed, and return its key.

    Args:
        store: everything is read from here, the page is written here.
        config: names the current clip_spec and the source.
        home: where the local commands that the page suggests would look; only its name is shown.
    """
    page, clip_ids = repeat_after_takedown(store, lambda: report_html(store, config, home))
    key = f"{FOLDER}/index.html"
    _write_if_changed(store, f"{FOLDER}/clips.json", json.dumps(clip_ids, indent=0).encode())
    _write_if_changed(store, key, page.encode())
    return key


def _write_if_changed(store: Store, key: str, data: bytes) -> None:
    if not store.exists(key) or store.read_blob(key) != data:
        store.write_blob(key, data)


def report_html(store: Store, config: Config, home: Home) -> tuple[str, list[str]]:
    """Return the page and the ids of the clips that it shows."""
    found = status(store, config)
    models = newest_models(store)
    decided = decided_clips(store, config)
    evaluation = models.get("world_evaluation")
    pictures = evaluation_pictures(store, evaluation) if evaluation else None
    sections = [
        _header(found, config),
        world_section(models, pictures),
        _funnel_section(found, config),
        _rejected_section(store, config),
        _examples_section(decided),
        _labels_section(found, decided),
        classifier_section(models.get("quality_classifier")),
        training_section(store, models),
        figures_section(evaluation, current=evaluation_is_current(models)),
        _footer(found, models, config),
    ]
    style = files("assets.report").joinpath("static", "report.css").read_text("utf-8")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>Lampworks report</title><style>{style}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )
    shown = [example.clip_id for example in (*decided.kept, *decided.others) if example.strip]
    return page, sorted({*shown, *(pictures.clip_ids if pictures else [])})


# -- header and footer --------------------------------------------------------------------------------------------


def _header(found: Mapping[str, Any], config: Config) -> str:
    videos, clips, curated = found["videos"], found["clips"], found["curated"]
    world = found["models"].get("world_model")
    said = f"{amount(videos['found'], 'video')} found, {videos['kept']:,} kept by the search rules"
    if clips["total"]:
        said += f", {amount(clips['total'], 'clip')} of {config.clips.seconds} s cut from them"
    if curated["keep"] + curated["drop"] + curated["review"]:
        said += f", {curated['keep']:,} of those chosen for training"
    if world:
        said += f"; on them a world of {world['parameters'] / 1e6:,.1f} million parameters was trained"
    title = "A world learned from video" if world else "From video to a playable world"
    return (
        f'<p class="kicker">Lampworks · {escape(config.preset)} · source {escape(config.source.kind)}</p>'
        f'<h1>{title}</h1><p class="lead">{said}.</p><div class="tiles">{"".join(_tiles(found))}</div>'
    )


def _tiles(found: Mapping[str, Any]) -> list[str]:
    evaluation, curated = found["evaluation"], found["curated"]
    total = found["clips"]["total"]
    tiles = []
    if found["clips"]["clip_seconds"]:
        hours = found["clips"]["clip_seconds"] / 3600
        tiles.append((f"{hours:,.2f} h" if hours < 100 else f"{hours:,.0f} h", f"of clips, {total:,} in all"))
    if curated["keep"] + curated["drop"]:
        tiles.append((f"{curated['keep'] / max(total, 1):.0%}", "of the clips kept (12.4 % in the paper)"))
    for name, unit, text in (
        ("psnr", "dB", "PSNR of reconstructed frames"),
        ("delta_t_psnr_permuted", "dB", "of control: what a rollout loses under permuted actions"),
        ("latent_action_mutual_information", "nat", "that latent actions tell of the true ones"),
    ):
        value = evaluation.get(name)
        if value and value["value"] is not None:
            tiles.append((f"{value['value']:.2f} {unit}", f"{text} {interval(value['low'], value['high'])}"))
    if found["conserved"]:
        tiles.append(("all", "sums hold: nothing is unaccounted for"))
    else:
        tiles.append((amount(len(found["violations"]), "sum"), "broken: see the funnel"))
    return [f'<div class="tile"><b>{value}</b><span>{text}</span></div>' for value, text in tiles]


def _footer(found: Mapping[str, Any], models: Mapping[str, ModelRecord], config: Config) -> str:
    rows = [("clips", f"clip_spec <code>{escape(found['clips']['clip_spec'])}</code>")]
    if found["shards"]["version"]:
        rows.append(("shards", f"version <code>{escape(found['shards']['version'])}</code>"))
    for kind, model in sorted(models.items()):
        size = f", {model.parameters:,} parameters, {model.steps:,} steps" if model.parameters else ""
        rows.append((kind.replace("_", " "), f"<code>{escape(model.model_id)}</code>{size}"))
    commands = "".join(
        f"<p><code>{command}</code> <span class='soft'>{text}</span></p>"
        for command, text in (
            ("lampworks play", "drive the world with the keys 1 to 8"),
            ("lampworks ui", "the graph, its runs, checks and pictures"),
            ("lampworks label", "rate clips with one key each"),
            ("lampworks why ID", "everything known of a video or a clip"),
        )
    )
    return (
        f'<h2>Where it came from</h2><div class="two"><div class="card">{table(["what", "which"], rows)}</div>'
        f'<div class="card"><h3>Where next</h3>{commands}</div></div>'
    )


# -- the funnel ---------------------------------------------------------------------------------------------------


def _funnel_section(found: Mapping[str, Any], config: Config) -> str:
    videos, downloads, clips, curated = found["videos"], found["downloads"], found["clips"], found["curated"]
    lost = {
        "downloaded": {**_named("failed", downloads["failed"]), **_named("rejected", downloads["rejected"]),
                       "pending": downloads["pending"], "taken down": downloads["taken_down"]},
        "cut": {**_named("failed", clips["failed"]), "not yet cut": clips["videos_pending"]},
    }  # fmt: skip
    by_video = [
        ("found", videos["found"], {}),
        ("kept by the rules", videos["kept"], _families(videos["rejected"])),
        ("downloaded", downloads["ok"], lost["downloaded"]),
        ("cut into clips", clips["videos_cut"], lost["cut"]),
    ]
    by_clip = [("cut", clips["total"], {}), ("kept", curated["keep"], _undone(curated))]
    held = "".join(f"<li>{escape(sentence)}</li>" for sentence in found["violations"])
    law = (
        f"<p>{pill(True, ('every sum holds', '', ''))} <span class='soft'>Everything found is kept, rejected, failed, "
        "pending or taken down, counted from both sides.</span></p>"
        if found["conserved"]
        else f"<p>{pill(False, ('', 'sums do not hold', ''))}</p><ul>{held}</ul>"
    )
    seconds = (
        f"{clips['source_seconds']:,.0f} s of video became {clips['clip_seconds']:,.0f} s of clips; "
        f"{clips['remainder_seconds']:,.0f} s at the ends were left over. "
        + (", ".join(f"{n} {escape(flag)}" for flag, n in clips["flagged"].items()) or "No clip is flagged")
        + (" are flagged" if clips["flagged"] else "")
        + f"; {amount(clips['duplicates'], 'copy', 'copies')} of other clips."
    )
    shards = found["shards"]
    packed = "".join(
        f"{amount(shards[split]['samples'], 'clip')} in {amount(shards[split]['shards'], 'shard')} for {split}. "
        for split in ("train", "val")
    )
    return (
        '<h2>The funnel</h2><p class="soft">What was found, what became of it, and why the rest was left.</p>'
        f'<div class="card"><h3>Videos</h3>{_stages(by_video)}<h3>Clips of {config.clips.seconds} s</h3>'
        f'{_stages(by_clip)}<p class="note">{seconds} {packed if shards["version"] else ""}</p>{law}</div>'
    )


def _stages(stages: list[tuple[str, int, dict[str, int]]]) -> str:
    top = max((count for _, count, _ in stages), default=0) or 1
    rows = []
    for name, count, reasons in stages:
        shown = {reason: n for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0])) if n}
        items = [f"<li><b>{n:,}</b> {escape(reason)}</li>" for reason, n in list(shown.items())[:14]]
        if len(shown) > 14:
            items.append(f"<li><b>{sum(list(shown.values())[14:]):,}</b> for other reasons</li>")
        rows.append(
            f'<div class="stage"><div class="name">{name}</div><div><div class="row">'
            f'<div class="bar" style="width:{count / top * 82:.1f}%"></div><div class="count">{count:,}</div></div>'
            + (f'<ul class="lost">{"".join(items)}</ul>' if items else "")
            + "</div></div>"
        )
    return "".join(rows)


def _named(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {f"{prefix}: {name}": n for name, n in counts.items()}


def _families(rules: Mapping[str, int], most: int = 14) -> dict[str, int]:
    """Return counts by rule, or by the rule's part before the colon where there are many."""
    if len(rules) <= most:
        return dict(rules)
    families: dict[str, int] = {}
    for rule, count in rules.items():
        name = rule.split(":")[0]
        families[name] = families.get(name, 0) + count
    return families


def _undone(curated: Mapping[str, Any]) -> dict[str, int]:
    lost = {reason: n for reason, n in curated["reasons"].items() if not reason.startswith("keep")}
    return {**lost, "not yet decided": curated["undecided"]}


def _rejected_section(store: Store, config: Config) -> str:
    rejected, failed = rejected_videos(store), failures(store, config)
    if not rejected and not failed:
        return ""
    rows = [
        [escape(rule), f"{count:,}", "<br>".join(escape(title, 90) for title in titles)]
        for rule, (count, titles) in rejected.items()
    ]
    parts = []
    if rejected:
        parts.append(card("Rejected by the search rules", table(["rule", "videos", "titles"], rows, (1,))))
    if failed:
        broken = [
            [escape(row["title"], 90), row["stage"], f"{escape(row['error_class'])}: {escape(row['message'], 160)}"]
            for row in failed
        ]
        parts.append(card("Failed", table(["video", "stage", "reason"], broken)))
    return f'<h3>Videos that were left out</h3><div class="two">{"".join(parts)}</div>'


# -- clips --------------------------------------------------------------------------------------------------------


def _examples_section(decided: Decided) -> str:
    if not decided.kept and not decided.others:
        return "<h2>Kept and left out</h2>" + missing("The decision has", "lampworks run")
    kept = "".join(_strip(example) for example in decided.kept)
    others = "".join(_strip(example) for example in decided.others)
    return (
        '<h2>Kept and left out</h2><p class="soft">Three frames of each clip, and why it was decided so. '
        "Kept: the best scores, one a video. Left out: each kind of reason in turn.</p>"
        + (f'<h3>Kept</h3><div class="strips">{kept}</div>' if kept else "")
        + (f'<h3>Left out</h3><div class="strips">{others}</div>' if others else "")
    )


def _strip(example: Example) -> str:
    kind = {"keep": True, "drop": False}.get(example.decision)
    picture = (
        f'<img src="{example.strip}" alt="three frames of the clip" width="484" height="90">'
        if example.strip
        else '<div class="soft">its frames cannot be read</div>'
    )
    rated = f" · rated {example.rating}" if example.rating is not None else ""
    return (
        f'<div class="strip">{picture}<div>{pill(kind, ("keep", "drop", "review"))} {escape(example.reason)}{rated}'
        f'<div class="title" title="{escape(example.clip_id)}">{escape(example.title)}, '
        f"{int(example.start_s // 60)}:{int(example.start_s % 60):02d}</div></div></div>"
    )


def _labels_section(found: Mapping[str, Any], decided: Decided) -> str:
    labels = found["labels"]
    parts = []
    if labels["total"]:
        chart = columns_chart([(rating, [count]) for rating, count in labels["by_rating"].items()])
        people = {name: n for name, n in labels["annotators"].items() if name != STAND_IN}
        said = ", ".join(f"{amount(n, 'clip')} by {escape(name)}" for name, n in people.items())
        if STAND_IN in labels["annotators"]:
            said += (". " if said else "") + (
                f"{amount(labels['annotators'][STAND_IN], 'clip')} by nobody: the embedded source knows what it "
                "recorded, and that knowledge stood in for the labeller"
            )
        if labels["unresolved"]:
            said += f". {amount(labels['unresolved'], 'label')} could not be matched to a clip"
        parts.append(card("Ratings", figure(chart, f"Clips by rating. Rated: {said}.")))
    names = [name for name, bins in decided.histogram.items() if sum(bins)]
    if names:
        order = [name for name in ("keep", "drop", "review") if name in decided.histogram]
        columns = list(zip(*(decided.histogram[name] for name in order), strict=True))
        chart = columns_chart([("", column) for column in columns], axis=("0", "probability of being good 1"))
        caption = "Calibrated probability of every clip that was scored, coloured by what was decided of it."
        parts.append(card("Scores", legend(order) + figure(chart, caption)))
    head = section("Labels and scores", "What people said of clips, and what the classifier made of it.")
    if not parts:
        return head + missing("Labelling has", "lampworks label")
    return f'{head}<div class="two">{"".join(parts)}</div>'
