"""The status of a store as text for a terminal: one stage a line, with what it lost and why, and the accounting."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.costs.stages import cost_lines
from pipeline.inspect.curation_text import classifier_text, threshold_lines
from pipeline.inspect.status_types import (
    ClassifierStatus,
    ClipsStatus,
    CuratedStatus,
    DownloadsStatus,
    FvdStatus,
    LabelsStatus,
    MetricStatus,
    ModelsStatus,
    ShardsStatus,
    SiteStatus,
    StoreStatus,
    TokensStatus,
    UncoveredStatus,
)
from pipeline.outside import shown_text
from pipeline.shards.splits import MAY_BE_EMPTY, SPLITS

_SHOWN_REASONS = 12
# the metrics that matter most, in the order in which they are read: name -> (label, unit)
_METRICS = {
    "psnr": ("tokenizer PSNR", "dB"),
    "psnr_above_mean_frame": ("  gain over the mean frame", "dB"),
    "psnr_t1_above_copy": ("next-frame PSNR gain over copying", "dB"),
    "delta_t_psnr": ("delta-t PSNR, random actions", "dB"),
    "delta_t_psnr_permuted": ("delta-t PSNR, permuted actions", "dB"),
    "delta_t_psnr_true_permuted": ("  true actions instead", "dB"),
    "drift_psnr_prefill": ("rollout PSNR past the window", "dB"),
    "drift_ring_below_prefill": ("  loss with cached states", "dB"),
    "character_kept_t8": ("character kept after 8 frames", ""),
    "character_kept_t30": ("  after 30 frames", ""),
    "character_place_jump": ("  in its place after jumps", ""),
    "latent_action_mutual_information": ("action information", "nat"),
    "latent_action_mutual_information_shuffled": ("  by chance", "nat"),
    "latent_action_jump_information": ("  about the jump, direction known", "nat"),
    "doubt_rank_correlation": ("doubt, rank correlation with the error", ""),
    "distinct_actions": ("actions with an effect of their own", ""),
}


def format_status(status: StoreStatus) -> str:
    """Return a status as lines of text."""
    videos = status.videos
    rejected = sum(videos.rejected.values())
    removed = f", {videos.removed} removed by takedowns" if videos.removed else ""
    return "\n".join([
        status.root,
        _line("videos", f"{videos.found} found, {videos.kept} kept, {rejected} rejected{removed}"),
        *_reasons(videos.rejected),
        *_downloads(status.downloads),
        *_sites(status.sites),
        *_clips(status.clips),
        *_labels(status.labels),
        *_curated(status.curated),
        *_shards(status.shards),
        *_tokens(status.tokens),
        *_models(status.models, status.classifier),
        *_evaluation(status.evaluation, status.evaluation_current),
        *_fvd(status.fvd),
        *_uncovered(status.uncovered),
        *(_line("" if place else "costs", line) for place, line in enumerate(cost_lines(status.costs))),
        *_accounting(status),
    ])  # fmt: skip


def _accounting(status: StoreStatus) -> list[str]:
    if status.conserved:
        return [_line("accounting", "OK: all totals balance")]
    return [_line("accounting", "BROKEN: these totals do not balance"), *(_line("", one) for one in status.violations)]


def _downloads(downloads: DownloadsStatus) -> list[str]:
    parts = {
        "ok": downloads.ok,
        "failed": sum(downloads.failed.values()),
        # rare, because most videos are rejected by the search: shown only where there are some
        **({"rejected": sum(downloads.rejected.values())} if downloads.rejected else {}),
        "pending": downloads.pending,
        "taken_down": downloads.taken_down,
    }
    pending = {name: count for name, count in downloads.pending_by_class.items() if name != "new"}
    return [
        _line("downloads", _parts(**parts)),
        *_reasons(downloads.failed),
        *_reasons(downloads.rejected, "rejected: "),
        *_reasons(pending, "pending: "),
    ]


def _sites(sites: Mapping[str, SiteStatus]) -> list[str]:
    """Return a line per site from which downloads are paused; sites that answer are left out."""
    lines: list[str] = []
    for name, site in sorted(sites.items()):
        if site.state == "closed":
            continue
        if site.state == "open":
            state = f"paused until {str(site.next_try_at)[:16].replace('T', ' ')} UTC"
        else:
            state = "pause is over; the next run tries one video"
        refusals = f"{site.refusals} refusals" if site.refusals != 1 else "1 refusal"
        last = _printable(f"{site.error_class}: {site.message}")
        lines.append(_line("" if lines else "sites", f"{_printable(name)}: {state} ({refusals}, last {last})"))
    if len(lines) > _SHOWN_REASONS:
        lines = [*lines[:_SHOWN_REASONS], _line("", f"and {len(lines) - _SHOWN_REASONS} more sites")]
    return lines


def _clips(clips: ClipsStatus) -> list[str]:
    copies = "copies: not compared" if clips.duplicates is None else f"{clips.duplicates} near-duplicates"
    outdated = " (outdated)" if clips.duplicates is not None and clips.grouped is None else ""
    pending = f", {clips.videos_pending} videos not yet cut" if clips.videos_pending else ""
    lost = sum(clips.lost_seconds.values())
    earlier = f" ({clips.videos_earlier} as their file was before it changed)" if clips.videos_earlier else ""
    videos = clips.videos_cut + clips.videos_earlier
    lines = [
        _line("clips", f"{clips.total} of {videos} videos{earlier}, {copies}{outdated}{pending}"),
        _line(
            "", f"{clips.source_seconds:,.0f} s of video = {clips.clip_seconds:,.0f} s in clips"
            f" + {clips.remainder_seconds:,.0f} s left over" + (f" + {lost:,.0f} s lost" if clips.lost_seconds else ""),
        ),
    ]  # fmt: skip
    if clips.lost_seconds:
        reasons = (f"{seconds:,.1f} s {reason}" for reason, seconds in clips.lost_seconds.items())
        lines.append(_line("", "lost: " + ", ".join(reasons)))
    if clips.flagged:
        lines.append(_line("", "flagged: " + ", ".join(f"{count} {flag}" for flag, count in clips.flagged.items())))
    return [*lines, *_reasons(clips.failed, "failed: ")]


def _labels(labels: LabelsStatus) -> list[str]:
    if not labels.total and not labels.unresolved and not labels.left_behind:
        return [_line("labels", "none")]
    rated = ", ".join(f"{count} rated {rating}" for rating, count in labels.by_rating.items() if count)
    annotators = ", ".join(f"{name} {count}" for name, count in labels.annotators.items())
    unresolved = f", {labels.unresolved} labels without a clip" if labels.unresolved else ""
    lines = [_line("labels", f"{labels.total} clips{unresolved}" + (f": {rated}" if rated else ""))]
    if annotators:
        lines.append(_line("", f"by {annotators}"))
    if labels.left_behind:
        lines.append(_line("", f"{labels.left_behind} clips show another picture than the one that was rated"))
    return lines


def _curated(curated: CuratedStatus) -> list[str]:
    if not curated.keep + curated.drop + curated.review:
        return [_line("decision", "none")]
    outdated = "" if curated.current else " (outdated: its inputs changed since)"
    counts = _parts(keep=curated.keep, drop=curated.drop, review=curated.review, undecided=curated.undecided)
    not_kept = {reason: count for reason, count in curated.reasons.items() if not reason.startswith("keep")}
    return [
        _line("decision", counts + outdated),
        *_reasons(not_kept),
        *(_line("", line) for line in threshold_lines(curated.threshold)),
        *(_line("" if place else "audit", line) for place, line in enumerate(curated.audit)),
        *(_line("" if place else "changes", line) for place, line in enumerate(curated.changes)),
    ]


def _shards(shards: ShardsStatus) -> list[str]:
    if shards.version is None:
        return [_line("shards", "none")]
    splits = [(split, shards.of(split)) for split in SPLITS if split not in MAY_BE_EMPTY or shards.of(split).samples]
    sizes = ", ".join(f"{split} {own.samples} clips in {_tars(own.shards)}" for split, own in splits)
    return [_line("shards", f"{shards.version}: {sizes}" + ("" if shards.current else " (outdated)"))]


def _tokens(tokens: TokensStatus) -> list[str]:
    if tokens.version is None:
        return []
    left_out = f", {tokens.left_out} clips without tokens" if tokens.left_out else ""
    counts = (
        f"{tokens.clips} clips, {tokens.windows} windows of {tokens.window} frames in {_tars(tokens.tars)}{left_out}"
    )
    outdated = "" if tokens.current else " (outdated)"
    return [_line("tokens", f"{tokens.version}: {counts}{outdated}"), _line("", f"by tokenizer {tokens.tokenizer}")]


def _tars(count: int) -> str:
    return f"{count} tar{'' if count == 1 else 's'}"


def _models(models: ModelsStatus, classifier: ClassifierStatus | None) -> list[str]:
    lines: list[str] = []
    for kind in ("quality_classifier", "video_tokenizer", "world_model"):
        if kind in models.in_use:
            if kind == "quality_classifier":
                text = "of an earlier version; `lampworks run` trains it again"
                lines.append(
                    _line("models", f"quality classifier: {classifier_text(classifier) if classifier else text}")
                )
                continue
            model = models.in_use[kind]
            size = f"{model.parameters or 0:,} parameters, {model.steps or 0:,} steps"
            lines.append(_line("models" if not lines else "", f"{kind.replace('_', ' ')}: {size}"))
    lines += [_line("models" if not lines else "", note) for note in models.notes]
    return lines or [_line("models", "none")]


def _evaluation(evaluation: Mapping[str, MetricStatus], current: bool) -> list[str]:
    shown = {name: evaluation[name] for name in _METRICS if name in evaluation and evaluation[name].value is not None}
    if not shown:
        return []
    width = max(len(label) for label, _ in _METRICS.values())
    lines = [] if current else ["of other settings, older shards or before a takedown; `lampworks run` measures again"]
    for name, metric in shown.items():
        label, unit = _METRICS[name]
        interval = f"  ({metric.reason})" if metric.reason else ""
        if metric.low is not None:
            interval = f"  [{metric.low:.2f}, {metric.high:.2f}]"
        lines.append(f"{label:<{width}}  {metric.value:6.2f} {unit:<3}{interval}".rstrip())
    return [_line("" if number else "metrics", line) for number, line in enumerate(lines)]


def _fvd(fvd: FvdStatus | None) -> list[str]:
    if fvd is None or fvd.value is None:
        return []
    floors = "".join(f", {name} {value.value:.3g}" for name, value in fvd.floors.items() if value.value is not None)
    interval = "" if fvd.low is None else f" [{fvd.low:.3g}, {fvd.high:.3g}]"
    return [_line("", f"{fvd.name} {fvd.value:.3g}{interval}; floors{floors.removeprefix(',')}")]


def _uncovered(uncovered: UncoveredStatus) -> list[str]:
    if not uncovered.total:
        return []
    alone = f", {uncovered.without_clips} of them like no clip" if uncovered.without_clips else ""
    many = "situation" if uncovered.total == 1 else "situations"
    return [
        _line("uncovered", f"{uncovered.total} {many} that a world could only guess{alone} (`lampworks uncovered`)")
    ]


def _line(name: str, text: str) -> str:
    return f"{name:<11}  {text}"


def _parts(**counts: int) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _reasons(reasons: Mapping[str, int], prefix: str = "") -> list[str]:
    order = sorted((name for name in reasons if reasons[name]), key=lambda name: (-reasons[name], name))
    lines = [f"{'':13}{reasons[name]:>6}  {prefix}{_printable(name)}" for name in order[:_SHOWN_REASONS]]
    if len(order) > _SHOWN_REASONS:
        lines.append(f"{'':13}{sum(reasons[name] for name in order[_SHOWN_REASONS:]):>6}  for other reasons")
    return lines


def _printable(text: str) -> str:
    # reasons may quote text from the web, and a terminal obeys control characters
    return "".join(letter if letter.isprintable() else " " for letter in shown_text(text))[:100]
