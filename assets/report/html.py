"""Names and sentences of the report: what each figure is called, and HTML's small parts.

All text that may come from outside goes through `escape` here.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

# figure -> (what it says, unit); those not listed show under their own name
FIGURES: dict[str, tuple[str, str]] = {
    "psnr": ("Tokenizer: PSNR of reconstructed frames", "dB"),
    "psnr_previous_frame": ("copying the previous frame instead", "dB"),
    "psnr_mean_frame": ("showing the window's mean frame instead", "dB"),
    "psnr_first_frame": ("repeating the window's first frame instead", "dB"),
    "psnr_kmeans": ("k-means of patches, same codebook size", "dB"),
    "psnr_above_mean_frame": ("Tokenizer above the mean frame", "dB"),
    "psnr_above_first_frame": ("Tokenizer above repeating the first frame", "dB"),
    "psnr_above_previous_frame": ("Tokenizer above copying the previous frame", "dB"),
    "psnr_above_kmeans": ("Tokenizer above k-means of patches", "dB"),
    "psnr_moving": ("Tokenizer on moving pixels alone", "dB"),
    "psnr_moving_above_mean_frame": ("on moving pixels, above the mean frame", "dB"),
    "psnr_moving_above_first_frame": ("on moving pixels, above the first frame", "dB"),
    "tokenizer_codes_used": ("Tokenizer codes used", ""),
    "tokenizer_perplexity": ("Tokenizer perplexity of codes", ""),
    "delta_t_psnr": ("Control: delta-t PSNR, random actions drawn evenly (the paper's)", "dB"),
    "delta_t_psnr_permuted": ("Control: delta-t PSNR, the clip's own actions permuted", "dB"),
    "psnr_t1_above_copy": ("First predicted frame above copying the last one", "dB"),
    "drift_psnr_prefill": ("Past the window, which is computed anew for each frame", "dB"),
    "drift_psnr_ring": ("Past the window, with past frames kept as they were made (`past_window = ring`)", "dB"),
    "drift_ring_below_prefill": ("what keeping them loses", "dB"),
    "latent_action_mutual_information": ("Latent actions tell of true actions", "nat"),
    "latent_action_mutual_information_shuffled": ("the same with actions shuffled within the clip", "nat"),
    "latent_action_mutual_information_shuffled_p95": ("95th percentile of the shuffles", "nat"),
    "latent_action_mutual_information_ratio": ("information over that percentile", "times"),
    "latent_action_mutual_information_of": ("Entropy of the true actions: the most there is to tell", "nat"),
    "latent_action_direction_information": ("Latent actions tell of the direction", "nat"),
    "code_entropy": ("Entropy of latent actions", "nat"),
    "code_entropy_within_clip": ("Entropy of latent actions within a clip", "nat"),
    "code_entropy_within_time": ("Entropy of latent actions within a time index", "nat"),
    "codes_used": ("Latent actions used", ""),
    "enough_sources": ("Held-out sources", ""),
}
STAND_IN = "arcade"


def figure_name(name: str) -> str:
    """Return what a figure says, for people."""
    return FIGURES.get(name, (name.replace("_", " "), ""))[0]


def figure_unit(name: str) -> str:
    """Return a figure's unit, or nothing."""
    if name in FIGURES:
        return FIGURES[name][1]
    return "dB" if "psnr" in name or name.startswith("copy_t") else "nat" if "information" in name else ""


def escape(text: object, most: int = 300) -> str:
    """Return text that HTML takes as text: escaped, without control characters, cut at `most` letters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(text))
    plain = plain.encode("utf-8", "replace").decode()
    return html.escape(plain if len(plain) <= most else plain[: most - 1] + "…")


def amount(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 clip`, `1,204 clips`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number for a table; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval in brackets, or nothing."""
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """Return an HTML table; cells are HTML already, columns of `numeric` are set to the right."""

    def cells(row: Sequence[str], tag: str) -> str:
        kinds = [' class="n"' if k in numeric else ' class="w"' if tag == "td" else "" for k in range(len(row))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    rows_html = f"<thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{rows_html}</table></div>'


def pill(passed: bool | None, texts: tuple[str, str, str] = ("passed", "failed", "not known")) -> str:
    """Return a coloured word for true, false and not known."""
    kind, text = {True: ("yes", texts[0]), False: ("no", texts[1]), None: ("maybe", texts[2])}[passed]
    return f'<span class="pill {kind}">{text}</span>'


def legend(names: Sequence[str]) -> str:
    """Return the legend of a chart whose colours follow the order of names."""
    return '<ul class="legend">' + "".join(
        f'<li><i class="k{k % 4}"></i>{escape(name)}</li>' for k, name in enumerate(names)
    ) + "</ul>"  # fmt: skip


def figure(inner: str, caption: str) -> str:
    """Return a picture or chart with its caption (HTML both)."""
    return f"<figure>{inner}<figcaption>{caption}</figcaption></figure>"


def card(title: str, inner: str) -> str:
    """Return a framed part of the page (HTML inside) under a heading."""
    return f'<div class="card"><h3>{escape(title)}</h3>{inner}</div>'


def section(title: str, lead: str = "") -> str:
    """Return the head of a section: its title and a sentence."""
    return f"<h2>{escape(title)}</h2>" + (f'<p class="soft">{escape(lead)}</p>' if lead else "")


def missing(what: str, command: str) -> str:
    """Return the note that stands where a stage has not run."""
    return f'<p class="note">{escape(what)} not run yet: <code>{escape(command)}</code> does it.</p>'
