"""The spot-check sheet as HTML."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config
from pipeline.rules import OFF

_MOST_RULES = 60


@dataclass(frozen=True)
class Shown:
    """One video of the sheet."""

    row: Mapping[str, Any]
    picture: str
    """JPEG as a data URI; empty where there is none."""
    why_none: str = ""
    """Why there is no picture."""


_Section = tuple[list[dict[str, Any]], list[dict[str, Any]]]


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --kept: #2e9e5b; --rejected: #d0563f; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; }
td { padding: 0 1rem 0 0; font: 12px ui-monospace, monospace; } td:first-child { text-align: right; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p, .dim { color: var(--dim); margin: .2rem 0; }
.row { display: grid; grid-template-columns: 5.5rem 1fr; gap: .5rem 1rem; border-top: 1px solid var(--line);
  padding: .7rem 0; }
.verdict { font-weight: 600; } .kept { color: var(--kept); } .rejected { color: var(--rejected); }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(192px, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { overflow-wrap: anywhere; }
.picture { width: 192px; height: 108px; background: #8882; display: flex; align-items: center;
  justify-content: center; text-align: center; font-size: 12px; color: var(--dim); border-radius: 4px;
  overflow: hidden; }
.picture img { max-width: 100%; max-height: 100%; }
.title { display: block; margin-top: .3rem; } .rule { font: 12px ui-monospace, monospace; }
"""


def _page(
    sections: Mapping[str, _Section], shown: Mapping[str, Shown], counted: Counter[str], config: Config, seed: int
) -> str:
    parts = [_section(name, section, shown, counted) for name, section in sections.items()]
    kept = sum(number for rule, number in counted.items() if rule.startswith("kept:") or rule == OFF)
    rejected = [pair for pair in counted.most_common() if not (pair[0].startswith("kept:") or pair[0] == OFF)]
    rules = "".join(f"<tr><td>{number:,}</td><td>{_escape(rule)}</td></tr>" for rule, number in rejected[:_MOST_RULES])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="referrer" content="no-referrer">'
        f"<title>Spot check of the search rules</title><style>{_STYLE}</style></head>\n<body>"
        "<h1>Spot check of the search rules</h1>"
        f"<p>Source {_escape(config.source.spec)}: {kept:,} kept and {counted.total() - kept:,} rejected; "
        f"{len(shown):,} of them, drawn at random with seed {seed}. Is each kept one what you want, and is nothing "
        "good among the rejected?</p>\n"
        f"{''.join(parts)}"
        + (f"<h2>What rejected how many</h2><table>{rules}</table>" if rules else "")
        + "</body></html>\n"
    )


def _section(name: str, section: _Section, shown: Mapping[str, Shown], counted: Counter[str]) -> str:
    lines = []
    for verdict, rows in zip(("kept", "rejected"), section, strict=True):
        figures = [_figure(shown[row["video_id"]]) for row in rows if row["video_id"] in shown]
        if figures:
            lines.append(
                f'<div class="row"><div class="verdict {verdict}">{verdict}</div>'
                f'<div class="videos">{"".join(figures)}</div></div>'
            )
    number = counted.get(f"kept:{name.removeprefix('keyword: ')}")
    many = f' <span class="dim">kept {number:,}</span>' if number else ""
    return f"<section><h2>{_escape(name)}{many}</h2>{''.join(lines)}</section>\n" if lines else ""


def _figure(one: Shown) -> str:
    row = one.row
    title = _escape(row["title"] or "(no title)", 140)
    picture = (
        f'<img src="{html.escape(one.picture)}" alt="">' if one.picture else _escape(one.why_none or "no picture", 120)
    )
    url = str(row["url"] or "")
    if url.startswith(("http://", "https://")):
        title = f'<a href="{_escape(url, 4000)}" rel="noreferrer noopener nofollow">{title}</a>'
    facts = [row["channel"], _minutes(row["duration_s"]), row["licence"] or "licence unknown"]
    return (
        f'<figure><div class="picture">{picture}</div><figcaption><span class="title">{title}</span>'
        f'<span class="dim">{_escape(" · ".join(str(fact) for fact in facts if fact), 120)}</span><br>'
        f'<span class="rule">{_escape(row["rule"], 120)}</span></figcaption></figure>'
    )


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _escape(text: object, most: int = 200) -> str:
    """Return text that HTML takes as text: escaped, without control characters, cut at `most` letters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(text))
    plain = plain.encode("utf-8", "replace").decode()
    return html.escape(plain if len(plain) <= most else plain[: most - 1] + "…")
