"""Write the page of a world as one HTML file: scripts, styles, runtime and weights inlined, and a strict policy.

The policy (a meta tag) allows the scripts and the style of this page by their hash, WebAssembly, a worker that the page
makes of its own scripts, and nothing else: no address is ever connected to. Texts are escaped by the template; JSON for
the scripts has no `<`. Blobs are gzip'ed and in base64: the browser has both decoders.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from models.export.contents import Contents
from models.export.runtime import FILES, Build, module_script, release, runtime_file
from pipeline.html import template

STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("noise.js", "sampler.js", "rollout.js", "load.js", "page.js")
_WORKER = ("rollout.js", "worker.js")


def page_html(contents: Contents, graphs: Mapping[str, bytes], builds: Sequence[Build], version: str) -> str:
    """Return the page.

    Args:
        contents: what it says of the world.
        graphs: `dynamics` and `decoder`, as ONNX.
        builds: builds of the runtime to carry; `wasm` is always needed.
        version: of lampworks.
    """
    runtimes = {build: module_script(build) for build in builds}
    scripts = [*runtimes.values(), page_script()]
    style = (STATIC / "page.css").read_text("utf-8")
    blobs = {f"wasm-{build}": runtime_file(FILES[build][1]) for build in builds} | dict(graphs)
    return template("models.export", "world.html").render(
        policy=_policy(scripts, style),
        title=contents.title,
        style=Markup(style),
        runtimes=[(build, Markup(script)) for build, script in runtimes.items()],
        script=Markup(page_script()),
        worker=Markup(worker_script()),
        blobs=[(name, packed(data)) for name, data in blobs.items()],
        about=json_text(contents.about),
        width=contents.about["width"],
        height=contents.about["height"],
        hint=_hint(contents.about),
        note=contents.note,
        trained_on=contents.trained_on,
        figures=contents.metrics,
        licence=contents.licence,
        version=version,
        runtime=release().version,
    )


def page_script() -> str:
    """Return the page's own script: one module of all files, so that it runs without an import."""
    return _joined(_SCRIPTS)


def worker_script() -> str:
    """Return the script of the worker, which the page starts behind the runtime's."""
    return _joined(_WORKER)


def _joined(names: Sequence[str]) -> str:
    return "\n".join((STATIC / name).read_text("utf-8") for name in names)


def packed(data: bytes) -> str:
    """Return bytes as the page holds them: gzip'ed, in base64. The same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def json_text(value: Mapping[str, Any]) -> Markup:
    """Return JSON that can stand in a script element: `<` is escaped, so that no text in it ends the element."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return Markup(text.replace("<", "\\u003c"))


def _policy(scripts: Sequence[str], style: str) -> str:
    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {' '.join(hashed(script) for script in scripts)} 'wasm-unsafe-eval'; "
        f"worker-src blob:; style-src {hashed(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hint(about: Mapping[str, Any]) -> str:
    arrows = " or the arrow keys or W A S D" if about["chords"] else ""
    return (
        f"Press keys 1 to {len(about['actions'])}{arrows}, or touch an action; hold to repeat. r starts again, p "
        "pauses, . makes one frame, comma goes back one; the next action goes on from the frame that is shown. Each "
        "label says what was measured on generated videos; on the right: the most frequent true action in held-out "
        "videos."
    )
