"""Words and numbers of the report: what each metric is called, and how counts and values are written."""

from __future__ import annotations

import math
import re

# metric -> (what it is, unit); those not listed show under their own name
METRICS: dict[str, tuple[str, str]] = {
    "psnr": ("Tokenizer: PSNR of reconstructed frames", "dB"),
    "psnr_previous_frame": ("PSNR of copying the previous frame instead", "dB"),
    "psnr_mean_frame": ("PSNR of showing the window's mean frame instead", "dB"),
    "psnr_first_frame": ("PSNR of repeating the window's first frame instead", "dB"),
    "psnr_kmeans": ("PSNR of k-means of patches, same codebook size", "dB"),
    "psnr_above_mean_frame": ("Tokenizer: PSNR gain over the mean frame", "dB"),
    "psnr_above_first_frame": ("Tokenizer: PSNR gain over repeating the first frame", "dB"),
    "psnr_above_previous_frame": ("Tokenizer: PSNR gain over copying the previous frame", "dB"),
    "psnr_above_kmeans": ("Tokenizer: PSNR gain over k-means of patches", "dB"),
    "psnr_moving": ("Tokenizer: PSNR on moving pixels alone", "dB"),
    "psnr_moving_above_mean_frame": ("Tokenizer: PSNR gain over the mean frame, moving pixels", "dB"),
    "psnr_moving_above_first_frame": ("Tokenizer: PSNR gain over the first frame, moving pixels", "dB"),
    "tokenizer_codes_used": ("Tokenizer: codes used", ""),
    "tokenizer_perplexity": ("Tokenizer: perplexity of codes", ""),
    "delta_t_psnr": ("delta-t PSNR, uniform random actions (the paper's)", "dB"),
    "delta_t_psnr_permuted": ("delta-t PSNR, permuted actions", "dB"),
    "delta_t_psnr_true": ("delta-t PSNR of translated true actions, over uniform random ones", "dB"),
    "delta_t_psnr_true_permuted": ("delta-t PSNR of translated true actions, over permuted ones", "dB"),
    "psnr_t1_above_copy": ("Next-frame PSNR gain over copying", "dB"),
    "drift_psnr_prefill": ("PSNR past the window, recomputed for each frame", "dB"),
    "drift_psnr_ring": ("PSNR past the window, cached states kept (`past_window = ring`)", "dB"),
    "drift_ring_below_prefill": ("PSNR lost by keeping them", "dB"),
    "latent_action_mutual_information": ("Information of latent actions about true actions", "nat"),
    "latent_action_mutual_information_shuffled": (
        "Information by chance, latent actions shifted within the clip",
        "nat",
    ),
    "latent_action_mutual_information_shuffled_p95": ("Information by chance, 95th percentile", "nat"),
    "latent_action_mutual_information_ratio": ("Information over that percentile", "times"),
    "latent_action_mutual_information_p": ("Information, p of the shift test", ""),
    "latent_action_mutual_information_of": ("Entropy of the true actions, the upper bound", "nat"),
    "latent_action_direction_information": ("Information of latent actions about the direction", "nat"),
    "latent_action_jump_information": ("Information of latent actions about the jump, direction known", "nat"),
    "latent_action_jump_information_of": ("Entropy of the jump, direction known, the upper bound", "nat"),
    "action_consistency": ("Latent action has the same effect in two states of two sources", ""),
    "action_consistency_chance": ("The same of any two latent actions", ""),
    "action_consistency_above_chance": ("Consistency of latent actions, above chance", ""),
    "action_consistency_true": ("Latent action goes with the same true action in two sources", ""),
    "action_consistency_true_chance": ("The same of any two latent actions", ""),
    "action_consistency_true_above_chance": ("Consistency of latent actions by true ones, above chance", ""),
    "action_probe_codes": ("Linear probe of the true action on latent actions, balanced accuracy", ""),
    "action_probe_codes_shuffled": ("Linear probe on latent actions, by chance", ""),
    "action_probe_vectors": ("Linear probe of the true action on latent vectors, balanced accuracy", ""),
    "action_probe_vectors_shuffled": ("Linear probe on latent vectors, by chance", ""),
    "inverse_dynamics_true": ("Action read from true frames, balanced accuracy", ""),
    "inverse_dynamics_true_shuffled": ("Action read from true frames, by chance", ""),
    "inverse_dynamics_reconstructed": ("Action read from reconstructed frames, balanced accuracy", ""),
    "inverse_dynamics_reconstructed_shuffled": ("Action read from reconstructed frames, by chance", ""),
    "inverse_dynamics_generated": ("Action read from generated frames is the one asked for, balanced accuracy", ""),
    "inverse_dynamics_generated_shuffled": ("Action read from generated frames, by chance", ""),
    "distinct_actions": ("Latent actions with an effect of their own", ""),
    "steady_actions": ("Directions that a held latent action keeps to", ""),
    "doubt_rank_correlation": ("Doubt: rank correlation with the true error", ""),
    "doubt_rank_correlation_within_t": ("Doubt: rank correlation among frames of the same t", ""),
    "doubt_rank_correlation_of_t_alone": ("Rank correlation of t alone with the true error", ""),
    "character_place_left": ("Character in its place after a step to the left", ""),
    "character_place_stand": ("Character in its place after standing", ""),
    "character_place_right": ("Character in its place after a step to the right", ""),
    "character_place_jump": ("Character in its place after a step of a jump", ""),
    "character_exact_left": ("Character on its very tile after a step to the left", ""),
    "character_exact_stand": ("Character on its very tile after standing", ""),
    "character_exact_right": ("Character on its very tile after a step to the right", ""),
    "character_exact_jump": ("Character on its very tile after a step of a jump", ""),
    "code_entropy": ("Entropy of latent actions", "nat"),
    "code_entropy_within_clip": ("Entropy of latent actions within a clip", "nat"),
    "code_entropy_within_time": ("Entropy of latent actions within a time index", "nat"),
    "codes_used": ("Latent actions used", ""),
    "enough_sources": ("Held-out sources", ""),
    "samples_per_s": ("Training: samples a second", "1/s"),
    "frames_per_s": ("Training: frames a second", "1/s"),
    "utilisation": ("Training: share of the machine's measured peak", ""),
    "peak_gflops": ("Training: the machine's measured peak", "GFLOP/s"),
    "followed_share": ("Training: share of CPU time for curves, measurements and pictures on the way", ""),
    "wall_s": ("Training: time", "s"),
    "cpu_s": ("Training: CPU time", "CPU-s"),
}


_SMALLEST, _SMALL, _MOST_DECIMALS = 1e-12, 0.1, 6
"""Between the first two a figure is written with three digits, in powers of ten beyond so many decimals."""

_KEPT = {
    "character_kept": "Character kept",
    "enemies_kept": "Enemies kept",
    "coins_kept": "Coins kept",
    "position_error": "Distance of the character from its place",
}
_KEPT_NAME = re.compile(rf"({'|'.join(_KEPT)})(_held)?_t(\d+)")


def metric_name(name: str) -> str:
    """Return what a metric is called in the report."""
    if match := _KEPT_NAME.fullmatch(name):
        return f"{_KEPT[match[1]]}, {amount(int(match[3]), 'frame')} ahead{', key held' if match[2] else ''}"
    return METRICS.get(name, (name.replace("_", " "), ""))[0]


def curve_title(name: str) -> str:
    """Return what a curve is called: `lam psnr`, or `lam psnr, held out`."""
    folder, _, rest = name.rpartition("/")
    return f"{rest.replace('_', ' ')}, held out" if folder == "held_out" else name.replace("_", " ")


def metric_unit(name: str) -> str:
    """Return a metric's unit; empty where it has none."""
    if name in METRICS:
        return METRICS[name][1]
    if name.startswith("position_error"):
        return "px"
    if "psnr" in name or name.startswith("copy_t"):
        return "dB"
    if name.endswith("_ratio"):
        return "times"
    return "nat" if "information" in name and not name.endswith("_p") else ""


def amount(count: int, one: str = "", many: str = "") -> str:
    """Return a count with its noun: `1 clip`, `1,204 clips`, or `1,204` where no noun is given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}" if one else f"{count:,}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with thousands separators; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else _decimals(value, digits)


def small(value: float | None) -> str:
    """Return a number with three significant digits, however small; a dash where there is none."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def sentence(text: str) -> str:
    """Return a text with a capital and a full stop, without the backticks of the console."""
    text = text.strip().replace("`", "")
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def percent(share: float) -> str:
    """Return a share as whole percent."""
    return f"{share:.0%}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval in brackets; empty where an end is not known."""
    return "" if low is None or high is None else f"[{_decimals(low, 2)}, {_decimals(high, 2)}]"


def figure(value: float, low: float | None = None, high: float | None = None) -> str:
    """Return a value with its interval: `3.900 [3.30, 4.50]`, or with three digits of the largest of small ones."""
    most = max(abs(part) for part in (value, low, high) if part is not None)
    if isinstance(value, int) or not _SMALLEST < most < _SMALL:
        return f"{number(value, 3)} {interval(low, high)}".rstrip()
    digits = 2 - math.floor(math.log10(most))
    texts = [
        _decimals(part, digits) if digits <= _MOST_DECIMALS else f"{part:.2e}"
        for part in (value, low, high)
        if part is not None
    ]
    return texts[0] if len(texts) < 3 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _decimals(value: float, digits: int) -> str:
    # the sum makes 0 of what rounding leaves as -0
    return f"{round(value, digits) + 0.0:,.{digits}f}" if math.isfinite(value) else f"{value}"


def size(count: float) -> str:
    """Return a number of bytes as `1.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
